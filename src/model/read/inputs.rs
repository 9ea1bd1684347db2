//! The model's real inputs, with lengths for symbolic dimensions.

use std::collections::BTreeSet;

use anyhow::{bail, ensure, Context, Result};
use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::{dimension, Dimension};

use super::scan::Skeleton;
use super::tensor::checked_shape;
use super::MAX_ACTIVATION_BYTES;
use crate::graph::Dtype;

/// A model may have this many inputs, and this many outputs.
const MAX_DOORS: usize = 1000;

/// Names that exporters give to the batch dimension.
const BATCH: [&str; 8] = [
    "N",
    "n",
    "B",
    "batch",
    "batch_size",
    "batchsize",
    "Batch",
    "None",
];

/// Place in the skeleton's list, element type and shape of every input that is not an
/// initialiser.
///
/// # Errors
/// A dimension whose length neither the file nor `shapes` gives, a length for a dimension that
/// the model has not, an element type or a size that is not supported.
pub fn inputs(
    skeleton: &Skeleton,
    shapes: &[(String, usize)],
) -> Result<Vec<(usize, Dtype, Vec<usize>)>> {
    let mut names = BTreeSet::new();
    let mut symbols = BTreeSet::new();
    let mut found = vec![];
    for (place, input) in skeleton.inputs.iter().enumerate() {
        ensure!(
            names.insert(&input.name),
            "two inputs named {:?}",
            input.name
        );
        if skeleton.tensors.contains_key(&input.name) {
            continue;
        }
        ensure!(!input.name.is_empty(), "an input without a name");
        let (dtype, shape) = read_input(input, shapes, &mut symbols)
            .with_context(|| format!("input {}", input.name))?;
        found.push((place, dtype, shape));
    }
    ensure!(!found.is_empty(), "the model has no input");
    ensure!(
        found.len().max(skeleton.outputs.len()) <= MAX_DOORS,
        "{} inputs and {} outputs, at most {MAX_DOORS} each are supported",
        found.len(),
        skeleton.outputs.len()
    );
    for (name, _) in shapes {
        let known: Vec<&str> = symbols.iter().map(|symbol| &symbol[..]).collect();
        ensure!(
            symbols.contains(name),
            "--shape {name}=…: no dimension is named so; symbolic are: {}",
            match known.is_empty() {
                true => "none".to_string(),
                false => known.join(", "),
            }
        );
    }
    Ok(found)
}

fn read_input(
    input: &pb::ValueInfoProto,
    shapes: &[(String, usize)],
    symbols: &mut BTreeSet<String>,
) -> Result<(Dtype, Vec<usize>)> {
    let Some(pb::type_proto::Value::TensorType(tensor)) =
        input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        bail!("not a tensor");
    };
    let dtype = Dtype::from_onnx(tensor.elem_type).with_context(|| {
        format!(
            "elements of ONNX type {} are not supported",
            tensor.elem_type
        )
    })?;
    let shape = tensor.shape.as_ref().context("without a shape")?;
    ensure!(shape.dim.len() <= 8, "{} axes, at most 8", shape.dim.len());
    let mut dims = vec![];
    for (axis, dim) in shape.dim.iter().enumerate() {
        dims.push(length(&input.name, axis, dim, shapes, symbols)?);
    }
    let (shape, bytes) = checked_shape(&dims, dtype)?;
    ensure!(bytes > 0, "shape {shape:?} has no element");
    ensure!(
        bytes <= MAX_ACTIVATION_BYTES,
        "shape {shape:?} is too large: at most {MAX_ACTIVATION_BYTES} bytes are supported"
    );
    Ok((dtype, shape))
}

fn length(
    input: &str,
    axis: usize,
    dim: &Dimension,
    shapes: &[(String, usize)],
    symbols: &mut BTreeSet<String>,
) -> Result<i64> {
    let name = match &dim.value {
        Some(dimension::Value::DimValue(length)) if *length > 0 => return Ok(*length),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => name.clone(),
        // Without a length or a name, an axis goes by the input's name and its place.
        _ => format!("{input}.{axis}"),
    };
    symbols.insert(name.clone());
    if let Some((_, length)) = shapes.iter().find(|(given, _)| *given == name) {
        return i64::try_from(*length).context("a length beyond 64 bits");
    }
    if axis == 0 || BATCH.contains(&&name[..]) {
        return Ok(1);
    }
    bail!("axis {axis} has no fixed length; give one with --shape {name}=…")
}
