//! Many samples as three numbers.

use serde::{Deserialize, Serialize};

/// Percentiles of samples: each is one of them, the smallest that at least so many per cent of
/// all do not exceed (nearest rank).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Half of all samples are at most this.
    pub p50: f64,
    /// 95 % of all samples are at most this.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Summarises samples in any order; zeros where there is none.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| sorted.get(rank(percent)).copied().unwrap_or(0.0);
        Self {
            p50: at(50),
            p95: at(95),
            max: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(p50: f64, p95: f64, max: f64) -> Summary {
        Summary { p50, p95, max }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        assert_eq!(Summary::of(&[]), summary(0.0, 0.0, 0.0));
        assert_eq!(Summary::of(&[7.0]), summary(7.0, 7.0, 7.0));
        assert_eq!(Summary::of(&[3.0, 1.0, 2.0, 4.0]), summary(2.0, 4.0, 4.0));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Summary::of(&hundred), summary(50.0, 95.0, 100.0));
    }
}
