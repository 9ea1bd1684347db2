//! Bringing every rank the weights of its own pieces, and no others.
//!
//! Rank 0 reads slices from the model's file and sends them in chunks, each rank's in the order
//! in which it loads its pieces; both sides work the order out from the plan. A slice travels once
//! to a rank, whatever the number of its pieces that use it; a slice inside of another one of the
//! same rank travels as well. A rank holds a slice (and a few of the next, while they arrive)
//! until the engine has packed it for the last piece that uses it.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{self, channel, sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;

use super::failure::{panic_message, Failure, DEFECT};
use super::frame::Program;
use super::idle::Idle;
use crate::comm::Mailbox;
use crate::comm::{Channel, Header, Link, ReceiveId, SendId};
use crate::geometry::{Interval, Region};
use crate::graph::{Dtype, Value};
use crate::ids::{Rank, WeightId};
use crate::model::Weights;
use crate::plan::{loading, SLICES_AHEAD};

/// Most bytes of one message; a row that is longer still travels in one.
const CHUNK: usize = 1 << 20;
/// Messages that are on their way to one rank, and that it waits for, at most.
const AHEAD: usize = 4;
const TAG: u32 = 100;
const WEIGHTS: u32 = 4;

/// A slice that a rank needs, for one piece or for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Of which weight.
    pub weight: WeightId,
    /// Which box of it.
    pub region: Region,
}

/// The slices of one rank, each once, in the order in which it loads them.
pub fn slices(program: &Program, rank: Rank) -> Vec<Slice> {
    let loading = loading(&program.graph, &program.plan, rank);
    let slices = loading.expect("check has accepted the plan").slices;
    let slice = |(weight, region)| Slice { weight, region };
    slices.into_iter().map(slice).collect()
}

/// A slice as messages: boxes that lie behind each other in the slice's own bytes.
fn chunks(region: &Region, item: usize) -> Vec<Region> {
    let Some(axis) = region.0.iter().position(|axis| axis.len() > 1) else {
        return vec![region.clone()];
    };
    let whole = region.0[axis];
    let row = region.volume() / whole.len() * item;
    let rows = (CHUNK / row.max(1)).max(1);
    let starts = (whole.start..whole.end).step_by(rows);
    let end = |start: usize| (start + rows).min(whole.end);
    starts
        .map(|start| region.with_axis(axis, Interval::new(start, end(start))))
        .collect()
}

/// Rank 0's side: reads on a thread of its own, sends from the main thread. What is read next for a
/// rank waits until the rank has taken what is under way to it, so that no rank waits for another's
/// packing, and rank 0 holds a few chunks of each.
pub struct Sender {
    /// Of every rank but 0.
    orders: Vec<Order>,
    /// Has the reading thread read a rank's next chunk.
    ask: mpsc::Sender<Rank>,
    chunks: Receiver<Result<Chunk, Failure>>,
}

/// A rank, and its next chunk; none where it has all.
type Chunk = (Rank, Option<Value>);

/// What one rank is to get.
struct Order {
    rank: Rank,
    is_read: bool,
    asked: usize,
    under_way: Vec<SendId>,
}

impl Sender {
    /// Starts to read for every rank but 0: of each rank's slices those that it wants. What one
    /// rank takes decides what is read for it, and nothing else.
    pub fn start(
        program: Arc<Program>,
        weights: Arc<dyn Weights + Send + Sync>,
        wanted: Vec<Vec<bool>>,
    ) -> Self {
        let order = |rank: usize| Order {
            rank: Rank::new(rank),
            is_read: false,
            asked: 0,
            under_way: Vec::new(),
        };
        let orders = (1..program.plan.ranks.len()).map(order).collect();
        let (ask, asked) = channel();
        let (to_main, chunks) = channel();
        let main = std::thread::current();
        std::thread::spawn(move || {
            let read = || read_asked(&program, &*weights, &wanted, &asked, &to_main, &main);
            // The others wait for their weights: an end without a word would hang them.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(read)) {
                let line = format!("reading weights panicked: {}", panic_message(&*payload));
                let _nobody_listens = to_main.send(Err(Failure::new(DEFECT, line)));
            }
            drop(to_main);
            main.unpark();
        });
        Self {
            orders,
            ask,
            chunks,
        }
    }

    /// Sends what has been read; whether everything is out.
    ///
    /// # Errors
    /// `Failure` where the model's file cannot be read any more.
    pub fn step<L: Link>(&mut self, mailbox: &mut Mailbox<L>) -> Result<bool, Failure> {
        while let Ok(chunk) = self.chunks.try_recv() {
            let (rank, value) = chunk?;
            let order = &mut self.orders[rank.index() - 1];
            order.asked -= 1;
            let Some(value) = value else {
                order.is_read = true;
                continue;
            };
            let header = Header {
                kind: WEIGHTS,
                ..Header::default()
            };
            let payload = Some(Arc::new(value.bytes) as _);
            let id = mailbox.send(Channel::Deploy, rank, TAG, header, payload);
            order.under_way.push(id);
        }
        for order in &mut self.orders {
            order.under_way.retain(|&id| !mailbox.is_sent(id));
            while !order.is_read && order.asked + order.under_way.len() < AHEAD {
                order.asked += 1;
                // Where nobody reads any more, `chunks` says why.
                let _nobody_reads = self.ask.send(order.rank);
            }
        }
        let is_out = |order: &Order| order.is_read && order.asked + order.under_way.len() == 0;
        Ok(self.orders.iter().all(is_out))
    }
}

