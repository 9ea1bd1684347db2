//! `by: frames`: replicas of a stage take whole frames in turn.

use super::PlanError;
use crate::ids::Rank;
use crate::spec::{Spec, SplitSpec};

/// Longer cycles would make a plan of as many lists of steps.
const MAX_CYCLE: u64 = 64;

/// Who runs the replicated stages, turn by turn.
pub struct Turns {
    /// Turns until everything repeats.
    pub cycle: usize,
    /// For each stage its ranks in turn; none for a stage without replicas.
    orders: Vec<Vec<Rank>>,
}

impl Turns {
    /// The rank that runs a stage in a turn, where it has replicas.
    pub fn rank(&self, stage: usize, turn: usize) -> Option<Rank> {
        let order = &self.orders[stage];
        (!order.is_empty()).then(|| order[turn % order.len()])
    }
}

/// The turns of a spec: each replicated stage repeats after the sum of its shares, all of them
/// after the least common multiple.
///
/// # Errors
/// `PlanError` where that is more than 64, or where shares do not match the ranks.
pub fn turns(spec: &Spec) -> Result<Turns, PlanError> {
    let (mut cycle, mut orders) = (1u64, Vec::new());
    for (stage, asked) in spec.stages.iter().enumerate() {
        let Some(SplitSpec::Frames(frames)) = &asked.split else {
            orders.push(vec![]);
            continue;
        };
        let path = format!("stages[{stage}].split.shares");
        let shares = super::cuts::shares_or_equal(&frames.shares, asked.ranks.len(), &path)?;
        let unit = shares.iter().copied().fold(0, gcd).max(1);
        let shares: Vec<u64> = shares.iter().map(|share| share / unit).collect();
        let total = shares
            .iter()
            .fold(0u64, |sum, share| sum.saturating_add(*share));
        cycle = (cycle / gcd(cycle, total)).saturating_mul(total);
        if cycle > MAX_CYCLE {
            let message = format!(
                "the replicas' turns repeat after {cycle} frames, at most {MAX_CYCLE} are allowed: \
                 use smaller shares"
            );
            return Err(PlanError::new(path, message));
        }
        let order = order(&shares).into_iter();
        orders.push(order.map(|i| Rank::new(asked.ranks[i])).collect());
    }
    Ok(Turns {
        cycle: usize::try_from(cycle).expect("at most 64"),
        orders,
    })
}

/// Whose turn it is, spread as evenly as shares allow: always the one that is furthest behind,
/// the first of equals.
fn order(shares: &[u64]) -> Vec<usize> {
    let total: u64 = shares.iter().sum();
    let mut taken = vec![0u64; shares.len()];
    let behind =
        |taken: &[u64], turn: u64, i: usize| (shares[i] * turn) as i64 - (taken[i] * total) as i64;
    (1..=total)
        .map(|turn| {
            let mut best = 0;
            for i in 1..shares.len() {
                if behind(&taken, turn, i) > behind(&taken, turn, best) {
                    best = i;
                }
            }
            taken[best] += 1;
            best
        })
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_shares_and_are_spread() {
        assert_eq!(order(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(order(&[2, 1]), [0, 1, 0]);
        assert_eq!(order(&[0, 2]), [1, 1]);
        let long = order(&[5, 2, 1]);
        let count = |who| long.iter().filter(|&&i| i == who).count();
        assert_eq!((count(0), count(1), count(2)), (5, 2, 1));
    }
}
