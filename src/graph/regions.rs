//! Which regions of its activations a piece computes or reads: the needs of its nodes, walked
//! backwards.
//!
//! One rule serves the compilers, `plan::check` and the cutter: what a piece computes is the hull
//! of what its outputs and its own nodes need, rounded up to what the operator can compute alone.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{computable, input_needs, Graph, Op};
use crate::geometry::Region;
use crate::ids::{ActivationId, NodeId};

/// Regions that no piece can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NeedError {
    /// A region has another number of axes than its activation, or reaches outside of it.
    #[error("activation {activation}: region {region} is not inside of shape {shape:?}")]
    Outside {
        /// The activation's name.
        activation: String,
        /// The region.
        region: Region,
        /// The activation's shape.
        shape: Vec<usize>,
    },
}

/// The region that a piece of `nodes` (in the graph's order) computes or reads of every
/// activation it touches, so that it makes `outputs`.
///
/// `summands` gives, for a node whose sum is shared, the box of its first input that this piece
/// adds up. Activations that nothing in the piece needs are left out.
///
/// # Errors
/// `NeedError::Outside` where an output's region does not fit its activation.
pub fn piece_regions(
    graph: &Graph,
    nodes: &[NodeId],
    outputs: &[(ActivationId, Region)],
    summands: &BTreeMap<NodeId, Region>,
) -> Result<BTreeMap<ActivationId, Region>, NeedError> {
    let mut regions: BTreeMap<ActivationId, Region> = BTreeMap::new();
    for (activation, region) in outputs {
        let shape = &graph.activation(*activation).shape;
        if region.rank() != shape.len() || !Region::whole(shape).contains(region) {
            return Err(NeedError::Outside {
                activation: graph.activation(*activation).name.clone(),
                region: region.clone(),
                shape: shape.clone(),
            });
        }
        widen(&mut regions, *activation, region);
    }
    for &id in nodes.iter().rev() {
        let node = graph.node(id);
        if node
            .outputs
            .iter()
            .all(|output| !regions.contains_key(output))
        {
            continue;
        }
        // Only opaque operators have several outputs, and they make each of them whole.
        for &output in &node.outputs {
            let asked = regions.get(&output).cloned();
            let made = match (&node.op, asked) {
                (Op::Opaque, _) | (_, None) => graph.whole(output),
                (_, Some(asked)) => computable(graph, id, &asked),
            };
            widen(&mut regions, output, &made);
        }
        let made = regions[&node.outputs[0]].clone();
        for (index, activation, need) in input_needs(graph, id, &made) {
            let need = match summands.get(&id) {
                Some(summand) if index == 0 => need.intersect(summand),
                _ => need,
            };
            widen(&mut regions, activation, &need);
        }
    }
    Ok(regions)
}

fn widen(regions: &mut BTreeMap<ActivationId, Region>, id: ActivationId, region: &Region) {
    let wider = regions
        .get(&id)
        .map_or_else(|| region.clone(), |old| old.hull(region));
    regions.insert(id, wider);
}
