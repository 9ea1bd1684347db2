//! How a node's output depends on its inputs: from operator, attributes and shapes to `Op`.

use anyhow::{ensure, Result};

use super::attributes::{axis, Attributes};
use super::conv::{conv, conv_transpose};
use super::windows::pool_windows;
use crate::graph::{Attribute, Op, PoolKind};

/// What classification knows of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A tensor that depends on the frame, of this shape.
    Activation(Vec<usize>),
    /// A constant of this shape.
    Constant(Vec<usize>),
    /// An optional input that is left out.
    Absent,
}

impl Seen {
    /// The shape; of one element where the input is left out.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Activation(shape) | Self::Constant(shape) => shape,
            Self::Absent => &[],
        }
    }

    /// Whether it depends on the frame.
    pub fn is_activation(&self) -> bool {
        matches!(self, Self::Activation(_))
    }
}

/// Operators whose output element i depends on element i of every input, broadcast.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
];

/// Operators that may be a Flatten at fixed shapes: they keep the elements in order.
pub const RESHAPES: [&str; 4] = ["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// The `Op` of a node with one output of shape `output`; its attributes are completed (padding
/// made explicit, axes counted from the front) so that they hold without the shapes.
///
/// # Errors
/// Shapes or attributes that do not fit each other.
pub fn classify(
    op_type: &str,
    attributes: &mut Vec<(String, Attribute)>,
    inputs: &[Seen],
    output: &[usize],
) -> Result<Op> {
    let mut attributes = Attributes(attributes);
    let op = match op_type {
        "Conv" => conv(&mut attributes, inputs, output)?,
        "ConvTranspose" => conv_transpose(&mut attributes, inputs, output)?,
        "MaxPool" | "AveragePool" => pool(op_type, &mut attributes, inputs, output)?,
        "BatchNormalization" => normalization(&attributes, inputs, output)?,
        "Concat" => concat(&mut attributes, inputs, output)?,
        "Gemm" => gemm(&attributes, inputs, output)?,
        "MatMul" => product(inputs, output, false),
        "ReduceSum" => sum(&mut attributes, inputs, output)?,
        _ if ELEMENTWISE.contains(&op_type) && broadcasts(inputs, output) => Op::Elementwise,
        _ => Op::Opaque,
    };
    Ok(op)
}

/// Whether every input is broadcast to `output`, and together they make no other shape.
fn broadcasts(inputs: &[Seen], output: &[usize]) -> bool {
    let mut made = vec![1; output.len()];
    for input in inputs {
        let shape = input.shape();
        let Some(skip) = output.len().checked_sub(shape.len()) else {
            return false;
        };
        for (axis, &length) in shape.iter().enumerate() {
            if length != 1 && length != output[axis + skip] {
                return false;
            }
            made[axis + skip] = made[axis + skip].max(length);
        }
    }
    made == output
}

fn pool(
    op_type: &str,
    attributes: &mut Attributes<'_>,
    inputs: &[Seen],
    output: &[usize],
) -> Result<Op> {
    let Some(Seen::Activation(input)) = inputs.first() else {
        return Ok(Op::Opaque);
    };
    let (rank, same_rank) = (input.len(), output.len() == input.len());
    if rank < 3 || !same_rank || output[..2] != input[..2] {
        return Ok(Op::Opaque);
    }
    if attributes.int("storage_order", 0)? != 0 {
        return Ok(Op::Opaque);
    }
    let kind = match op_type {
        "MaxPool" => PoolKind::Max,
        _ => PoolKind::Average {
            count_padding: attributes.int("count_include_pad", 0)? != 0,
        },
    };
    let mut completed = attributes.0.clone();
    let windows = pool_windows(&mut Attributes(&mut completed), &input[2..])?;
    let fits = windows.iter().zip(&input[2..]).zip(&output[2..]);
    for ((window, &input), &output) in fits {
        // A window wholly inside of the padding has no largest element and no mean.
        let in_padding = window.pad_before.max(window.pad_after) >= window.extent();
        if window.output(input) != output || in_padding {
            return Ok(Op::Opaque);
        }
    }
    *attributes.0 = completed;
    Ok(Op::Pool { windows, kind })
}

fn normalization(attributes: &Attributes<'_>, inputs: &[Seen], output: &[usize]) -> Result<Op> {
    let training = attributes.int("training_mode", 0)? != 0;
    ensure!(!training, "training mode, only inference is supported");
    let [Seen::Activation(input), constants @ ..] = inputs else {
        return Ok(Op::Opaque);
    };
    let channels = input.get(1).copied().unwrap_or(0);
    let fits = constants.len() == 4
        && constants
            .iter()
            .all(|c| *c == Seen::Constant(vec![channels]))
        && attributes.int("spatial", 1)? == 1
        && input == output;
    Ok(if fits { Op::PerChannel } else { Op::Opaque })
}

fn concat(attributes: &mut Attributes<'_>, inputs: &[Seen], output: &[usize]) -> Result<Op> {
    let axis = axis(attributes.int("axis", 1)?, output.len())?;
    let fits = |input: &Seen| {
        let shape = input.shape();
        let same = |(a, (x, y)): (usize, (&usize, &usize))| a == axis || x == y;
        input.is_activation()
            && shape.len() == output.len()
            && shape.iter().zip(output).enumerate().all(same)
    };
    if axis >= output.len() || !inputs.iter().all(fits) {
        return Ok(Op::Opaque);
    }
    let length: usize = inputs.iter().map(|input| input.shape()[axis]).sum();
    if length != output[axis] {
        return Ok(Op::Opaque);
    }
    attributes.set("axis", Attribute::Int(axis as i64));
    Ok(Op::Concat { axis })
}

fn gemm(attributes: &Attributes<'_>, inputs: &[Seen], output: &[usize]) -> Result<Op> {
    let plain = attributes.int("transA", 0)? == 0
        && attributes.float("alpha", 1.0)? == 1.0
        && attributes.float("beta", 1.0)? == 1.0;
    let bias = inputs.get(2).unwrap_or(&Seen::Absent);
    let fits = !bias.is_activation() && bias.shape().len() <= 2;
    if !plain || !fits {
        return Ok(Op::Opaque);
    }
    let transposed = attributes.int("transB", 0)? != 0;
    let op = product(&inputs[..inputs.len().min(2)], output, transposed);
    let wide = bias.shape().iter().all(|&n| n == 1 || n == output[1]);
    Ok(if wide { op } else { Op::Opaque })
}

/// `[1, K]` by a constant `[K, M]`, or `[M, K]` where `transposed`.
fn product(inputs: &[Seen], output: &[usize], transposed: bool) -> Op {
    let [Seen::Activation(a), Seen::Constant(b)] = inputs else {
        return Op::Opaque;
    };
    let [1, k] = a[..] else {
        return Op::Opaque;
    };
    let wanted = match (&b[..], transposed) {
        ([x, y], false) => [*x, *y],
        ([x, y], true) => [*y, *x],
        _ => return Op::Opaque,
    };
    match output {
        [1, m] if wanted == [k, *m] => Op::Gemm { transposed },
        _ => Op::Opaque,
    }
}

fn sum(attributes: &mut Attributes<'_>, inputs: &[Seen], output: &[usize]) -> Result<Op> {
    let Some(axes) = attributes.ints("axes")? else {
        return Ok(Op::Opaque);
    };
    let Some(input) = inputs.first().map(Seen::shape) else {
        return Ok(Op::Opaque);
    };
    if inputs.len() != 1 || !is_spatial(&axes, input, output)? {
        return Ok(Op::Opaque);
    }
    let spatial = (2..input.len() as i64).collect();
    attributes.set("axes", Attribute::Ints(spatial));
    attributes.set("keepdims", Attribute::Int(1));
    Ok(Op::GlobalSum)
}

/// Whether a reduction over `axes` of `input` to `output` is over all spatial axes, which stay.
pub fn is_spatial(axes: &[i64], input: &[usize], output: &[usize]) -> Result<bool> {
    let mut found = axes
        .iter()
        .map(|&value| axis(value, input.len()))
        .collect::<Result<Vec<_>>>()?;
    found.sort_unstable();
    Ok(input.len() > 2
        && found.iter().copied().eq(2..input.len())
        && output.len() == input.len()
        && output[..2] == input[..2]
        && output[2..].iter().all(|&length| length == 1))
}

/// The axis of the Flatten that takes `input` to `output`; none where no Flatten does.
pub fn flatten_axis(input: &[usize], output: &[usize]) -> Option<usize> {
    let [outer, inner] = output[..] else {
        return None;
    };
    let fits = |&axis: &usize| {
        input[..axis].iter().product::<usize>() == outer
            && input[axis..].iter().product::<usize>() == inner
    };
    // Behind the batch where that is a choice: the axis that is cut is then the channels'.
    std::iter::once(1.min(input.len()))
        .chain(0..=input.len())
        .find(fits)
}