/// Reads the next chunk of each rank that is asked for, until nobody asks or listens.
fn read_asked(
    program: &Program,
    weights: &dyn Weights,
    wanted: &[Vec<bool>],
    asked: &Receiver<Rank>,
    to_main: &mpsc::Sender<Result<Chunk, Failure>>,
    main: &std::thread::Thread,
) {
    let ranks = (0..program.plan.ranks.len()).map(Rank::new);
    let mut queues: Vec<_> = ranks
        .map(|rank| outgoing(program, rank, &wanted[rank.index()]))
        .collect();
    for rank in asked {
        let next = queues[rank.index()].pop_front();
        let read = |(weight, region): (WeightId, Region)| weights.slice(weight, &region);
        let value = next.map(read).transpose().map(|value| (rank, value));
        if to_main
            .send(value.map_err(|error| Failure::input(&error)))
            .is_err()
        {
            return;
        }
        main.unpark();
    }
}

fn outgoing(program: &Program, rank: Rank, wanted: &[bool]) -> VecDeque<(WeightId, Region)> {
    let each = only(slices(program, rank), wanted).flat_map(|slice| {
        let item = program.graph.weight(slice.weight).dtype.size();
        chunks(&slice.region, item)
            .into_iter()
            .map(move |chunk| (slice.weight, chunk))
    });
    each.collect()
}

/// The slices that are wanted.
fn only(slices: Vec<Slice>, wanted: &[bool]) -> impl Iterator<Item = Slice> + '_ {
    let marked = slices.into_iter().zip(wanted);
    marked.filter(|(_, &wanted)| wanted).map(|(slice, _)| slice)
}

/// Another rank's side: receives on the main thread, hands whole slices to the loader.
pub struct Taker {
    slices: VecDeque<Slice>,
    /// Chunks of the slices that no receive is posted for yet: bytes of each.
    unposted: VecDeque<usize>,
    posted: VecDeque<ReceiveId>,
    filling: Option<(Dtype, Vec<u8>, usize)>,
    full: Option<Value>,
    to_loader: SyncSender<Value>,
    program: Arc<Program>,
}

impl Taker {
    /// A taker for this rank's wanted slices, and where the loader gets them from, in order.
    pub fn start(program: Arc<Program>, wanted: &[bool]) -> (Self, Receiver<Value>) {
        let slices: VecDeque<_> = only(slices(&program, program.rank), wanted).collect();
        let unposted = slices
            .iter()
            .flat_map(|slice| {
                let item = program.graph.weight(slice.weight).dtype.size();
                let boxes = chunks(&slice.region, item).into_iter();
                boxes.map(move |chunk| chunk.volume() * item)
            })
            .collect();
        // One more is full and waits for its place.
        let (to_loader, from_main) = sync_channel(SLICES_AHEAD - 1);
        let (posted, filling, full) = (VecDeque::new(), None, None);
        (
            Self {
                slices,
                unposted,
                posted,
                filling,
                full,
                to_loader,
                program,
            },
            from_main,
        )
    }

    /// Takes in what has arrived; whether every slice is with the loader.
    ///
    /// # Errors
    /// None of its own; the signature is that of `Sender::step`.
    pub fn step<L: Link>(&mut self, mailbox: &mut Mailbox<L>) -> Result<bool, Failure> {
        loop {
            if let Some(value) = self.full.take() {
                match self.to_loader.try_send(value) {
                    Ok(()) => {}
                    Err(TrySendError::Full(value)) => {
                        self.full = Some(value);
                        return Ok(false);
                    }
                    // The loader has failed and says so in its verdict; rank 0 sends on.
                    Err(TrySendError::Disconnected(_)) => {}
                }
            }
            self.begin_slice();
            if self.filling.is_none() {
                return Ok(true);
            }
            while self.posted.len() < AHEAD {
                let Some(bytes) = self.unposted.pop_front() else {
                    break;
                };
                let landing = Box::new(vec![0u8; bytes]);
                let id = mailbox.receive(Channel::Deploy, Rank(0), TAG, landing);
                self.posted.push_back(id);
            }
            let arrived = self
                .posted
                .front()
                .and_then(|&id| mailbox.take_received(id));
            let Some((_, mut landing)) = arrived else {
                if self.is_full() {
                    self.finish_slice();
                    continue;
                }
                return Ok(false);
            };
            self.posted.pop_front();
            if let Some((_, bytes, filled)) = &mut self.filling {
                let chunk = landing.bytes_mut();
                bytes[*filled..*filled + chunk.len()].copy_from_slice(chunk);
                *filled += chunk.len();
            }
            if self.is_full() {
                self.finish_slice();
            }
        }
    }

