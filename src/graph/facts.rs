//! Sizes and operation counts.

use super::{Graph, Op, Operand};
use crate::geometry::Region;
use crate::ids::{ActivationId, NodeId, WeightId};

/// Bytes of a whole activation.
pub fn activation_bytes(graph: &Graph, id: ActivationId) -> usize {
    let activation = graph.activation(id);
    activation.shape.iter().product::<usize>() * activation.dtype.size()
}

/// Bytes of the weights that these nodes use, each weight once.
pub fn weight_bytes(graph: &Graph, nodes: impl IntoIterator<Item = NodeId>) -> usize {
    let mut used: Vec<WeightId> = nodes
        .into_iter()
        .flat_map(|n| graph.node(n).weights())
        .collect();
    used.sort_unstable();
    used.dedup();
    let bytes = used.into_iter().map(|w| graph.weight(w).bytes());
    bytes.fold(0, usize::saturating_add)
}

/// Multiply-accumulates of one node for one frame: convolutions and matrix products only, as
/// the literature counts (VGG-16's convolutions: 15.347 G at 224×224).
pub fn macs(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    match (node.outputs.first(), node.inputs.first()) {
        (Some(&output), Some(&Operand::Activation(input))) => {
            macs_over(graph, id, &graph.whole(output), &graph.whole(input))
        }
        _ => 0,
    }
}

/// Multiply-accumulates of one node that makes the box `output` of its first output from the box
/// `input` of its first input: fewer than all channels of `input` where a sum is shared.
pub fn macs_over(graph: &Graph, id: NodeId, output: &Region, input: &Region) -> u64 {
    let node = graph.node(id);
    let Some(Operand::Weight(weight)) = node.inputs.get(1) else {
        return 0;
    };
    let kernel = &graph.weight(*weight).shape;
    let channels = |region: &Region| region.0.get(1).map_or(0, |axis| axis.len());
    let taps = |first: usize| {
        let taps = kernel.iter().skip(2);
        taps.fold(first, |product, &axis| product.saturating_mul(axis))
    };
    let per_group = kernel.get(1).copied().unwrap_or(0);
    let (elements, terms) = match &node.op {
        Op::Conv { groups: 1, .. } => (output.volume(), taps(channels(input))),
        Op::Conv { .. } => (output.volume(), taps(per_group)),
        // Every input element is multiplied by each tap of each output channel of its group.
        Op::ConvTranspose { groups: 1, .. } => (input.volume(), taps(channels(output))),
        Op::ConvTranspose { .. } => (input.volume(), taps(per_group)),
        Op::Gemm { .. } => (output.volume(), channels(input)),
        _ => (0, 0),
    };
    (elements as u64).saturating_mul(terms as u64)
}
