//! Which regions of its inputs and weights a node needs for a region of its output.

use super::{Graph, Node, Op, Operand};
use crate::geometry::{Interval, Region, Window};
use crate::ids::{ActivationId, NodeId, WeightId};

/// The smallest region around `output` that the node can compute by itself: whole for an opaque
/// operator, whole blocks for a Flatten or a Resize, whole groups for a grouped convolution, the
/// whole of those axes across which an operator works.
pub fn computable(graph: &Graph, id: NodeId, output: &Region) -> Region {
    let node = graph.node(id);
    let shape = &graph.activation(node.outputs[0]).shape;
    if output.is_empty() {
        return output.clone();
    }
    match &node.op {
        Op::Opaque => Region::whole(shape),
        Op::Conv { groups, .. } | Op::ConvTranspose { groups, .. } if *groups > 1 => {
            let block = shape[1] / groups;
            output.with_axis(1, round(output.0[1], block))
        }
        Op::Resize { factors } => {
            let mut region = output.clone();
            for (axis, &factor) in region.0.iter_mut().skip(2).zip(factors) {
                *axis = round(*axis, factor);
            }
            region
        }
        Op::Across { axes } => whole_along(output, axes, shape),
        Op::Flatten { axis } => {
            let input = operand_shape(graph, node, 0);
            let (outer, inner) = flatten_blocks(&input, *axis);
            Region(vec![round(output.0[0], outer), round(output.0[1], inner)])
        }
        _ => output.clone(),
    }
}

/// What the node needs of each of its activations to compute `output`, a computable region of
/// its first output, as (operand index, activation, region). A region may be empty.
pub fn input_needs(
    graph: &Graph,
    id: NodeId,
    output: &Region,
) -> Vec<(usize, ActivationId, Region)> {
    let node = graph.node(id);
    let made = node.outputs.first().map(|&a| &graph.activation(a).shape);
    let channels = made.and_then(|shape| shape.get(1)).copied().unwrap_or(1);
    let activations = node.inputs.iter().enumerate();
    activations
        .filter_map(|(index, operand)| {
            let Operand::Activation(activation) = *operand else {
                return None;
            };
            let region = match &node.op {
                Op::Concat { axis } => concat_need(graph, node, index, *axis, output),
                op => {
                    let shape = &graph.activation(activation).shape;
                    operand_need(op, index, output, shape, channels)
                }
            };
            Some((index, activation, region))
        })
        .collect()
}

/// What a Concat needs of one operand: the part of `output` that lies in it, counted from its
/// own start.
fn concat_need(graph: &Graph, node: &Node, index: usize, axis: usize, output: &Region) -> Region {
    let length = |i: usize| {
        operand_shape(graph, node, i)
            .get(axis)
            .copied()
            .unwrap_or(0)
    };
    let start: usize = (0..index).map(length).sum();
    let own = Interval::new(start, start + length(index));
    let common = output.0[axis].intersect(own);
    let relative = match common.is_empty() {
        true => Interval::new(0, 0),
        false => common.relative_to(own.start),
    };
    output.with_axis(axis, relative)
}

/// `channels`: length of the output's axis 1.
fn operand_need(
    op: &Op,
    index: usize,
    output: &Region,
    input: &[usize],
    channels: usize,
) -> Region {
    let whole = Region::whole(input);
    if output.is_empty() {
        return Region(vec![Interval::new(0, 0); input.len()]);
    }
    match op {
        // Operands behind the first of these are constants by contract.
        Op::Conv { .. } | Op::ConvTranspose { .. } if index > 0 => whole,
        Op::Pad { .. } | Op::Resize { .. } | Op::Across { .. } if index > 0 => whole,
        Op::PerChannel | Op::Gemm { .. } if index > 0 => whole,
        Op::Conv { windows, groups } => {
            let mut need = slid(output, input, windows);
            need.0[1] = group_channels(output.0[1], channels, input[1], *groups);
            need
        }
        Op::ConvTranspose { windows, groups } => {
            let mut need = output.clone();
            need.0[1] = group_channels(output.0[1], channels, input[1], *groups);
            for (axis, window) in windows.iter().enumerate() {
                let made = output.0[axis + 2];
                need.0[axis + 2] = window.transposed_need(made, input[axis + 2]).interval;
            }
            need
        }
        Op::Pool { windows, .. } | Op::Pad { windows } => slid(output, input, windows),
        Op::Resize { factors } => {
            let mut need = output.clone();
            for (axis, &factor) in need.0.iter_mut().skip(2).zip(factors) {
                *axis = blocks(*axis, factor);
            }
            need
        }
        Op::Across { axes } => whole_along(output, axes, input),
        Op::Elementwise => broadcast(output, input),
        Op::PerChannel => output.clone(),
        Op::Flatten { axis } => unflatten(output, input, *axis),
        Op::Gemm { .. } => whole.with_axis(0, output.0[0]),
        Op::GlobalSum => {
            let mut need = whole;
            need.0[..2].copy_from_slice(&output.0[..2]);
            need
        }
        Op::Concat { .. } | Op::Opaque => whole,
    }
}

