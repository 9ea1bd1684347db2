//! How often the highest score is the true class, and how sure that is.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// The normal distribution's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// Right answers among those that could be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Frames whose highest score is the true class.
    pub right: u64,
    /// Frames with a known class.
    pub counted: u64,
}

impl Accuracy {
    /// Counts one frame.
    pub fn count(&mut self, right: bool) {
        self.right += u64::from(right);
        self.counted += 1;
    }

    /// Right answers as a share of all; none where nothing was counted.
    pub fn share(&self) -> Option<f64> {
        (self.counted > 0).then(|| self.right as f64 / self.counted as f64)
    }

    /// The 95 % interval of the share (Wilson, 1927): with n counted, share p and z = 1.96,
    /// (p + z²/2n ± z·sqrt(p(1−p)/n + z²/4n²)) / (1 + z²/n). None where nothing was counted.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (share, n) = (self.share()?, self.counted as f64);
        let square = Z * Z / n;
        let middle = share + square / 2.0;
        let reach = (square * (share * (1.0 - share) + square / 4.0)).sqrt();
        let low = ((middle - reach) / (1.0 + square)).max(0.0);
        Some((low, ((middle + reach) / (1.0 + square)).min(1.0)))
    }
}

/// As `{right, counted, share, low, high}`.
impl Serialize for Accuracy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Accuracy", 5)?;
        object.serialize_field("right", &self.right)?;
        object.serialize_field("counted", &self.counted)?;
        object.serialize_field("share", &self.share())?;
        object.serialize_field("low", &self.interval().map(|interval| interval.0))?;
        object.serialize_field("high", &self.interval().map(|interval| interval.1))?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(right: u64, counted: u64) -> (f64, f64) {
        Accuracy { right, counted }.interval().unwrap()
    }

    #[test]
    fn the_interval_solves_its_own_equation() {
        // Both ends are the shares p0 whose distance to p is z standard errors under p0.
        for (right, counted) in [(292, 300), (1, 2), (9, 10), (1, 1000)] {
            let share = right as f64 / counted as f64;
            let (low, high) = interval(right, counted);
            for end in [low, high] {
                let error = (end * (1.0 - end) / counted as f64).sqrt();
                assert!(((share - end).abs() - Z * error).abs() < 1e-12);
            }
            assert!(low < share && share < high);
        }
    }

    #[test]
    fn the_ends_stay_shares() {
        let (low, high) = interval(0, 10);
        assert!((0.0..1e-12).contains(&low));
        // z² / (n + z²) by hand.
        assert!((high - 3.841_459 / 13.841_459).abs() < 1e-6);
        assert!((1.0 - 1e-12..=1.0).contains(&interval(10, 10).1));
        assert_eq!(Accuracy::default().interval(), None);
    }
}
