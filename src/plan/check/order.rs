//! No rank waits for ever: the listed order and the messages have no cycle.

use super::super::{step_name, Plan, Step};
use super::CheckError;
use crate::ids::Rank;

/// Lets every rank go on as far as its messages allow. Sends wait for nothing, so that the order
/// in which ranks take their steps changes nothing.
pub fn check(plan: &Plan, turn: usize) -> Result<(), CheckError> {
    let mut next = vec![0; plan.ranks.len()];
    let mut sent = vec![false; plan.transfers.len()];
    let mut awake: Vec<usize> = (0..plan.ranks.len()).collect();
    while let Some(rank) = awake.pop() {
        let steps = &plan.ranks[rank].turns[turn];
        while let Some(step) = steps.get(next[rank]) {
            match step {
                Step::Receive(id) if !sent[id.index()] => break,
                Step::Send(id) => {
                    sent[id.index()] = true;
                    awake.push(plan.transfer(*id).to.index());
                }
                _ => {}
            }
            next[rank] += 1;
        }
    }
    let stuck = (0..plan.ranks.len()).filter_map(|index| {
        let (rank, at) = (Rank::new(index), next[index]);
        let step = plan.ranks[index].turns[turn].get(at)?;
        let what = step_name(plan, rank, step);
        Some(format!("rank {rank} waits at step {at} ({what})"))
    });
    let waiting = stuck.collect::<Vec<_>>().join("; ");
    match waiting.is_empty() {
        true => Ok(()),
        false => Err(CheckError::Stuck { turn, waiting }),
    }
}
