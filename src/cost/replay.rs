//! The event loop: every rank's clocks and every message's, until the last output has landed.
//!
//! The rules are the runner's. A rank opens frame n when it was told to and its own steps and
//! sends of n - window are done; receives are posted then. Inside a frame steps keep their order;
//! the compute thread takes the oldest frame that can go on, up to and including one Run. Events of
//! one moment happen in the order in which they were caused, so that a replay is the same each
//! time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::energy::Activity;
use super::flows::{Flows, Usage};
use super::head::Head;
use super::links::{Links, Route};
use super::live::Live;
use super::program::{Op, Programs};
use super::rank::{Clock, Frame, Pause, Times};
use super::{Asked, CostError, FrameCost, Interval, Kind};
use crate::ids::{Rank, TransferId};
use crate::plan::Plan;

/// What came of it.
pub(super) struct Replayed {
    /// Frames that count.
    pub frames: Vec<FrameCost>,
    pub ranks: Vec<Times>,
    pub usage: Vec<Usage>,
    /// For each machine.
    pub activities: Vec<Activity>,
    pub intervals: Vec<Interval>,
    /// All frames, and µs from the first opening to the last output.
    pub total: u64,
    pub span_us: f64,
}

impl Replayed {
    /// Busy µs of all frames as a share of the time: of the period, so that filling and emptying
    /// the pipeline do not count; of the whole where only one frame counts.
    pub fn share(&self, busy_us: f64) -> f64 {
        let steps = self.frames.len().saturating_sub(1);
        let ends = self.frames.first().zip(self.frames.last());
        let period = ends.map(|(first, last)| (last.landed_us - first.landed_us) / steps as f64);
        let time = match period.filter(|period| *period > 0.0 && steps > 0) {
            Some(period) => period * self.total as f64,
            None => self.span_us,
        };
        (busy_us / time.max(f64::MIN_POSITIVE)).min(1.0)
    }
}

/// One message.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) transfer: TransferId,
    pub(super) sequence: u64,
    pub(super) started: f64,
    pub(super) flow: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A rank hears of a frame.
    Opening(usize, u64),
    /// The main thread starts a message.
    Start(usize),
    /// A flow has ended, if this is still its end: flow, generation, message.
    Flowed(usize, u64, usize),
    /// A message reaches the other host; its rank has it.
    Arrived(usize),
    Delivered(usize),
    /// A step of the compute thread is done, if this is still its end.
    Worked(usize, u32),
}

/// A time in the heap; times are finite and never negative, so that their bits keep their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64, u64);

/// All of the clocks.
pub(super) struct Replay<'a> {
    pub(super) plan: &'a Plan,
    pub(super) programs: &'a Programs,
    /// For each rank, for each turn.
    lives: &'a [Vec<Live>],
    pub(super) links: &'a Links,
    pub(super) asked: Asked,
    pub(super) now: f64,
    pub(super) heap: BinaryHeap<Reverse<(Moment, Event)>>,
    pub(super) caused: u64,
    pub(super) ranks: Vec<Clock>,
    /// For each core, when the main threads of its ranks have time for the next message.
    pub(super) main_free: Vec<f64>,
    pub(super) head: Head,
    pub(super) routes: Vec<Route>,
    /// α from rank 0 to every rank.
    pub(super) notices: Vec<f64>,
    pub(super) messages: Vec<Message>,
    /// The message of each flow.
    pub(super) of_flow: Vec<usize>,
    /// For each transfer its pair of ranks, and for each pair the messages under way in their
    /// order: they share a connection, on which the first goes.
    pub(super) pair_of: Vec<usize>,
    pub(super) wires: Vec<VecDeque<usize>>,
    pub(super) flows: Flows,
    pub(super) activities: Vec<Activity>,
    pub(super) intervals: Vec<Interval>,
}

