//! Operators whose dependence follows from the opset or from constants' elements: enlarging,
//! padding, and what works across whole axes.

use anyhow::Result;

use super::attributes::{axis, Attributes};
use super::classify::Seen;
use super::draft::Draft;
use crate::geometry::Window;
use crate::graph::{Dtype, Node, Op, Operand, Value};

/// First opset whose Softmax works along one axis; before, along all axes from one on.
const SOFTMAX_OF_ONE_AXIS: i64 = 13;
/// First opset whose Resize has coordinates and a rounding.
const RESIZE_WITH_COORDINATES: i64 = 11;
/// First opset whose Pad takes its padding as an input.
const PADS_AS_INPUT: i64 = 11;
/// Up to this length tract's coordinates, which are f32, are exact enough to repeat elements.
const MAX_RESIZED: usize = 1 << 20;
/// Constants that are looked into have at most this many bytes.
const MAX_BYTES: usize = 512;

/// Operators that may make one element of all those along some axes.
const REDUCTIONS: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

/// The `Op` of a node that `classify` does not know, with one output of shape `output`.
///
/// # Errors
/// Attributes or constants of the wrong type.
pub fn deduce(node: &mut Node, seen: &[Seen], output: &[usize], draft: &Draft) -> Result<Op> {
    let [Seen::Activation(input), constants @ ..] = seen else {
        return Ok(Op::Opaque);
    };
    let frames = constants.iter().any(|c| matches!(c, Seen::Activation(_)));
    if frames || input.len() != output.len() {
        return Ok(Op::Opaque);
    }
    let found = match &node.op_type[..] {
        "Softmax" | "LogSoftmax" | "Hardmax" => softmax(node, input.len(), draft.opset)?,
        "LRN" if input.len() > 2 => Some(Op::Across { axes: vec![1] }),
        "Resize" => resize(node, input, output, draft)?,
        "Pad" => pad(node, input, output, draft)?,
        name if REDUCTIONS.contains(&name) => reduction(input, output),
        _ => None,
    };
    Ok(found.unwrap_or(Op::Opaque))
}

fn softmax(node: &mut Node, rank: usize, opset: i64) -> Result<Option<Op>> {
    let one = opset >= SOFTMAX_OF_ONE_AXIS;
    let default = if one { -1 } else { 1 };
    let first = axis(Attributes(&mut node.attributes).int("axis", default)?, rank)?;
    let last = if one { first + 1 } else { rank };
    Ok((first < rank).then(|| Op::Across {
        axes: (first..last).collect(),
    }))
}

/// A reduction that keeps its axes, of which one has length above 1; whether others of length 1
/// are reduced too makes no difference.
fn reduction(input: &[usize], output: &[usize]) -> Option<Op> {
    let axes: Vec<usize> = (0..input.len())
        .filter(|&axis| input[axis] != output[axis])
        .collect();
    let kept = axes.iter().all(|&axis| output[axis] == 1);
    (kept && !axes.is_empty()).then_some(Op::Across { axes })
}

/// A Resize to the nearest whose scales are whole and whose rounding repeats every element.
fn resize(node: &mut Node, input: &[usize], output: &[usize], draft: &Draft) -> Result<Option<Op>> {
    let whole = |(i, o): (&usize, &usize)| (*i > 0 && o % i == 0).then(|| o / i);
    let factors: Option<Vec<usize>> = input.iter().zip(output).map(whole).collect();
    let Some(factors) = factors.filter(|f| f.len() > 2 && f[..2] == [1, 1]) else {
        return Ok(None);
    };
    let short = output.iter().all(|&length| length <= MAX_RESIZED);
    if !short || !repeats(node, draft.opset, &factors[2..])? {
        return Ok(None);
    }
    let scales = match draft.opset >= RESIZE_WITH_COORDINATES {
        true => constant(node, 2, draft)?,
        false => constant(node, 1, draft)?,
    };
    // Lengths are given instead of scales where those are left out or empty.
    if let Some(scales) = scales.filter(|scales| scales.shape != [0]) {
        let axes = Attributes(&mut node.attributes).ints("axes")?;
        let axes = axes.unwrap_or((0..input.len() as i64).collect());
        let exact = scales.dtype == Dtype::F32 && scales.shape == [axes.len()];
        let pairs = axes
            .iter()
            .zip(if exact { scales.to_f32() } else { vec![] });
        for (&place, scale) in pairs {
            let found = factors.get(axis(place, input.len())?);
            if found.is_none_or(|&factor| factor as f32 != scale) {
                return Ok(None);
            }
        }
        if !exact {
            return Ok(None);
        }
    } else if node.inputs.len() < 4 {
        return Ok(None);
    }
    Ok(Some(Op::Resize {
        factors: factors[2..].to_vec(),
    }))
}

