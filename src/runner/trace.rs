//! What a rank did when: the intervals of a run, for tests and pictures.

use std::sync::Mutex;
use std::time::Instant;

use crate::ids::{PieceId, TransferId};

/// What an interval was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Running a piece.
    Run(PieceId),
    /// Assembling, adding, packing or unpacking.
    Copy,
    /// A message under way, from its start to the sender's buffer being free.
    Send(TransferId),
    /// A message expected and then here.
    Receive(TransferId),
}

/// One interval of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// What.
    pub kind: Kind,
    /// The frame's sequence number.
    pub sequence: u64,
    /// From when.
    pub start: Instant,
    /// Until when.
    pub end: Instant,
}

/// The intervals of one rank, or nothing where nobody asked for them.
pub struct Trace {
    intervals: Option<Mutex<Vec<Interval>>>,
}

impl Trace {
    /// A trace that keeps intervals where `on`.
    pub fn new(on: bool) -> Self {
        Self {
            intervals: on.then(Mutex::default),
        }
    }

    /// Keeps one interval.
    pub fn add(&self, kind: Kind, sequence: u64, start: Instant, end: Instant) {
        if let Some(intervals) = &self.intervals {
            let mut intervals = intervals.lock().expect("no thread panics while it adds");
            intervals.push(Interval {
                kind,
                sequence,
                start,
                end,
            });
        }
    }

    /// All intervals so far, in the order of their ends.
    pub fn take(&self) -> Vec<Interval> {
        let taken = self.intervals.as_ref().map(|intervals| {
            std::mem::take(&mut *intervals.lock().expect("no thread panics while it adds"))
        });
        taken.unwrap_or_default()
    }
}