    fn begin_slice(&mut self) {
        if self.filling.is_none() {
            self.filling = self.slices.front().map(|slice| {
                let dtype = self.program.graph.weight(slice.weight).dtype;
                (dtype, vec![0; slice.region.volume() * dtype.size()], 0)
            });
        }
    }

    fn is_full(&self) -> bool {
        self.filling
            .as_ref()
            .is_some_and(|(_, bytes, filled)| *filled == bytes.len())
    }

    fn finish_slice(&mut self) {
        let (Some(slice), Some((dtype, bytes, _))) = (self.slices.pop_front(), self.filling.take())
        else {
            return;
        };
        self.full = Some(Value {
            dtype,
            shape: slice.region.shape(),
            bytes,
        });
    }
}

/// Polls and idles until `done` says so.
///
/// # Errors
/// `Failure` of the link or of `done`.
pub fn until<L: Link>(
    mailbox: &mut Mailbox<L>,
    mut done: impl FnMut(&mut Mailbox<L>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut idle = Idle::new(false);
    loop {
        let events = mailbox.poll_all()?;
        if done(mailbox)? {
            return Ok(());
        }
        match events {
            0 => idle.wait(),
            _ => idle.reset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::comm::threads::links;
    use crate::model::read::read;
    use crate::model::standard::{build, Options};
    use crate::plan::compile_owners;

    #[test]
    fn chunks_lie_behind_each_other_and_cover_the_slice() {
        let region = Region(vec![
            Interval::new(2, 3),
            Interval::new(5, 905),
            Interval::new(0, 4096),
        ]);
        let parts = chunks(&region, 4);
        assert!(parts.len() > 3);
        assert_eq!(
            parts.iter().map(Region::volume).sum::<usize>(),
            region.volume()
        );
        assert!(parts.windows(2).all(|w| w[0].0[1].end == w[1].0[1].start));
        let scalar = Region(vec![]);
        assert_eq!(chunks(&scalar, 4), [scalar]);
    }

    /// A model of many weights on three ranks, rank 0 with nothing of it.
    fn job() -> (Arc<Program>, Arc<dyn Weights + Send + Sync>) {
        let options = Options {
            size: Some((64, 64)),
            width: Some(0.25),
            ..Options::default()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        let model = build("vgg11", &options).expect("a model");
        model.write(&path).expect("the model is written");
        let source = read(&path, &[]).expect("the model is read");
        let nodes = source.graph.nodes.len();
        let owners: Vec<Rank> = (0..nodes).map(|node| Rank::new(1 + node / 8 % 2)).collect();
        let program = Program {
            plan: compile_owners(&source.graph, &owners, 3, 1),
            graph: source.graph.clone(),
            rank: Rank(0),
        };
        // The file stays open where its folder is gone.
        (Arc::new(program), Arc::new(source))
    }

    #[test]
    fn a_rank_that_takes_nothing_keeps_no_other_waiting() {
        let (program, weights) = job();
        let wanted: Vec<Vec<bool>> = (0..3)
            .map(|rank| vec![true; slices(&program, Rank::new(rank)).len()])
            .collect();
        let chunks = |rank| outgoing(&program, Rank(rank), &wanted[rank as usize]).len();
        let (silent, all) = (1, chunks(2));
        assert!(chunks(silent) > AHEAD && all > AHEAD, "{all}");
        let mut links = links(3, Default::default()).into_iter();
        let mut mails = [(); 3].map(|()| Mailbox::new(links.next().expect("three links")));
        let mut sender = Sender::start(Arc::clone(&program), weights, wanted.clone());
        let own = Arc::new(Program {
            graph: program.graph.clone(),
            plan: program.plan.clone(),
            rank: Rank(2),
        });
        let (mut taker, from_main) = Taker::start(Arc::clone(&own), &wanted[2]);
        let mut expected = slices(&own, Rank(2)).into_iter();
        let end = Instant::now() + Duration::from_secs(60);
        let mut is_over = false;
        while !is_over {
            assert!(Instant::now() < end, "rank 2 waits for rank 1");
            mails.iter_mut().for_each(|mail| drop(mail.poll_all()));
            assert!(
                !sender.step(&mut mails[0]).expect("it reads"),
                "rank 1 has nothing"
            );
            is_over = taker.step(&mut mails[2]).expect("it takes");
            for value in from_main.try_iter() {
                let slice = expected.next().expect("no slice too many");
                assert_eq!(value.shape, slice.region.shape());
            }
        }
        assert_eq!(expected.next(), None);
        let order = &sender.orders[silent as usize - 1];
        assert_eq!((order.asked, order.under_way.len()), (0, AHEAD));
        mails.iter_mut().for_each(Mailbox::close);
    }
}