/// Replays a plan.
pub(super) fn replay(
    plan: &Plan,
    (programs, lives): (&Programs, &[Vec<Live>]),
    links: &mut Links,
    asked: Asked,
) -> Result<Replayed, CostError> {
    let transfers = plan.transfers.iter();
    let routes = transfers.map(|t| links.route(t.from.index(), t.to.index()));
    let routes: Vec<Route> = routes.collect::<Result<_, _>>()?;
    let notices = (0..plan.ranks.len()).map(|rank| match rank {
        0 => Ok(0.0),
        _ => links.route(0, rank).map(|route| route.alpha_us),
    });
    let notices = notices.collect::<Result<_, _>>()?;
    let mut pairs = BTreeMap::new();
    let pair_of = plan.transfers.iter().map(|transfer| {
        let next = pairs.len();
        *pairs.entry((transfer.from, transfer.to)).or_insert(next)
    });
    let pair_of = pair_of.collect();
    let total = asked.warmup + asked.frames;
    let mut replay = Replay {
        plan,
        programs,
        lives,
        links,
        asked,
        now: 0.0,
        heap: BinaryHeap::new(),
        caused: 0,
        ranks: (0..plan.ranks.len())
            .map(|rank| Clock::of(programs.quotas[rank], programs.looks_us[rank].0))
            .collect(),
        main_free: vec![0.0; programs.cores.len()],
        head: Head::new(plan.window, total),
        routes,
        notices,
        messages: vec![],
        of_flow: vec![],
        wires: vec![VecDeque::new(); pairs.len()],
        pair_of,
        flows: Flows::new(links.resources.len()),
        activities: vec![Activity::default(); links.machine_count()],
        intervals: vec![],
    };
    replay.lead();
    replay.run();
    replay.finish(total)
}