/// Whether output index x takes input index ⌊x / factor⌋ on every axis.
fn repeats(node: &mut Node, opset: i64, factors: &[usize]) -> Result<bool> {
    let attributes = Attributes(&mut node.attributes);
    let text = |name: &str, default: &str| -> Result<String> {
        Ok(attributes.text(name)?.unwrap_or(default.into()))
    };
    let coordinates = match opset >= RESIZE_WITH_COORDINATES {
        true => text("coordinate_transformation_mode", "half_pixel")?,
        false => "asymmetric".into(),
    };
    // tract rounds like this in opset 10 too, where ONNX says nothing of it.
    let rounding = text("nearest_mode", "round_prefer_floor")?;
    let stretched = text("keep_aspect_ratio_policy", "stretch")? == "stretch";
    let nearest = text("mode", "nearest")? == "nearest";
    let exact = match (&coordinates[..], &rounding[..]) {
        ("asymmetric" | "tf_half_pixel_for_nn", "floor") => true,
        // x / 2 is at most halfway to the next index; x / 3 may lie beyond.
        ("asymmetric", "round_prefer_floor") => factors.iter().all(|&factor| factor <= 2),
        (
            "half_pixel" | "half_pixel_symmetric" | "pytorch_half_pixel",
            "round_prefer_floor" | "round_prefer_ceil",
        ) => true,
        _ => false,
    };
    Ok(nearest && stretched && exact)
}

/// A Pad of spatial axes alone, with zeros.
fn pad(node: &mut Node, input: &[usize], output: &[usize], draft: &Draft) -> Result<Option<Op>> {
    let rank = input.len();
    let attributes = Attributes(&mut node.attributes);
    let mode = attributes.text("mode")?.unwrap_or("constant".into());
    let (pads, zero) = match draft.opset >= PADS_AS_INPUT {
        true => {
            let value = constant(node, 2, draft)?;
            let stated = matches!(node.inputs.get(2), Some(Operand::Weight(_)));
            let zero = value.map_or(!stated, |value| value.bytes.iter().all(|&byte| byte == 0));
            let pads = constant(node, 1, draft)?.filter(|pads| pads.dtype == Dtype::I64);
            (pads.as_ref().map(integers), zero)
        }
        false => {
            let zero = attributes.float("value", 0.0)?.to_bits() == 0;
            (attributes.ints("pads")?, zero)
        }
    };
    let Some(pads) = pads.filter(|pads| pads.len() == 2 * rank && node.inputs.len() < 4) else {
        return Ok(None);
    };
    let pads: Option<Vec<usize>> = pads.iter().map(|&p| usize::try_from(p).ok()).collect();
    let Some(pads) = pads.filter(|_| rank > 2 && zero && mode == "constant") else {
        return Ok(None);
    };
    let (before, after) = pads.split_at(rank);
    let sums = (0..rank).map(|axis| {
        before[axis]
            .checked_add(input[axis])?
            .checked_add(after[axis])
    });
    let fits = sums.eq(output.iter().map(|&length| Some(length)));
    let inner = [before[0], before[1], after[0], after[1]] == [0; 4];
    let windows = (2..rank).map(|axis| Window {
        pad_before: before[axis],
        pad_after: after[axis],
        ..Window::POINT
    });
    Ok((fits && inner).then(|| Op::Pad {
        windows: windows.collect(),
    }))
}

/// A small constant among the inputs; none where it is left out or large.
fn constant(node: &Node, index: usize, draft: &Draft) -> Result<Option<Value>> {
    let Some(Operand::Weight(id)) = node.inputs.get(index) else {
        return Ok(None);
    };
    let constant = &draft.constants[id.index()].1;
    match constant.bytes() <= MAX_BYTES {
        true => constant.value().map(Some),
        false => Ok(None),
    }
}

fn integers(value: &Value) -> Vec<i64> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0i64, |n, &b| n << 8 | i64::from(b));
    value.bytes.chunks_exact(8).map(number).collect()
}
