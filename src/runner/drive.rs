//! The main thread's loop: messages in and out, frames opened and closed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::Board;
use super::failure::{Failure, DEFECT};
use super::frame::{Effect, Frame, Program};
use super::head::{Head, Opening};
use super::idle::Idle;
use super::times::FrameTimes;
use super::trace::{Kind, Trace};
use crate::comm::{Channel, Event, Header, Landing, Link, ReceiveId, SendId};
use crate::engine::Tensor;
use crate::ids::{Rank, TransferId};
use crate::plan::message_tag;

/// Message kinds on `Channel::Control` and `Channel::Data`.
const OPEN: u32 = 1;
const STOP: u32 = 2;
const DATA: u32 = 3;
const CONTROL_TAG: u32 = 0;
/// How long rank 0 waits for open frames once it was told to stop; mpirun kills after about 2 s.
const DRAIN: Duration = Duration::from_secs(1);

/// Looks at a long message in a row; one takes about a microsecond.
const LOOKS: usize = 32;

/// What a rank's loop has to show for itself.
#[derive(Debug, Default)]
pub struct Driven {
    /// For each sequence number that this rank opened, in order of closing.
    pub times: Vec<(u64, FrameTimes)>,
    /// Whether it stopped before the source ended.
    pub interrupted: bool,
    /// Frames that were open when it stopped; the job can then only be ended by abort.
    pub dropped: usize,
}

/// One rank's main thread in the loop.
pub struct Drive<'a> {
    link: &'a mut dyn Link,
    program: &'a Arc<Program>,
    board: &'a Board,
    trace: &'a Trace,
    head: Option<Head>,
    interrupt: &'a AtomicBool,
    /// Buffers that the next messages are received into, by (slot, transfer).
    landings: HashMap<(u32, TransferId), Tensor>,
    receives: HashMap<ReceiveId, (u64, TransferId, Instant)>,
    sends: HashMap<SendId, (u64, TransferId, Instant)>,
    /// Openings under way; the link still owns them.
    notices: Vec<SendId>,
    control: Option<ReceiveId>,
    /// Announced and not yet opened.
    announced: VecDeque<(u64, BTreeMap<crate::ids::ActivationId, Arc<Tensor>>)>,
    /// Opened and not yet closed.
    open: Vec<u64>,
    stop_at: Option<u64>,
    closed: u64,
    driven: Driven,
}

impl<'a> Drive<'a> {
    /// A loop before its first frame, with its landings reserved. `head` is there on rank 0 only.
    pub fn new(
        link: &'a mut dyn Link,
        program: &'a Arc<Program>,
        (board, trace): (&'a Board, &'a Trace),
        head: Option<Head>,
        interrupt: &'a AtomicBool,
    ) -> Self {
        let plan = &program.plan;
        let incoming: Vec<_> = (0..plan.transfers.len())
            .map(TransferId::new)
            .filter(|&id| plan.transfer(id).to == program.rank)
            .collect();
        let slots = (0..plan.window).flat_map(|slot| incoming.iter().map(move |&id| (slot, id)));
        let landings = slots.map(|key| (key, landing(program, key.1))).collect();
        Self {
            link,
            program,
            board,
            trace,
            head,
            interrupt,
            landings,
            receives: HashMap::new(),
            sends: HashMap::new(),
            notices: Vec::new(),
            control: None,
            announced: VecDeque::new(),
            open: Vec::new(),
            stop_at: None,
            closed: 0,
            driven: Driven::default(),
        }
    }

    /// Runs until every frame of the source is through, or rank 0 was interrupted.
    ///
    /// # Errors
    /// `Failure` of this rank, or of the link.
    pub fn run(mut self) -> Result<Driven, Failure> {
        let mut idle = Idle::new(self.link.size() == 1);
        let mut drain_until = None;
        self.expect_control();
        while !self.is_done() {
            let mut busy = self.take_messages()?;
            busy |= self.do_effects()?;
            busy |= self.close_frames();
            busy |= self.lead()?;
            busy |= self.open_frames();
            if let Some(dropped) = self.interrupted(&mut drain_until) {
                self.driven.dropped = dropped;
                break;
            }
            match busy {
                true => idle.reset(),
                false => {
                    let moving = self.link.is_moving();
                    match self.board.is_running() {
                        true => idle.beside_run(moving),
                        false if moving => match !idle.spares() && self.keep_looking()? {
                            true => idle.reset(),
                            false => idle.beside_message(),
                        },
                        false => idle.wait(),
                    }
                }
            }
        }
        Ok(self.driven)
    }

