//! What a rank did when: the intervals of a run, for tests and pictures.

use std::sync::Mutex;
use std::time::Instant;

pub use crate::cost::Kind;
use crate::ids::Rank;

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

    /// All intervals so far as a cost has them, in µs from `origin`; none from before it.
    pub fn since(&self, origin: Instant, rank: Rank) -> Vec<crate::cost::Interval> {
        let us = |at: Instant| at.saturating_duration_since(origin).as_secs_f64() * 1e6;
        let taken = self.take().into_iter();
        taken
            .map(|interval| crate::cost::Interval {
                rank,
                kind: interval.kind,
                sequence: interval.sequence,
                start_us: us(interval.start),
                end_us: us(interval.end),
            })
            .collect()
    }
}
