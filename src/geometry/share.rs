//! Cutting an axis in proportion to shares, by integers only.

use super::Interval;

/// Cut points of `length` indices by `shares`: cut k lies at ⌊length · Σ_{i≤k} share_i / Σ share⌋.
///
/// Returns one end for each share; the last is `length`. With no share above 0 everything goes
/// to the last one.
pub fn cuts(length: usize, shares: &[u64]) -> Vec<usize> {
    let total: u128 = shares.iter().map(|&share| u128::from(share)).sum();
    let mut sum = 0u128;
    let mut ends: Vec<usize> = shares
        .iter()
        .map(|&share| {
            sum += u128::from(share);
            (length as u128 * sum).checked_div(total).unwrap_or(0) as usize
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        *last = length;
    }
    ends
}

/// The intervals between the cuts, one for each share, possibly empty.
pub fn shares_to_intervals(length: usize, shares: &[u64]) -> Vec<Interval> {
    let mut start = 0;
    cuts(length, shares)
        .into_iter()
        .map(|end| {
            let interval = Interval::new(start, end);
            start = end;
            interval
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_round_down_the_cumulative_share() {
        assert_eq!(cuts(7, &[1, 1]), [3, 7]);
        assert_eq!(cuts(224, &[1, 1, 1]), [74, 149, 224]);
        assert_eq!(cuts(2, &[1, 1, 1]), [0, 1, 2]);
        assert_eq!(cuts(5, &[0, 0]), [0, 5]);
    }
}
