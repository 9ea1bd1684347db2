//! One rank's open frames on clocks, after `runner/board.rs` and `runner/frame.rs`.

use std::collections::{HashMap, HashSet, VecDeque};

use super::bucket::Bucket;
use super::program::Op;
use super::waking::Cold;
use crate::ids::TransferId;
use crate::platform::Quota;

/// One open frame.
pub(super) struct Frame {
    pub sequence: u64,
    pub opened: f64,
    pub cursor: usize,
    pub arrived: HashSet<TransferId>,
    /// Messages that came while the compute thread had the frame.
    pub late: Vec<TransferId>,
    /// Whether the compute thread has it.
    pub taken: bool,
    pub waiting: Option<f64>,
    pub sends_open: usize,
    pub compute_us: f64,
    pub wait_us: f64,
    pub transfer_us: f64,
}

/// Why a frame's walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Receive,
    Work,
    End,
}

/// The step that the compute thread is at.
#[derive(Clone, Copy)]
pub(super) struct Busy {
    pub sequence: u64,
    pub started: f64,
    /// CPU time that it still needs.
    pub left: f64,
    /// CPU time that it got since what messages beside it take was counted last, and when that was.
    pub got: f64,
    pub counted: f64,
}

/// A message under way beside a rank's Runs.
pub(super) struct Beside {
    pub flow: usize,
    /// Bytes to go when they were counted last.
    pub left: f64,
    /// µs that a Run loses to each of them.
    pub byte_us: f64,
}

/// One rank.
#[derive(Default)]
pub(super) struct Clock {
    pub announced: VecDeque<u64>,
    /// In the order of opening.
    pub open: Vec<Frame>,
    pub busy: Option<Busy>,
    pub bucket: Bucket,
    pub cold: Cold,
    /// Long messages under way, either way.
    pub moving: usize,
    /// Which announced end of a step is the right one.
    pub generation: u32,
    /// Messages that came before their frame was opened.
    pub early: HashMap<u64, Vec<TransferId>>,
    /// Flows whose compute time nothing has paid yet, with it.
    pub charges: Vec<(usize, f64)>,
    /// Flows that this rank is an end of.
    pub beside: Vec<Beside>,
    pub times: Times,
}

/// What the frames that count took, and the whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub compute_us: Vec<f64>,
    pub wait_us: Vec<f64>,
    pub transfer_us: Vec<f64>,
    pub busy_us: f64,
    /// What the parts of its other open frames take.
    pub waiting: Waiting,
}

/// What the parts of open frames take beside the one that the compute thread is at.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    bytes: u64,
    steps: u64,
}

impl Waiting {
    /// The compute thread begins a step of a frame, and the others take so much.
    pub fn note(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.steps += 1;
    }

    /// What they take in the mean of all steps.
    pub fn mean(&self) -> u64 {
        self.bytes / self.steps.max(1)
    }
}

impl Frame {
    pub fn open(sequence: u64, now: f64, early: Vec<TransferId>) -> Self {
        Self {
            sequence,
            opened: now,
            cursor: 0,
            arrived: early.into_iter().collect(),
            late: vec![],
            taken: false,
            waiting: None,
            sends_open: 0,
            compute_us: 0.0,
            wait_us: 0.0,
            transfer_us: 0.0,
        }
    }

    /// Whether the next step is one that stops the main thread's walk.
    pub fn pause(&self, ops: &[Op]) -> Option<Pause> {
        Some(match ops.get(self.cursor) {
            None => Pause::End,
            Some(Op::Receive(id, _)) if !self.arrived.contains(id) => Pause::Receive,
            Some(Op::Receive(_, None) | Op::Send(_, None) | Op::Output) => return None,
            Some(_) => Pause::Work,
        })
    }

    pub fn end_wait(&mut self, now: f64) {
        if let Some(since) = self.waiting.take() {
            self.wait_us += now - since;
        }
    }
}

impl Clock {
    /// A rank under a quota that so many compute threads share.
    pub fn of((quota, sharing): (Option<Quota>, usize), look_us: f64) -> Self {
        Self {
            bucket: Bucket::of(quota, sharing, look_us),
            ..Self::default()
        }
    }

    /// Lets time pass up to `now`.
    pub fn pass(&mut self, now: f64) {
        match &mut self.busy {
            Some(busy) => {
                let got = self.bucket.work(now);
                busy.left -= got;
                busy.got += got;
            }
            None => self.bucket.rest(now, self.moving > 0),
        }
    }

    /// Where the open frame of this number is.
    pub fn at(&self, sequence: u64) -> Option<usize> {
        self.open
            .iter()
            .position(|frame| frame.sequence == sequence)
    }

    /// The oldest frame that the compute thread could go on with.
    pub fn ready(&self, ops: impl Fn(u64) -> usize, turns: &[Vec<Op>]) -> Option<usize> {
        self.open.iter().position(|frame| {
            let own = &turns[ops(frame.sequence)];
            !frame.taken && frame.pause(own) == Some(Pause::Work)
        })
    }
}
