//! Percentiles.
//!
//! By nearest rank: the p-th percentile of n samples is the ⌈p / 100 · n⌉-th smallest, always a
//! sample itself, never a number between two.

use serde::{Deserialize, Serialize};

/// The `p`-th percentile of samples in ascending order, by nearest rank; `p` is clamped to
/// 0..=100, where 0 is the smallest. NaN where there are no samples.
///
/// ```
/// use autodice::stats::percentile;
///
/// let sorted = [1.0, 2.0, 3.0, 4.0];
/// assert_eq!(percentile(&sorted, 50.0), 2.0);
/// assert_eq!(percentile(&sorted, 51.0), 3.0);
/// assert_eq!(percentile(&sorted, 100.0), 4.0);
/// assert!(percentile(&[], 50.0).is_nan());
/// ```
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    // Multiplied before divided, so that 95 % of 20 is 19 and not a last bit more.
    let rank = (p.clamp(0.0, 100.0) * sorted.len() as f64 / 100.0).ceil() as usize;
    let sample = sorted.get(rank.saturating_sub(1));
    sample.copied().unwrap_or(f64::NAN)
}

/// What a table says of many samples.
///
/// ```
/// use autodice::stats::Summary;
///
/// let summary = Summary::of(&[4.0, 1.0, 2.0, 3.0]).expect("samples");
/// assert_eq!((summary.p50, summary.p95, summary.max), (2.0, 4.0, 4.0));
/// assert_eq!((summary.mean, summary.count), (2.5, 4));
/// assert_eq!(Summary::of(&[]), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Median, by nearest rank: the lower of the two in the middle.
    pub p50: f64,
    /// 95th percentile, by nearest rank.
    pub p95: f64,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// How many samples.
    pub count: usize,
}

impl Summary {
    /// Of samples in any order; none where there are none. NaN counts as larger than any number.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let &max = sorted.last()?;
        Some(Self {
            p50: percentile(&sorted, 50.0),
            p95: percentile(&sorted, 95.0),
            max,
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            count: sorted.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank_of_every_percent_is_the_first_sample_that_reaches_it() {
        for n in 1..=40_usize {
            let sorted: Vec<f64> = (1..=n).map(|i| i as f64).collect();
            for p in 1..=100_usize {
                // The smallest k with k / n >= p / 100, in integers.
                let k = (1..=n).find(|k| k * 100 >= p * n).expect("n reaches 100");
                assert_eq!(percentile(&sorted, p as f64), k as f64, "{p} % of {n}");
            }
        }
    }

    #[test]
    fn percents_beyond_the_ends_are_the_ends() {
        let sorted = [1.0, 2.0];
        assert_eq!(percentile(&sorted, -5.0), 1.0);
        assert_eq!(percentile(&sorted, 0.0), 1.0);
        assert_eq!(percentile(&sorted, 200.0), 2.0);
    }

    #[test]
    fn one_sample_is_its_own_summary() {
        let summary = Summary::of(&[7.0]).expect("a sample");
        assert_eq!(
            [summary.p50, summary.p95, summary.max, summary.mean],
            [7.0; 4]
        );
    }
}
