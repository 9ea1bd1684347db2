//! What a piece really computes: regions, weight slices and bias, from the plan and the graph.

use std::collections::BTreeMap;

use super::{Part, Piece, Plan, Terms};
use crate::geometry::Region;
use crate::graph::{input_needs, piece_regions, weight_needs, Graph, NeedError};
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
    let mut work = PieceWork {
        regions,
        summands,
        weights: vec![],
    };
    for &id in &piece.nodes {
        let Some(made) = work.made(graph, id) else {
            continue;
        };
        let read = work.first_read(graph, id, made);
        let carries_bias = work.summands.get(&id).is_none_or(|&(_, bias)| bias);
        let slices = weight_needs(graph, id, made, &read)
            .into_iter()
            .filter(|(index, ..)| *index < 2 || carries_bias)
            .map(|(index, weight, region)| (id, index, weight, region));
        let slices: Vec<_> = slices.collect();
        work.weights.extend(slices);
    }
    Ok(work)
}

impl PieceWork {
    /// The region of its first output that a node of the piece makes; none where nothing in the
    /// piece needs it.
    pub fn made(&self, graph: &Graph, id: NodeId) -> Option<&Region> {
        let output = graph.node(id).outputs.first()?;
        self.regions.get(output)
    }

    /// What a node reads of its first input to make `made`, or adds up of it where its sum is
    /// shared. `made` itself where that input is a weight.
    pub fn first_read(&self, graph: &Graph, id: NodeId, made: &Region) -> Region {
        let needs = input_needs(graph, id, made);
        let Some((0, _, need)) = needs.into_iter().next() else {
            return made.clone();
        };
        match self.summands.get(&id) {
            Some((summand, _)) => need.intersect(summand),
            None => need,
        }
    }
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
