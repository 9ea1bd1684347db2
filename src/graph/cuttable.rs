//! Along which axes a node can be shared out, so that a part of its output needs a part of its
//! inputs.
//!
//! The answers go by the kind of operator: on a map that is smaller than its kernel, a part may
//! need all of the input's rows, and is right all the same. How much a part needs is said by
//! [`super::input_needs`].

use super::{Graph, Node, Op, Operand};
use crate::ids::NodeId;

/// Whether a box of the node's first output that is cut along the spatial axis `axis` (2: rows,
/// 3: columns) needs only a part of its inputs along the same axis. False for an axis that the
/// output lacks or has with length 1, and for the axes of frames and channels.
pub fn cuttable(graph: &Graph, id: NodeId, axis: usize) -> bool {
    let node = graph.node(id);
    if axis < 2 || length(graph, node, axis).is_none_or(|length| length < 2) {
        return false;
    }
    match &node.op {
        Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } => true,
        Op::Pad { .. } | Op::Resize { .. } | Op::PerChannel => true,
        Op::Elementwise => reads_along(graph, node, axis),
        Op::Across { axes } => !axes.contains(&axis),
        Op::Concat { axis: joined } => *joined != axis,
        Op::Flatten { .. } | Op::Gemm { .. } | Op::GlobalSum | Op::Opaque => false,
    }
}

/// Whether some channels (axis 1) of the node's first output need only the like channels of its
/// inputs: of a grouped convolution whole groups, of a Flatten whole blocks.
pub fn channelwise(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if length(graph, node, 1).is_none() {
        return false;
    }
    match &node.op {
        Op::Conv { groups, .. } | Op::ConvTranspose { groups, .. } => *groups > 1,
        Op::Pool { .. } | Op::Pad { .. } | Op::Resize { .. } => true,
        Op::PerChannel | Op::GlobalSum => true,
        Op::Elementwise => reads_along(graph, node, 1),
        Op::Across { axes } => !axes.contains(&1),
        Op::Concat { axis } => *axis != 1,
        Op::Flatten { axis } => *axis == 1,
        Op::Gemm { .. } | Op::Opaque => false,
    }
}

/// The length of an axis of the node's first output; none where it has no such axis.
fn length(graph: &Graph, node: &Node, axis: usize) -> Option<usize> {
    let output = node.outputs.first()?;
    graph.activation(*output).shape.get(axis).copied()
}

/// Whether some activation among the inputs is as long along an axis of the output as the output,
/// with ONNX broadcasting: axes are counted from the back.
fn reads_along(graph: &Graph, node: &Node, axis: usize) -> bool {
    let made = node
        .outputs
        .first()
        .map_or(&[][..], |&id| &graph.activation(id).shape);
    node.inputs.iter().any(|operand| {
        let Operand::Activation(id) = operand else {
            return false;
        };
        let shape = &graph.activation(*id).shape;
        let own = (axis + shape.len()).checked_sub(made.len());
        own.is_some_and(|own| shape[own] == made[axis])
    })
}
