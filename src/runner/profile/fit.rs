//! A link's α and β from the times of messages of several sizes.
//!
//! t(n) = α + n / β is laid through two of the measured points, those that leave the least sum of
//! *relative* errors over all points. Relative, because small messages matter as much as long
//! ones; through two points, because a least sum of absolute errors always lies there, and a
//! point that some disturbance threw off then pulls at nothing (as in Theil's and Sen's median of
//! slopes, which however forgets how uncertain the slope between two small sizes is).
//!
//! Long messages count more often: what a link lets through at once after a pause makes short ones
//! faster than its rate, and there are more of them.

/// A link as a line: `alpha_s + bytes × s_per_byte`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Seconds of an empty message.
    pub alpha_s: f64,
    /// Seconds for each byte.
    pub s_per_byte: f64,
}

impl Line {
    /// Seconds of a message.
    pub fn at(&self, bytes: f64) -> f64 {
        self.alpha_s + bytes * self.s_per_byte
    }

    fn through((n0, t0): (f64, f64), (n1, t1): (f64, f64)) -> Self {
        let s_per_byte = ((t1 - t0) / (n1 - n0)).max(0.0);
        let alpha_s = (t0 - n0 * s_per_byte).max(0.0);
        Self {
            alpha_s,
            s_per_byte,
        }
    }

    fn error(&self, points: &[(f64, f64)]) -> f64 {
        let times = |bytes: f64| if bytes < LONG.0 { 1.0 } else { LONG.1 };
        let relative = |&(n, t): &(f64, f64)| times(n) * (self.at(n) - t).abs() / t;
        points.iter().map(relative).sum()
    }
}

/// Bytes from which on a message is long, and how often it counts.
const LONG: (f64, f64) = (250_000.0, 3.0);

/// The line through points (bytes, seconds > 0) of different sizes; none where there are fewer
/// than two.
pub fn fit(points: &[(f64, f64)]) -> Option<Line> {
    let others = |i: usize| points[i + 1..].iter();
    let pairs = points
        .iter()
        .enumerate()
        .flat_map(|(i, a)| others(i).map(move |b| (*a, *b)));
    let lines = pairs
        .filter(|(a, b)| a.0 != b.0)
        .map(|(a, b)| Line::through(a, b));
    lines.min_by(|a, b| a.error(points).total_cmp(&b.error(points)))
}

/// The mean of the middle half: without what some disturbance delayed, and not, as a median would
/// be, one of the two times that a host under a quota takes in turn. NaN of nothing.
pub fn middle(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    let half = &sorted[quarter..sorted.len() - quarter];
    half.iter().sum::<f64>() / half.len() as f64
}

/// The median; NaN of nothing.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    crate::stats::percentile(&sorted, 50.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 6] = [0.0, 4e3, 32e3, 128e3, 512e3, 2e6];

    fn points(alpha: f64, rate: f64) -> Vec<(f64, f64)> {
        SIZES.iter().map(|&n| (n, alpha + n / rate)).collect()
    }

    #[test]
    fn a_line_is_found_again() {
        for (alpha, rate) in [(2e-4, 11.6e6), (5e-3, 1.2e6), (2e-5, 2e9)] {
            let line = fit(&points(alpha, rate)).expect("six points");
            assert!((line.alpha_s / alpha - 1.0).abs() < 1e-6, "{line:?}");
            assert!((line.s_per_byte * rate - 1.0).abs() < 1e-6, "{line:?}");
        }
    }

    #[test]
    fn a_point_thrown_off_pulls_at_nothing() {
        for thrown in 0..6 {
            let mut points = points(2e-4, 11.6e6);
            points[thrown].1 *= 3.0;
            let line = fit(&points).expect("six points");
            assert!(
                (line.alpha_s / 2e-4 - 1.0).abs() < 1e-6,
                "{thrown}: {line:?}"
            );
            assert!(
                (line.s_per_byte * 11.6e6 - 1.0).abs() < 1e-6,
                "{thrown}: {line:?}"
            );
        }
    }

    #[test]
    fn the_middle_heeds_two_modes_and_no_outlier() {
        assert_eq!(middle(&[1.0, 1.0, 3.0, 3.0]), 2.0);
        assert_eq!(middle(&[1.0, 1.0, 1.0, 900.0]), 1.0);
        assert_eq!(middle(&[4.0]), 4.0);
        assert!(middle(&[]).is_nan());
    }

    #[test]
    fn nothing_is_negative_and_one_point_is_no_line() {
        let line = fit(&[(0.0, 2.0), (10.0, 1.0)]).expect("two points");
        assert!(line.alpha_s >= 0.0 && line.s_per_byte >= 0.0);
        assert_eq!(fit(&[(0.0, 1.0)]), None);
        assert_eq!(fit(&[(5.0, 1.0), (5.0, 2.0)]), None);
    }
}