    fn is_done(&self) -> bool {
        let told = self.stop_at.is_some_and(|count| self.closed == count);
        let quiet = self.sends.is_empty() && self.notices.is_empty();
        told && quiet && self.open.is_empty()
    }

    fn expect_control(&mut self) {
        if self.link.rank() != Rank(0) {
            let landing = Box::new(Vec::new());
            let id = self
                .link
                .receive(Channel::Control, Rank(0), CONTROL_TAG, landing);
            self.control = Some(id);
        }
    }

    fn take_messages(&mut self) -> Result<bool, Failure> {
        let mut busy = false;
        while let Some(event) = self.link.poll()? {
            busy = true;
            match event {
                Event::Sent(id) => self.sent(id),
                Event::Received(id, header, _) if self.control == Some(id) => {
                    self.control = None;
                    self.heed(header)?;
                }
                Event::Received(id, header, landing) => self.received(id, header, landing)?,
            }
        }
        Ok(busy)
    }

    fn sent(&mut self, id: SendId) {
        if let Some((sequence, transfer, started)) = self.sends.remove(&id) {
            self.trace
                .add(Kind::Send(transfer), sequence, started, Instant::now());
            self.board.sent(sequence, started.elapsed());
        } else {
            self.notices.retain(|&notice| notice != id);
        }
    }