impl Replay<'_> {
    fn run(&mut self) {
        loop {
            let next = self
                .heap
                .peek()
                .map(|Reverse((moment, _))| f64::from_bits(moment.0));
            // Whatever came and went at one moment changes the rates once.
            if !self.flows.is_settled() && next.is_none_or(|next| next > self.now) {
                for ending in self.flows.settle(self.now) {
                    let message = self.of_flow[ending.flow];
                    let event = Event::Flowed(ending.flow, ending.generation, message);
                    self.push(ending.at, event);
                }
                continue;
            }
            let Some(Reverse((moment, event))) = self.heap.pop() else {
                return;
            };
            self.now = f64::from_bits(moment.0);
            match event {
                Event::Opening(rank, sequence) => {
                    self.notice(rank);
                    self.ranks[rank].announced.push_back(sequence);
                    self.open_frames(rank);
                }
                Event::Start(message) => self.start(message),
                Event::Flowed(flow, generation, message) => {
                    if self.flows.end(flow, generation) {
                        self.flowed(message);
                    }
                }
                Event::Arrived(message) => self.arrived(message),
                Event::Delivered(message) => self.deliver(message),
                Event::Worked(rank, generation) => {
                    if self.ranks[rank].generation == generation {
                        self.worked(rank);
                    }
                }
            }
        }
    }

    pub(super) fn push(&mut self, at: f64, event: Event) {
        // No event before its cause.
        let at = at.max(self.now);
        self.caused += 1;
        self.heap
            .push(Reverse((Moment(at.to_bits(), self.caused), event)));
    }

    pub(super) fn turn(&self, sequence: u64) -> usize {
        (sequence % u64::from(self.plan.cycle)) as usize
    }

    pub(super) fn note(&mut self, rank: usize, kind: Kind, sequence: u64, start_us: f64) {
        if self.asked.intervals {
            self.intervals.push(Interval {
                rank: Rank::new(rank),
                kind,
                sequence,
                start_us,
                end_us: self.now,
            });
        }
    }

    /// When a rank's main thread gets to a message that is there now; it is then busy with it, and
    /// with `bytes` of it that it hands on.
    pub(super) fn main_turn(&mut self, rank: usize, bytes: u64) -> f64 {
        self.pass(rank);
        let took = self.main_us(rank, bytes);
        let clock = &mut self.ranks[rank];
        clock.bucket.wake();
        // Where the host stands still its main thread does, too, whatever the other one has to do.
        let there = clock.bucket.pause();
        let free = &mut self.main_free[self.programs.core_of[rank]];
        let at = free.max(self.now + there);
        *free = at + took;
        at
    }

    /// Rank 0 opens what may be opened.
    pub(super) fn lead(&mut self) {
        let ops = &self.programs.ops[0];
        let cycle = u64::from(self.plan.cycle);
        let outputs = |sequence: u64| {
            let turn = &ops[(sequence % cycle) as usize];
            turn.iter().filter(|op| **op == Op::Output).count()
        };
        while self.ranks[0].announced.is_empty() {
            let Some(sequence) = self.head.open(self.now, outputs) else {
                return;
            };
            if self.ranks[0].bucket.binds() {
                // The next one is decoded meanwhile, and one that is through is written.
                self.spend(0, self.programs.frame_us);
            }
            for rank in 1..self.ranks.len() {
                self.notice(0);
                let at = self.main_turn(0, 0) + self.notices[rank];
                self.push(at, Event::Opening(rank, sequence));
            }
            self.ranks[0].announced.push_back(sequence);
            self.open_frames(0);
        }
    }

    /// Opens announced frames whose slot is free.
    pub(super) fn open_frames(&mut self, rank: usize) {
        let window = u64::from(self.plan.window);
        while let Some(&sequence) = self.ranks[rank].announced.front() {
            let clock = &mut self.ranks[rank];
            let mut open = clock.open.iter();
            if open.any(|frame| frame.sequence % window == sequence % window) {
                return;
            }
            clock.announced.pop_front();
            let early = clock.early.remove(&sequence).unwrap_or_default();
            let known: Vec<TransferId> = early.clone();
            clock.open.push(Frame::open(sequence, self.now, early));
            for id in known {
                self.note(rank, Kind::Receive(id), sequence, self.now);
            }
            self.settle(rank, sequence);
        }
    }

    /// Notes what the parts of a rank's open frames take as the compute thread begins a step of
    /// one of them, besides this one.
    pub(super) fn hold(&mut self, rank: usize, working: usize) {
        let open = self.ranks[rank].open.iter().enumerate();
        let others = open.filter(|(at, _)| *at != working);
        let rest =
            others.map(|(_, frame)| self.lives[rank][self.turn(frame.sequence)].rest[frame.cursor]);
        let bytes = rest.fold(0, u64::saturating_add);
        self.ranks[rank].times.waiting.note(bytes);
    }

    /// Does what steps of a frame only move data, then what that makes possible.
    pub(super) fn settle(&mut self, rank: usize, sequence: u64) {
        if self.advance(rank, sequence) == Some(Pause::End) {
            self.close(rank, sequence);
        }
        self.work(rank);
    }

    /// Does every step that only moves data, up to the next pause. None where the frame is not
    /// open, or the compute thread has it.
    pub(super) fn advance(&mut self, rank: usize, sequence: u64) -> Option<Pause> {
        let programs = self.programs;
        let ops = &programs.ops[rank][self.turn(sequence)];
        let at = self.ranks[rank].at(sequence)?;
        loop {
            let frame = &mut self.ranks[rank].open[at];
            if let Some(pause) = frame.pause(ops) {
                if pause == Pause::Receive {
                    frame.waiting.get_or_insert(self.now);
                }
                return Some(pause);
            }
            let op = ops[frame.cursor];
            frame.cursor += 1;
            match op {
                Op::Receive(..) => frame.end_wait(self.now),
                Op::Send(id, _) => self.send(rank, at, id),
                // Frames open and close by events alone, so that `at` stays this frame.
                Op::Output => {
                    self.head.land(sequence, self.now);
                    self.push(self.now, Event::Start(usize::MAX));
                }
                Op::Run(..) | Op::Copy(_) => unreachable!("a computing step is a pause"),
            }
        }
    }

    /// Closes a frame whose steps are done, once its sends are.
    pub(super) fn close(&mut self, rank: usize, sequence: u64) {
        let Some(at) = self.ranks[rank].at(sequence) else {
            return;
        };
        let frame = &self.ranks[rank].open[at];
        if frame.sends_open > 0 || frame.taken {
            return;
        }
        let clock = &mut self.ranks[rank];
        let frame = clock.open.remove(at);
        if sequence >= self.asked.warmup {
            clock.times.compute_us.push(frame.compute_us);
            clock.times.wait_us.push(frame.wait_us);
            clock.times.transfer_us.push(frame.transfer_us);
        }
        self.open_frames(rank);
        if rank == 0 {
            self.lead();
        }
    }

    fn finish(mut self, total: u64) -> Result<Replayed, CostError> {
        if let Some(sequence) = self.head.oldest() {
            let blocked = self.blocked(sequence);
            return Err(CostError::Stuck { sequence, blocked });
        }
        self.flows.finish(self.now);
        let delivered = &self.head.delivered;
        let span_us = delivered.last().map_or(0.0, |frame| frame.landed_us);
        for activity in &mut self.activities {
            activity.change(self.now, 0, 0);
        }
        let skipped = usize::try_from(self.asked.warmup).unwrap_or(usize::MAX);
        Ok(Replayed {
            frames: delivered.iter().skip(skipped).copied().collect(),
            ranks: self.ranks.into_iter().map(|clock| clock.times).collect(),
            usage: self.flows.usage,
            activities: self.activities,
            intervals: self.intervals,
            total,
            span_us,
        })
    }

    /// The first rank that waits for a message of this frame.
    fn blocked(&self, sequence: u64) -> String {
        let waiting = self.ranks.iter().enumerate().find_map(|(rank, clock)| {
            let frame = &clock.open[clock.at(sequence)?];
            match self.programs.ops[rank][self.turn(sequence)].get(frame.cursor) {
                Some(Op::Receive(id, _)) => Some(format!("rank {rank} waits for {id}")),
                _ => None,
            }
        });
        waiting.unwrap_or_else(|| "no rank waits for a message".into())
    }
}
