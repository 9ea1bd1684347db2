//! Half-open boxes in an activation of any number of axes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Interval;

/// One interval for each axis of an activation, outermost first (`[N, C, H, W]` for images).
/// A scalar's region has no axis and one element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Region(pub Vec<Interval>);

impl Region {
    /// The box that covers an activation of this shape.
    pub fn whole(shape: &[usize]) -> Self {
        Self(
            shape
                .iter()
                .map(|&length| Interval::whole(length))
                .collect(),
        )
    }

    /// How many axes the box has.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The lengths along every axis.
    pub fn shape(&self) -> Vec<usize> {
        self.0.iter().map(|axis| axis.len()).collect()
    }

    /// How many elements are inside.
    pub fn volume(&self) -> usize {
        self.0.iter().map(|axis| axis.len()).product()
    }

    /// Whether no element is inside.
    pub fn is_empty(&self) -> bool {
        self.0.iter().any(|axis| axis.is_empty())
    }

    /// Whether every element of `other` is inside. Both have the same number of axes.
    pub fn contains(&self, other: &Self) -> bool {
        other.is_empty() || self.pairs(other).all(|(a, b)| a.contains(b))
    }

    /// The elements in both. Both have the same number of axes.
    pub fn intersect(&self, other: &Self) -> Self {
        Self(self.pairs(other).map(|(a, b)| a.intersect(b)).collect())
    }

    /// The smallest box that contains both; an empty one does not count.
    pub fn hull(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(self.pairs(other).map(|(a, b)| a.hull(b)).collect()),
        }
    }

    /// The same box with another interval along `axis`.
    pub fn with_axis(&self, axis: usize, interval: Interval) -> Self {
        let mut region = self.clone();
        region.0[axis] = interval;
        region
    }

    /// The same box counted from the first element of `outer`, which contains it.
    pub fn relative_to(&self, outer: &Self) -> Self {
        Self(
            self.pairs(outer)
                .map(|(a, b)| a.relative_to(b.start))
                .collect(),
        )
    }

    /// What of `self` lies outside of `other`, as disjoint boxes in a fixed order.
    pub fn minus(&self, other: &Self) -> Vec<Self> {
        let common = self.intersect(other);
        if common.is_empty() {
            return if self.is_empty() {
                vec![]
            } else {
                vec![self.clone()]
            };
        }
        let mut rest = self.clone();
        let mut outside = Vec::new();
        for axis in 0..self.rank() {
            let (own, cut) = (rest.0[axis], common.0[axis]);
            for side in [
                Interval::new(own.start, cut.start),
                Interval::new(cut.end, own.end),
            ] {
                if !side.is_empty() {
                    outside.push(rest.with_axis(axis, side));
                }
            }
            rest.0[axis] = cut;
        }
        outside
    }

    /// What of `self` is in none of `others`, as disjoint boxes.
    pub fn minus_all<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut left = if self.is_empty() {
            vec![]
        } else {
            vec![self.clone()]
        };
        for other in others {
            left = left.iter().flat_map(|region| region.minus(other)).collect();
        }
        left
    }

    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (Interval, Interval)> + 'a {
        assert_eq!(
            self.rank(),
            other.rank(),
            "boxes {self} and {other} of different rank"
        );
        self.0.iter().copied().zip(other.0.iter().copied())
    }
}

impl fmt::Display for Region {
    /// `[0:1, 0:64, 0:112, 0:224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, axis) in self.0.iter().enumerate() {
            write!(f, "{}{axis}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(axes: &[(usize, usize)]) -> Region {
        Region(axes.iter().map(|&(a, b)| Interval::new(a, b)).collect())
    }

    #[test]
    fn minus_covers_exactly_what_is_outside() {
        let outer = region(&[(0, 4), (0, 5)]);
        for (a, b, c, d) in [
            (1, 3, 2, 4),
            (0, 4, 0, 5),
            (0, 1, 0, 1),
            (3, 9, 4, 7),
            (4, 6, 0, 5),
        ] {
            let hole = region(&[(a, b), (c, d)]);
            let rest = outer.minus(&hole);
            let volume: usize = rest.iter().map(Region::volume).sum();
            assert_eq!(volume + outer.intersect(&hole).volume(), outer.volume());
            assert!(rest
                .iter()
                .all(|r| outer.contains(r) && r.intersect(&hole).is_empty()));
        }
    }
}
