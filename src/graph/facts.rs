//! Sizes and operation counts.

use super::{Graph, Op, Operand};
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
    used.into_iter().map(|w| graph.weight(w).bytes()).sum()
}

/// Multiply-accumulates of one node for one frame: convolutions and matrix products only, as
/// the literature counts (VGG-16's convolutions: 15.347 G at 224×224).
pub fn macs(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let output = |i: usize| -> u64 {
        node.outputs.get(i).map_or(0, |&a| {
            graph
                .activation(a)
                .shape
                .iter()
                .map(|&axis| axis as u64)
                .product()
        })
    };
    let weight = |i: usize| match node.inputs.get(i) {
        Some(Operand::Weight(w)) => Some(&graph.weight(*w).shape),
        _ => None,
    };
    match (&node.op, weight(1)) {
        (Op::Conv { .. }, Some(kernel)) => {
            output(0)
                * kernel
                    .iter()
                    .skip(1)
                    .map(|&axis| axis as u64)
                    .product::<u64>()
        }
        (Op::Gemm { transposed }, Some(matrix)) if matrix.len() == 2 => {
            output(0) * matrix[usize::from(*transposed)] as u64
        }
        _ => 0,
    }
}
