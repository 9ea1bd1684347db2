//! Where the axes of activations are cut.

use std::collections::BTreeMap;

use super::assign::resolve;
use super::layout::StageView;
use super::PlanError;
use crate::geometry::{shares_to_intervals, Interval};
use crate::ids::NodeId;

/// The shares asked for, or equal ones where none are.
///
/// # Errors
/// `PlanError` where they do not match the number of ranks, or are all 0.
pub fn shares_or_equal(shares: &[u64], count: usize, path: &str) -> Result<Vec<u64>, PlanError> {
    match shares.len() {
        0 => return Ok(vec![1; count]),
        found if found == count => {}
        found => {
            let message = format!("{found} shares need {found} ranks, found {count}");
            return Err(PlanError::new(path, message));
        }
    }
    match shares.iter().any(|&share| share > 0) {
        true => Ok(shares.to_vec()),
        false => Err(PlanError::new(
            path,
            "every share is 0, one at least is more",
        )),
    }
}

/// The rows that `cuts:` gives to each rank, by node.
///
/// # Errors
/// `PlanError` where a name is not one of a node that is cut, or rows do not fit.
pub fn explicit(
    stage: &StageView<'_>,
    cuts: &[(String, Vec<usize>)],
    is_cut: impl Fn(NodeId) -> bool,
) -> Result<BTreeMap<NodeId, Vec<Interval>>, PlanError> {
    let mut found = BTreeMap::new();
    for (name, ends) in cuts {
        let path = format!("{}.split.cuts.{name}", stage.path);
        let nodes = resolve(stage.graph, &path, name)?;
        let cut: Vec<NodeId> = nodes.into_iter().filter(|&id| is_cut(id)).collect();
        if cut.is_empty() {
            let message = "it is not a node of this stage that is cut by rows";
            return Err(PlanError::new(path, message));
        }
        for id in cut {
            let output = stage.graph.node(id).outputs[0];
            let length = stage.graph.activation(output).shape[2];
            found.insert(id, intervals(ends, length, stage.ranks.len(), &path)?);
        }
    }
    Ok(found)
}

/// The intervals that end at these rows; the last one ends with the activation.
fn intervals(
    ends: &[usize],
    length: usize,
    ranks: usize,
    path: &str,
) -> Result<Vec<Interval>, PlanError> {
    if ends.len() + 1 != ranks {
        let (found, wanted) = (ends.len(), ranks - 1);
        let message =
            format!("{found} end rows, {ranks} ranks need {wanted}: the last has the rest");
        return Err(PlanError::new(path, message));
    }
    let mut start = 0;
    let mut intervals = Vec::with_capacity(ranks);
    for &end in ends.iter().chain([&length]) {
        if end < start || end > length {
            let message =
                format!("end row {end} is not from {start} to {length}, the rows that are left");
            return Err(PlanError::new(path, message));
        }
        intervals.push(Interval::new(start, end));
        start = end;
    }
    Ok(intervals)
}

/// Channels of each rank, in whole blocks of `block`.
pub fn blocks(length: usize, block: usize, shares: &[u64]) -> Vec<Interval> {
    let scaled = shares_to_intervals(length / block, shares).into_iter();
    scaled
        .map(|interval| Interval::new(interval.start * block, interval.end * block))
        .collect()
}
