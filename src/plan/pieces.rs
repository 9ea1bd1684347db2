//! What a piece really computes: regions, weight slices and bias, from the plan and the graph.

use std::collections::BTreeMap;

use super::{Part, Piece, Plan, Terms};
use crate::geometry::Region;
use crate::graph::{piece_regions, weight_needs, Graph, NeedError, Operand};
use crate::ids::{ActivationId, NodeId, Rank, WeightId};

/// Everything that the cutter, deployment and `check` need to know of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceWork {
    /// The region computed or read of every activation that the piece touches.
    pub regions: BTreeMap<ActivationId, Region>,
    /// For a node whose sum is shared: the box of its first input that this piece adds up, and
    /// whether it carries the bias.
    pub summands: BTreeMap<NodeId, (Region, bool)>,
    /// The weight slices: for each node in order (operand index, weight, region). A bias that
    /// another summand carries is left out.
    pub weights: Vec<(NodeId, usize, WeightId, Region)>,
}

/// Works out a piece of `rank`.
///
/// # Errors
/// `NeedError` where an output's region does not fit its activation.
pub fn piece_work(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    piece: &Piece,
) -> Result<PieceWork, NeedError> {
    let part = |id| -> &Part { plan.part(rank, id) };
    let summands = summands(plan, piece.outputs.iter().map(|&(id, _)| part(id)), piece);
    let boxes = summands
        .iter()
        .map(|(&node, (region, _))| (node, region.clone()))
        .collect();
    let outputs: Vec<_> = piece
        .outputs
        .iter()
        .map(|(id, region)| (part(*id).activation, region.clone()))
        .collect();
    let regions = piece_regions(graph, &piece.nodes, &outputs, &boxes)?;
    let mut weights = Vec::new();
    for &id in &piece.nodes {
        let node = graph.node(id);
        let Some(made) = node.outputs.first().and_then(|output| regions.get(output)) else {
            continue;
        };
        let read = match node.inputs.first() {
            Some(Operand::Activation(activation)) => {
                let whole = graph.whole(*activation);
                let need = crate::graph::input_needs(graph, id, made);
                let own = need.first().map_or(whole, |(_, _, region)| region.clone());
                boxes
                    .get(&id)
                    .map_or(own.clone(), |summand: &Region| own.intersect(summand))
            }
            _ => made.clone(),
        };
        let carries_bias = summands.get(&id).is_none_or(|&(_, bias)| bias);
        for (index, weight, region) in weight_needs(graph, id, made, &read) {
            if index < 2 || carries_bias {
                weights.push((id, index, weight, region));
            }
        }
    }
    Ok(PieceWork {
        regions,
        summands,
        weights,
    })
}

/// The shared sums that a piece makes summands of: those its outputs contain only some terms of.
fn summands<'a>(
    plan: &Plan,
    outputs: impl Iterator<Item = &'a Part>,
    piece: &Piece,
) -> BTreeMap<NodeId, (Region, bool)> {
    let mut found = BTreeMap::new();
    for part in outputs {
        let Terms::Some { sum, members } = &part.terms else {
            continue;
        };
        let sum = &plan.sums[sum.index()];
        // A piece that only passes a partial sum on has no node of the sum in it.
        if !piece.nodes.contains(&sum.node) {
            continue;
        }
        let boxes = members.iter().map(|&member| &sum.members[member as usize]);
        let hull = boxes.cloned().reduce(|a, b| a.hull(&b));
        if let Some(hull) = hull {
            found.insert(sum.node, (hull, members.contains(&0)));
        }
    }
    found
}