    /// Looks at a long message again and again: over TCP little of it moves in one look, and the
    /// rest of the loop has nothing to do before it is here.
    fn keep_looking(&mut self) -> Result<bool, Failure> {
        for _ in 0..LOOKS {
            if self.take_messages()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rank 0 opens a frame, or says how many there were.
    fn heed(&mut self, header: Header) -> Result<(), Failure> {
        match header.kind {
            OPEN => {
                self.announced.push_back((header.sequence, BTreeMap::new()));
                self.expect_control();
            }
            STOP => self.stop_at = Some(header.sequence),
            kind => {
                return Err(Failure::new(
                    DEFECT,
                    format!("control message of kind {kind}"),
                ))
            }
        }
        Ok(())
    }

    fn received(
        &mut self,
        id: ReceiveId,
        header: Header,
        landing: Box<dyn Landing>,
    ) -> Result<(), Failure> {
        let tensor = landing.into_any().downcast::<Tensor>().ok();
        let (Some((sequence, transfer, posted)), Some(tensor)) =
            (self.receives.remove(&id), tensor)
        else {
            return Err(Failure::new(DEFECT, "a message that nobody waits for"));
        };
        let planned = Header {
            sequence,
            transfer: transfer.0,
            kind: DATA,
            length: tensor.bytes().len() as u64,
        };
        if header != planned {
            let line = format!("message {header:?} came where the plan has {planned:?}");
            return Err(Failure::running(line));
        }
        // Complete: the compute thread may take it as soon as the board has it.
        self.trace
            .add(Kind::Receive(transfer), sequence, posted, Instant::now());
        self.board
            .arrive(self.program, sequence, transfer, Arc::from(tensor));
        Ok(())
    }

    /// Starts the messages and takes the outputs that steps have handed over.
    fn do_effects(&mut self) -> Result<bool, Failure> {
        let effects = self.board.take_effects()?;
        let busy = !effects.is_empty();
        for (sequence, effect) in effects {
            match effect {
                Effect::Send(id, tensor) => {
                    let (tag, to) = (
                        message_tag(&self.program.plan, id, sequence),
                        self.program.plan.transfer(id).to,
                    );
                    let header = Header {
                        sequence,
                        transfer: id.0,
                        kind: DATA,
                        length: 0,
                    };
                    let send = self.link.send(Channel::Data, to, tag, header, Some(tensor));
                    self.sends.insert(send, (sequence, id, Instant::now()));
                }
                Effect::Output(activation, tensor) => {
                    if let Some(head) = &mut self.head {
                        head.land(sequence, activation, tensor);
                    }
                }
            }
        }
        if busy {
            self.board.effects_done();
        }
        Ok(busy)
    }

    fn close_frames(&mut self) -> bool {
        let mut busy = false;
        while let Some(mut frame) = self.board.take_finished(self.program) {
            busy = true;
            let sequence = frame.sequence;
            let slot = self.slot(sequence);
            for (transfer, tensor) in frame.close() {
                // Somebody may still read an output; its landing is replaced.
                let tensor =
                    Arc::into_inner(tensor).unwrap_or_else(|| landing(self.program, transfer));
                self.landings.insert((slot, transfer), tensor);
            }
            self.open.retain(|&open| open != sequence);
            self.closed += 1;
            self.driven.times.push((sequence, frame.times));
        }
        busy
    }

    fn slot(&self, sequence: u64) -> u32 {
        (sequence % u64::from(self.program.plan.window)) as u32
    }

    /// Rank 0: hands results on, opens what may be opened, ends what is over.
    fn lead(&mut self) -> Result<bool, Failure> {
        let Some(head) = &mut self.head else {
            return Ok(false);
        };
        let ended = |_| Failure::running("the outputs could not be written");
        let mut busy = head.deliver().map_err(ended)?;
        if self.stop_at.is_some() || !self.announced.is_empty() {
            return Ok(busy);
        }
        let (sequence, kind) = match head.opening() {
            Opening::NotYet => return Ok(busy),
            Opening::Frame(sequence, inputs) => {
                self.announced.push_back((sequence, inputs));
                (sequence, OPEN)
            }
            Opening::End(count) => {
                self.stop_at = Some(count);
                (count, STOP)
            }
        };
        busy = true;
        for to in (1..self.link.size()).map(Rank::new) {
            let header = Header {
                sequence,
                transfer: 0,
                kind,
                length: 0,
            };
            let notice = self
                .link
                .send(Channel::Control, to, CONTROL_TAG, header, None);
            self.notices.push(notice);
        }
        Ok(busy)
    }

    /// Opens announced frames whose slot is free, and posts their receives.
    fn open_frames(&mut self) -> bool {
        let mut busy = false;
        while let Some(&(sequence, _)) = self.announced.front() {
            let window = u64::from(self.program.plan.window);
            if self
                .open
                .iter()
                .any(|open| open % window == sequence % window)
            {
                break;
            }
            let Some((_, inputs)) = self.announced.pop_front() else {
                break;
            };
            busy = true;
            self.open.push(sequence);
            self.post_receives(sequence);
            self.board
                .open(self.program, Frame::open(self.program, sequence, inputs));
        }
        busy
    }

    /// Posts a receive for every message of this frame's turn.
    fn post_receives(&mut self, sequence: u64) {
        let plan = &self.program.plan;
        let slot = self.slot(sequence);
        for step in plan.steps(self.program.rank, sequence) {
            let crate::plan::Step::Receive(id) = step else {
                continue;
            };
            let tensor = self.landings.remove(&(slot, *id));
            let tensor = tensor.unwrap_or_else(|| landing(self.program, *id));
            let (tag, from) = (message_tag(plan, *id, sequence), plan.transfer(*id).from);
            let receive = self
                .link
                .receive(Channel::Data, from, tag, Box::new(tensor));
            self.receives
                .insert(receive, (sequence, *id, Instant::now()));
        }
    }

    /// Rank 0, told to stop: the number of frames given up once the time to drain is over.
    fn interrupted(&mut self, drain_until: &mut Option<Instant>) -> Option<usize> {
        let head = self.head.as_mut()?;
        if !self.interrupt.load(Ordering::Relaxed) || self.stop_at.is_some() {
            return None;
        }
        head.stop_opening();
        self.driven.interrupted = true;
        let until = *drain_until.get_or_insert_with(|| Instant::now() + DRAIN);
        (Instant::now() >= until).then(|| head.in_flight())
    }
}

/// A buffer for a transfer's message.
fn landing(program: &Program, id: TransferId) -> Tensor {
    let transfer = program.plan.transfer(id);
    let part = program.plan.part(transfer.to, transfer.to_part);
    Tensor::zeros(
        program.graph.activation(part.activation).dtype,
        &transfer.region.shape(),
    )
}
