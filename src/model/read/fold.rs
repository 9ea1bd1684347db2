//! Folding a node whose inputs are all constant, within limits that are checked beforehand.

use std::collections::HashSet;

use anyhow::{bail, ensure, Context, Result};
use tract_onnx::pb;

use super::infer::{Fact, Inference, Known};
use super::scan::ScannedNode;
use super::store::{Constant, Data};
use super::tensor::checked_shape;
use super::walk::attributes;
use super::{MAX_AXES, VISIBLE_BYTES};
use crate::graph::{Attribute, Dtype, Value};

/// A folded constant may have this many bytes.
const MAX_CONSTANT: usize = 1 << 30;
/// All folded constants that are held in memory together.
const MAX_MEMORY: usize = 1 << 30;
/// All constants that are one repeated element, which take no memory here but are hashed.
const MAX_FILL: usize = 4 << 30;
/// Bytes that folding may read and write, all nodes together: it bounds the time.
const MAX_WORK: usize = 8 << 30;
/// What an operator that does more than a few operations per element counts for.
const HEAVY: usize = 64;
/// A length, a repetition or a size that a constant holds.
const MAX_NUMBER: i64 = 1 << 32;

/// Operators whose time does not go with their sizes.
const HEAVY_OPERATORS: [&str; 12] = [
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "MatMul",
    "MatMulInteger",
    "Gemm",
    "Einsum",
    "LSTM",
    "GRU",
    "RNN",
    "CumSum",
    "DFT",
];

/// Operators that keep the elements as they are.
const SAME_ELEMENTS: [&str; 5] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// Operators that make shapes out of numbers; the numbers are checked before tract computes
/// with them.
const SIZED_BY_NUMBERS: [&str; 8] = [
    "Expand",
    "Tile",
    "Pad",
    "Range",
    "Resize",
    "OneHot",
    "Reshape",
    "ConstantOfShape",
];

/// What folding may still spend.
#[derive(Default)]
pub struct Budget {
    memory: usize,
    fill: usize,
    work: usize,
}

impl Budget {
    /// The outputs of a node all of whose inputs are constant (or left out). `named` is the node
    /// with names for its wanted outputs.
    ///
    /// # Errors
    /// Why it cannot be folded.
    pub fn fold(
        &mut self,
        (inference, opset): (&Inference, i64),
        node: &ScannedNode,
        named: &pb::NodeProto,
        inputs: &[Option<&Constant>],
    ) -> Result<Vec<Constant>> {
        match (&named.op_type[..], inputs) {
            ("Constant", []) => return Ok(vec![constant(node)?]),
            ("Identity", [Some(input)]) => return Ok(vec![(*input).clone()]),
            _ => {}
        }
        check_numbers(&named.op_type, inputs)?;
        if let ("ConstantOfShape", [Some(shape)]) = (&named.op_type[..], inputs) {
            return Ok(vec![self.filled(node, shape)?]);
        }
        let facts = self.sizes((inference, opset), named, inputs)?;
        if let (true, [fact], [Some(input), ..]) = (
            SAME_ELEMENTS.contains(&&named.op_type[..]),
            &facts[..],
            inputs,
        ) {
            if fact.dtype == input.dtype && fact.bytes() == input.bytes() {
                return Ok(vec![input.with_shape(fact.shape.clone())]);
            }
        }
        let values = match facts.iter().all(|fact| fact.value.is_some()) && !facts.is_empty() {
            true => facts.into_iter().filter_map(|fact| fact.value).collect(),
            false => inference.run(named, opset, &described(named, inputs, false)?)?,
        };
        ensure!(values.len() >= named.output.len(), "an output is missing");
        let bytes: usize = values.iter().map(|value| value.bytes.len()).sum();
        self.memory = self.memory.saturating_add(bytes);
        ensure!(
            self.memory <= MAX_MEMORY,
            "folded constants of {} bytes, at most {MAX_MEMORY} are held",
            self.memory
        );
        Ok(values.into_iter().map(Constant::from_value).collect())
    }

    /// The sizes of the outputs, checked before anything is computed: tract is asked with the
    /// first input's elements hidden, so that it cannot compute them.
    fn sizes(
        &mut self,
        (inference, opset): (&Inference, i64),
        named: &pb::NodeProto,
        inputs: &[Option<&Constant>],
    ) -> Result<Vec<Fact>> {
        let read: usize = inputs.iter().flatten().map(|input| input.bytes()).sum();
        let weight = match HEAVY_OPERATORS.contains(&&named.op_type[..]) {
            true => HEAVY,
            false => 1,
        };
        let found = inference.facts(named, opset, &described(named, inputs, true)?);
        let (made, facts) = match found {
            Ok(facts) => (facts.iter().map(Fact::bytes).max().unwrap_or(0), facts),
            // The output's shape needs the first input's elements.
            Err(_) if named.op_type == "Range" => (range_bytes(inputs)?, vec![]),
            Err(_) if named.op_type == "NonZero" => (read.saturating_mul(64), vec![]),
            Err(e) => return Err(e).context("tract cannot tell its output"),
        };
        ensure!(
            made <= MAX_CONSTANT,
            "a constant of {made} bytes, at most {MAX_CONSTANT} are folded"
        );
        let work = read.saturating_add(made).saturating_mul(weight);
        self.work = self.work.saturating_add(work);
        ensure!(
            self.work <= MAX_WORK,
            "constant nodes that take more work than the {MAX_WORK} bytes that are folded"
        );
        Ok(facts)
    }

