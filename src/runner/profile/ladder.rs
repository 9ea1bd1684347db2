//! How much of a node is measured, in which order: the coarse marks first, so that whoever runs
//! out of time has a table that is coarse and not one that ends in the middle.

use serde::{Deserialize, Serialize};

/// Along what a node is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Along {
    /// Rows of its output.
    Rows,
    /// Channels of its output.
    Channels,
    /// Channels of its input, where a sum is shared.
    Terms,
}

/// One level: of every node that can be shared out so, so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// The whole node, with those that are fused behind it.
    Whole,
    /// `ladder(length)[index]` of it.
    Part(Along, usize),
}

/// Shares in the order of their worth: halves and quarters first, then one element, then those
/// of three ranks, then the rest.
const SHARES: [(usize, usize); 7] = [(1, 2), (1, 4), (0, 1), (1, 3), (1, 8), (2, 3), (3, 4)];

/// How many of `SHARES` are coarse: a table of these is measured well before any other is begun.
const COARSE: usize = 3;

/// The levels of the coarse shares, the most important first.
pub fn coarse() -> Vec<Level> {
    let mut levels = levels();
    levels.truncate(1 + 3 * COARSE);
    levels
}

/// Every level, the most important first.
pub fn levels() -> Vec<Level> {
    let mut levels = vec![Level::Whole];
    for index in 0..SHARES.len() {
        let parts = [Along::Rows, Along::Channels, Along::Terms];
        levels.extend(parts.map(|along| Level::Part(along, index)));
    }
    levels
}

/// The parts of `length` that are measured: one entry for each share, at least 1 and below
/// `length`; none where another share before it has the same length.
pub fn ladder(length: usize) -> Vec<Option<usize>> {
    let mut seen = vec![];
    let part = |&(over, under): &(usize, usize)| {
        let part = (length * over).div_ceil(under).max(1);
        let is_new = part < length && !seen.contains(&part);
        seen.push(part);
        is_new.then_some(part)
    };
    SHARES.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_below_the_whole_and_each_once() {
        for length in 0..300 {
            let mut parts: Vec<_> = ladder(length).into_iter().flatten().collect();
            assert!(parts.iter().all(|&part| (1..length).contains(&part)));
            let count = parts.len();
            parts.sort_unstable();
            parts.dedup();
            assert_eq!(parts.len(), count, "{length}");
            assert_eq!(ladder(length).len(), SHARES.len());
        }
        let all: Vec<_> = ladder(224).into_iter().flatten().collect();
        assert_eq!(all, [112, 56, 1, 75, 28, 150, 168]);
    }

    #[test]
    fn levels_begin_with_the_whole() {
        let levels = levels();
        assert_eq!(levels[0], Level::Whole);
        assert_eq!(levels.len(), 1 + 3 * SHARES.len());
        assert_eq!(
            coarse().last(),
            Some(&Level::Part(Along::Terms, COARSE - 1))
        );
    }
}