/// What the node needs of each of its weights to compute `output` from the region `input` of its
/// first activation, as (operand index, weight, region).
pub fn weight_needs(
    graph: &Graph,
    id: NodeId,
    output: &Region,
    input: &Region,
) -> Vec<(usize, WeightId, Region)> {
    let node = graph.node(id);
    let weights = node
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(index, operand)| match operand {
            Operand::Weight(weight) => Some((index, *weight)),
            _ => None,
        });
    weights
        .map(|(index, weight)| {
            let shape = &graph.weight(weight).shape;
            let whole = Region::whole(shape);
            let region = match (&node.op, index) {
                (Op::Conv { groups: 1, .. }, 1) => {
                    whole.with_axis(0, output.0[1]).with_axis(1, input.0[1])
                }
                (Op::ConvTranspose { groups: 1, .. }, 1) => {
                    whole.with_axis(0, input.0[1]).with_axis(1, output.0[1])
                }
                (Op::ConvTranspose { .. }, 1) => whole.with_axis(0, input.0[1]),
                (Op::Conv { .. } | Op::ConvTranspose { .. }, _) => whole.with_axis(0, output.0[1]),
                (Op::PerChannel, _) => whole.with_axis(0, output.0[1]),
                (Op::Gemm { transposed: true }, 1) => {
                    whole.with_axis(0, output.0[1]).with_axis(1, input.0[1])
                }
                (Op::Gemm { transposed: false }, 1) => {
                    whole.with_axis(0, input.0[1]).with_axis(1, output.0[1])
                }
                (Op::Gemm { .. } | Op::Elementwise, _) => broadcast(output, shape),
                (Op::Concat { axis }, _) => concat_need(graph, node, index, *axis, output),
                _ => whole,
            };
            (index, weight, region)
        })
        .collect()
}

fn operand_shape(graph: &Graph, node: &Node, index: usize) -> Vec<usize> {
    match node.inputs[index] {
        Operand::Activation(a) => graph.activation(a).shape.clone(),
        Operand::Weight(w) => graph.weight(w).shape.clone(),
        Operand::Absent => vec![],
    }
}

/// What windows that slide over the spatial axes need for `output`.
fn slid(output: &Region, input: &[usize], windows: &[Window]) -> Region {
    let mut need = output.clone();
    for (axis, window) in windows.iter().enumerate() {
        need.0[axis + 2] = window.need(output.0[axis + 2], input[axis + 2]).interval;
    }
    need
}

/// The input channels of the groups that make these output channels, of `made` and `read` ones.
fn group_channels(output: Interval, made: usize, read: usize, groups: usize) -> Interval {
    if groups == 1 {
        return Interval::whole(read);
    }
    let (made, read) = (made / groups, read / groups);
    let groups = blocks(output, made);
    Interval::new(groups.start * read, groups.end * read)
}

/// The same box, whole along `axes` of a tensor of this shape.
fn whole_along(region: &Region, axes: &[usize], shape: &[usize]) -> Region {
    let mut region = region.clone();
    for &axis in axes {
        region.0[axis] = Interval::whole(shape[axis]);
    }
    region
}

/// The blocks of `block` elements that cover an interval.
fn blocks(interval: Interval, block: usize) -> Interval {
    Interval::new(interval.start / block, interval.end.div_ceil(block))
}

/// The interval in blocks of `block` that covers `interval`, back in elements.
fn round(interval: Interval, block: usize) -> Interval {
    let covering = blocks(interval, block);
    Interval::new(covering.start * block, covering.end * block)
}

/// Elements of the input behind its first axis, on both sides of a Flatten's `axis`: cuts of the
/// output at multiples of these are cuts of one input axis.
fn flatten_blocks(input: &[usize], axis: usize) -> (usize, usize) {
    let behind_first = |axes: &[usize]| axes.iter().skip(1).product::<usize>().max(1);
    (behind_first(&input[..axis]), behind_first(&input[axis..]))
}

fn unflatten(output: &Region, input: &[usize], axis: usize) -> Region {
    let (outer, inner) = flatten_blocks(input, axis);
    let mut need = Region::whole(input);
    if axis > 0 {
        need.0[0] = blocks(output.0[0], outer);
    }
    if axis < input.len() {
        need.0[axis] = blocks(output.0[1], inner);
    }
    need
}

/// The part of an operand of shape `input` that meets `output` under ONNX broadcasting.
fn broadcast(output: &Region, input: &[usize]) -> Region {
    let skip = output.rank() - input.len();
    let axes = input
        .iter()
        .enumerate()
        .map(|(axis, &length)| match length {
            1 => Interval::whole(1),
            _ => output.0[axis + skip],
        });
    Region(axes.collect())
}
