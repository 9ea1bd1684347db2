//! Rank 0's side of a deployment.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{self, channel, Receiver};
use std::sync::Arc;

use super::{chunks, only, slices, AHEAD, TAG, WEIGHTS};
use crate::comm::{Channel, Header, Link, Mailbox, SendId};
use crate::geometry::Region;
use crate::graph::Value;
use crate::ids::{Rank, WeightId};
use crate::model::Weights;
use crate::runner::failure::{panic_message, Failure, DEFECT};
use crate::runner::frame::Program;

/// Reads on a thread of its own, sends from the main thread. What is read next for a rank waits
/// until the rank has taken what is under way to it, so that no rank waits for another's packing,
/// and rank 0 holds a few chunks of each.
pub struct Sender {
    /// Of every rank but 0.
    pub(super) orders: Vec<Order>,
    /// Has the reading thread read a rank's next chunk, into a buffer that is free.
    ask: mpsc::Sender<(Rank, Vec<u8>)>,
    chunks: Receiver<Result<Chunk, Failure>>,
    /// Buffers of chunks that are out.
    spare: Vec<Vec<u8>>,
}

/// A rank, and its next chunk; none where it has all.
type Chunk = (Rank, Option<Value>);

/// What one rank is to get.
pub(super) struct Order {
    rank: Rank,
    is_read: bool,
    pub asked: usize,
    pub under_way: Vec<(SendId, Arc<Vec<u8>>)>,
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
            spare: Vec::new(),
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
            let payload = Arc::new(value.bytes);
            let sent = Some(Arc::clone(&payload) as _);
            let id = mailbox.send(Channel::Deploy, rank, TAG, header, sent);
            order.under_way.push((id, payload));
        }
        for order in &mut self.orders {
            let out = order
                .under_way
                .extract_if(.., |(id, _)| mailbox.is_sent(*id));
            self.spare
                .extend(out.filter_map(|(_, payload)| Arc::into_inner(payload)));
            while !order.is_read && order.asked + order.under_way.len() < AHEAD {
                order.asked += 1;
                let buffer = self.spare.pop().unwrap_or_default();
                // Where nobody reads any more, `chunks` says why.
                let _nobody_reads = self.ask.send((order.rank, buffer));
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
    asked: &Receiver<(Rank, Vec<u8>)>,
    to_main: &mpsc::Sender<Result<Chunk, Failure>>,
    main: &std::thread::Thread,
) {
    let ranks = (0..program.plan.ranks.len()).map(Rank::new);
    let mut queues: Vec<_> = ranks
        .map(|rank| outgoing(program, rank, &wanted[rank.index()]))
        .collect();
    for (rank, buffer) in asked {
        let next = queues[rank.index()].pop_front();
        let read = |(weight, region): (WeightId, Region)| weights.slice_in(buffer, weight, &region);
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

pub(super) fn outgoing(
    program: &Program,
    rank: Rank,
    wanted: &[bool],
) -> VecDeque<(WeightId, Region)> {
    let each = only(slices(program, rank), wanted).flat_map(|slice| {
        let item = program.graph.weight(slice.weight).dtype.size();
        chunks(&slice.region, item)
            .into_iter()
            .map(move |chunk| (slice.weight, chunk))
    });
    each.collect()
}
