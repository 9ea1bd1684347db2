//! One ONNX operator, with what the splits need to know of it.

use serde::{Deserialize, Serialize};

use crate::geometry::Window;
use crate::ids::{ActivationId, WeightId};

/// One operator of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its unique name: the ONNX name, or its first output where that is empty or repeated.
    pub name: String,
    /// The name that the model's file gives it; several nodes that one was lowered to share it.
    pub origin: String,
    /// ONNX operator, e.g. `Conv`.
    pub op_type: String,
    /// ONNX operator domain, empty for the default one.
    pub domain: String,
    /// ONNX attributes, in the file's order.
    pub attributes: Vec<(String, Attribute)>,
    /// How the output's elements depend on the inputs' elements.
    pub op: Op,
    /// Inputs in ONNX order.
    pub inputs: Vec<Operand>,
    /// Outputs in ONNX order; an output that nothing reads is left out at the end.
    pub outputs: Vec<ActivationId>,
}

/// One input of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operand {
    /// A tensor that depends on the frame.
    Activation(ActivationId),
    /// A constant.
    Weight(WeightId),
    /// An optional input that is left out.
    Absent,
}

/// An ONNX attribute, with floats as bits so that equal graphs are equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// INT.
    Int(i64),
    /// INTS.
    Ints(Vec<i64>),
    /// FLOAT, as `f32::to_bits`.
    Float(u32),
    /// FLOATS, as `f32::to_bits`.
    Floats(Vec<u32>),
    /// STRING.
    Text(Vec<u8>),
    /// STRINGS.
    Texts(Vec<Vec<u8>>),
    /// Anything else (tensors, graphs, types): the encoded ONNX `AttributeProto`.
    Encoded(Vec<u8>),
}

/// How a node's output depends on its inputs, element by element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `Conv`: input 0 `[N, C, spatial…]`, input 1 the kernel `[M, C/groups, …]`, input 2 the
    /// bias `[M]` or absent.
    Conv {
        /// One window for each spatial axis.
        windows: Vec<Window>,
        /// Groups of channels; 1 for a full convolution, C for a depthwise one.
        groups: usize,
    },
    /// `ConvTranspose`: input 0 `[N, C, spatial…]`, input 1 the kernel `[C, M/groups, …]`, input 2
    /// the bias `[M]` or absent. Its output may be longer at the end than the windows say.
    ConvTranspose {
        /// One window for each spatial axis, sliding over the output.
        windows: Vec<Window>,
        /// Groups of channels; 1 for a full convolution, C for a depthwise one.
        groups: usize,
    },
    /// `MaxPool`, `AveragePool`: input 0 `[N, C, spatial…]`.
    Pool {
        /// One window for each spatial axis.
        windows: Vec<Window>,
        /// Which pooling.
        kind: PoolKind,
    },
    /// `Pad` of the spatial axes with zeros: input 0 `[N, C, spatial…]`, others are constants.
    Pad {
        /// For each spatial axis a window of one tap with the padding.
        windows: Vec<Window>,
    },
    /// `Resize` to the nearest: every element of input 0 `[N, C, spatial…]` becomes a block of
    /// equal ones; other inputs are constants.
    Resize {
        /// Length of the block along each spatial axis.
        factors: Vec<usize>,
    },
    /// Output element i depends on element i of every input, with ONNX broadcasting.
    Elementwise,
    /// `Softmax`, `LRN`, a reduction that keeps its axes: an output element depends on the
    /// elements of input 0 that differ from it along `axes` at most; other inputs are constants.
    Across {
        /// Which axes, ascending; a reduction leaves them with length 1.
        axes: Vec<usize>,
    },
    /// `BatchNormalization` at inference and the like: input 0 `[N, C, …]`, every other input a
    /// constant `[C]`.
    PerChannel,
    /// `Concat` of all inputs along `axis`.
    Concat {
        /// Which axis, from 0.
        axis: usize,
    },
    /// `Flatten`, or a Reshape that is one: axes before `axis` become one, the others another.
    Flatten {
        /// First axis of the second output axis.
        axis: usize,
    },
    /// `Gemm` or a `MatMul` by a constant: input 0 `[1, K]`, input 1 a constant `[K, M]`, or
    /// `[M, K]` where `transposed`; input 2 a constant bias or absent.
    Gemm {
        /// Whether the constant is `[M, K]`.
        transposed: bool,
    },
    /// The sum over all spatial axes, which stay with length 1: half of a global average pool.
    GlobalSum,
    /// Anything else: the whole output needs every input whole.
    Opaque,
}

/// Which pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// The largest element of the window.
    Max,
    /// The mean of the window.
    Average {
        /// Whether padding counts in the divisor.
        count_padding: bool,
    },
}

impl Op {
    /// Whether f(a + b) = f(a) + f(b) in the frame's data, the operator's own bias aside: what
    /// may be done to partial sums before they are added up.
    pub fn is_linear(&self) -> bool {
        match self {
            Op::Conv { .. } | Op::Gemm { .. } | Op::GlobalSum | Op::Flatten { .. } => true,
            Op::Concat { .. } | Op::ConvTranspose { .. } => true,
            Op::Pad { .. } | Op::Resize { .. } => true,
            Op::Pool { kind, .. } => matches!(kind, PoolKind::Average { .. }),
            Op::Elementwise | Op::PerChannel | Op::Across { .. } | Op::Opaque => false,
        }
    }
}

impl Node {
    /// The activations among the inputs, in ONNX order, repeated where an input is.
    pub fn activations(&self) -> impl Iterator<Item = ActivationId> + '_ {
        self.inputs.iter().filter_map(|operand| match operand {
            Operand::Activation(id) => Some(*id),
            _ => None,
        })
    }

    /// The weights among the inputs, in ONNX order.
    pub fn weights(&self) -> impl Iterator<Item = WeightId> + '_ {
        self.inputs.iter().filter_map(|operand| match operand {
            Operand::Weight(id) => Some(*id),
            _ => None,
        })
    }
}