    fn filled(&mut self, node: &ScannedNode, shape: &Constant) -> Result<Constant> {
        ensure!(
            shape.dtype == Dtype::I64 && shape.shape.len() == 1 && shape.shape[0] <= MAX_AXES,
            "a shape of {:?} {} elements",
            shape.shape,
            shape.dtype
        );
        let (dtype, element) = match &node.value {
            None => (Dtype::F32, vec![0; 4]),
            Some(Ok(value)) => (value.dtype, value.value()?.bytes),
            Some(Err(reason)) => bail!("attribute value: {reason}"),
        };
        ensure!(
            element.len() == dtype.size(),
            "attribute value has {} bytes, one element is needed",
            element.len()
        );
        let (shape, bytes) = checked_shape(&integers(shape)?, dtype)?;
        ensure!(
            bytes <= MAX_CONSTANT,
            "a constant of {bytes} bytes, at most {MAX_CONSTANT} are folded"
        );
        self.fill += bytes;
        ensure!(
            self.fill <= MAX_FILL,
            "filled constants of {} bytes, at most {MAX_FILL} are supported",
            self.fill
        );
        Ok(Constant {
            dtype,
            shape,
            data: Data::Fill(element),
        })
    }
}

/// What is known of a node's inputs; with `hide`, all but the first one's elements.
fn described<'a>(
    named: &'a pb::NodeProto,
    inputs: &[Option<&Constant>],
    hide: bool,
) -> Result<Vec<(&'a str, Known)>> {
    let mut out: Vec<(&str, Known)> = vec![];
    let mut named_before = HashSet::new();
    for (index, (name, input)) in named.input.iter().zip(inputs).enumerate() {
        let Some(constant) = input else {
            continue;
        };
        if !named_before.insert(&name[..]) {
            continue;
        }
        let hidden = hide && (index == 0 || constant.bytes() > VISIBLE_BYTES);
        let known = match hidden {
            true => Known::Shape(constant.dtype, constant.shape.clone()),
            false => Known::Value(constant.value()?),
        };
        out.push((name, known));
    }
    Ok(out)
}

fn check_numbers(op_type: &str, inputs: &[Option<&Constant>]) -> Result<()> {
    if !SIZED_BY_NUMBERS.contains(&op_type) {
        return Ok(());
    }
    let first = usize::from(!matches!(op_type, "Range" | "ConstantOfShape"));
    for constant in inputs.iter().skip(first).flatten() {
        let absurd = match constant.dtype {
            _ if constant.bytes() > VISIBLE_BYTES => continue,
            Dtype::I64 => integers(constant)?
                .into_iter()
                .find(|n| n.unsigned_abs() > MAX_NUMBER as u64)
                .map(|n| n.to_string()),
            Dtype::F32 if op_type == "Resize" => constant
                .value()?
                .to_f32()
                .into_iter()
                .find(|scale| !(0.0..=65536.0).contains(scale))
                .map(|scale| scale.to_string()),
            _ => None,
        };
        if let Some(absurd) = absurd {
            bail!("a size of {absurd}, which is not supported");
        }
    }
    Ok(())
}

fn integers(constant: &Constant) -> Result<Vec<i64>> {
    let value = constant.value()?;
    let number = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        i64::from_le_bytes(eight)
    };
    Ok(value.bytes.chunks_exact(8).map(number).collect())
}

/// Bytes of a Range of scalars.
fn range_bytes(inputs: &[Option<&Constant>]) -> Result<usize> {
    let [Some(start), Some(limit), Some(delta)] = inputs else {
        bail!("three inputs are needed");
    };
    let number = |constant: &Constant| -> Result<f64> {
        let value = constant.value()?;
        match (constant.dtype, &value.bytes[..]) {
            (Dtype::F32, &[a, b, c, d]) => Ok(f64::from(f32::from_le_bytes([a, b, c, d]))),
            (Dtype::I32, &[a, b, c, d]) => Ok(f64::from(i32::from_le_bytes([a, b, c, d]))),
            (Dtype::I64, bytes) if bytes.len() == 8 => Ok(integers(constant)?[0] as f64),
            _ => bail!("a Range of {} {:?}", constant.dtype, constant.shape),
        }
    };
    let count = (number(limit)? - number(start)?) / number(delta)?;
    ensure!(count.is_finite(), "a Range without end");
    // `as` saturates, and is 0 for what is negative.
    Ok((count.ceil() as usize).saturating_mul(8))
}

/// The value of a Constant node, in any of its forms.
fn constant(node: &ScannedNode) -> Result<Constant> {
    if let Some(value) = &node.value {
        return match value {
            Ok(constant) => Ok(constant.clone()),
            Err(reason) => bail!("attribute value: {reason}"),
        };
    }
    let attributes = attributes(&node.proto);
    let [(name, value)] = &attributes[..] else {
        bail!("{} attributes, one value is needed", attributes.len());
    };
    let of = |dtype, shape, bytes| {
        Constant::from_value(Value {
            dtype,
            shape,
            bytes,
        })
    };
    let floats = |bits: &[u32]| bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    let ints = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(match (&name[..], value) {
        ("value_float", Attribute::Float(bits)) => of(Dtype::F32, vec![], floats(&[*bits])),
        ("value_floats", Attribute::Floats(bits)) => of(Dtype::F32, vec![bits.len()], floats(bits)),
        ("value_int", Attribute::Int(value)) => of(Dtype::I64, vec![], ints(&[*value])),
        ("value_ints", Attribute::Ints(values)) => of(Dtype::I64, vec![values.len()], ints(values)),
        _ => bail!("attribute {name}, which is not supported"),
    })
}
