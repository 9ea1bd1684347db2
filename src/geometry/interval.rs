//! A half-open run of indices along one axis.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The indices `start..end` of one axis; empty where `end <= start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// First index inside.
    pub start: usize,
    /// First index behind the last one inside.
    pub end: usize,
}

impl Interval {
    /// The interval `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The interval `0..length`: a whole axis.
    pub const fn whole(length: usize) -> Self {
        Self::new(0, length)
    }

    /// How many indices are inside.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether no index is inside.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether every index of `other` is inside; an empty `other` is inside of anything.
    pub fn contains(self, other: Self) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// The indices in both.
    pub fn intersect(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self::new(start, self.end.min(other.end).max(start))
    }

    /// The smallest interval that contains both; an empty one does not count.
    pub fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self::new(self.start.min(other.start), self.end.max(other.end)),
        }
    }

    /// The same indices counted from `origin`, which must not lie behind `start`.
    pub fn relative_to(self, origin: usize) -> Self {
        Self::new(self.start - origin, self.end - origin)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.end)
    }
}
