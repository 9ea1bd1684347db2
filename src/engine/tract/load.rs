//! From an ONNX model to a plan that tract runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail, ensure, Context, Result};
use prost::Message;
use tract_linalg::multithread::Executor;
use tract_onnx::pb;
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModel, InferenceModelExt, TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_core::knobs;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::runtime::RunOptions;

use super::super::tensor::{datum_type, Tensor};
use super::kernels::Notes;
use super::share::Constants;
use crate::graph::{Dtype, SubModel, Value};

/// What the sub-models of one engine have in common.
#[derive(Default)]
pub(super) struct Common {
    pub constants: Constants,
    notes: Notes,
}

/// Optimises a sub-model. A weight's bytes are freed as soon as its tensor is made, where no other
/// sub-model waits for them.
pub(super) fn sub_model(
    sub_model: SubModel,
    executor: Executor,
    common: &Common,
) -> Result<Arc<TypedSimplePlan>> {
    let SubModel { onnx, weights, .. } = sub_model;
    let names: Vec<String> = weights.iter().map(|(name, _)| name.clone()).collect();
    let mut proto = pb::ModelProto::decode(&onnx[..]).context("not an ONNX model")?;
    drop(onnx);
    let graph = proto.graph.as_mut().context("an ONNX model of no graph")?;
    let inputs = graph.input.len();
    // External initialisers are kept from tract's parser, which reads them from files only; it
    // takes their names for inputs, and those become constants below.
    let is_external = |tensor: &pb::TensorProto| {
        tensor.data_location == Some(pb::tensor_proto::DataLocation::External as i32)
    };
    let (external, inside) = std::mem::take(&mut graph.initializer)
        .into_iter()
        .partition(is_external);
    graph.initializer = inside;
    let mut weights: HashMap<String, Arc<Value>> = weights.into_iter().collect();
    let mut constants = HashMap::new();
    for tensor in external {
        let value = weights
            .remove(&tensor.name)
            .with_context(|| format!("weight {}: no data came with it", tensor.name))?;
        constants.insert(tensor.name.clone(), constant(&tensor, &value)?);
    }
    let parsed = tract_onnx::onnx().parse(&proto, None)?;
    drop(proto);
    let mut model = parsed.model;
    for outlet in model.inputs.split_off(inputs.min(model.inputs.len())) {
        let node = model.node_mut(outlet.node);
        let tensor = constants
            .remove(&node.name)
            .with_context(|| format!("tensor {}: nothing makes it", node.name))?;
        node.outputs[0].fact = InferenceFact::try_from(&tensor)?;
        node.op = Box::new(Const::new(tensor)?);
    }
    let mut model = common.notes.follow(&names, || optimized(model))?;
    common.constants.share(&mut model)?;
    plan(model, executor)
}

fn constant(proto: &pb::TensorProto, value: &Value) -> Result<Arc<tract_onnx::prelude::Tensor>> {
    let dims: Vec<i64> = value.shape.iter().map(|&axis| axis as i64).collect();
    ensure!(
        proto.dims == dims && proto.data_type == value.dtype.onnx(),
        "weight {}: found {} {:?}, the model says type {} {:?}",
        proto.name,
        value.dtype,
        value.shape,
        proto.data_type,
        proto.dims
    );
    let elements = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d as usize));
    let bytes = elements.and_then(|n| n.checked_mul(value.dtype.size()));
    ensure!(
        bytes == Some(value.bytes.len()),
        "weight {}: {} bytes for {} {:?}",
        proto.name,
        value.bytes.len(),
        value.dtype,
        value.shape
    );
    Ok(Tensor::from_value(value).share())
}

/// Optimises the model of a file, with its inputs fixed.
pub(super) fn file(
    path: &Path,
    input_shapes: &[(String, Dtype, Vec<usize>)],
    executor: Executor,
) -> Result<Arc<TypedSimplePlan>> {
    // What files say of shapes between input and output is often wrong or symbolic.
    let mut model = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_output_types(true)
        .with_ignore_value_info(true)
        .model_for_path(path)?;
    let mut inputs = Vec::with_capacity(input_shapes.len());
    for (name, dtype, shape) in input_shapes {
        let found = model
            .inputs
            .iter()
            .position(|&outlet| model.node(outlet.node).name == *name);
        let index = found.with_context(|| format!("no input is named {name}"))?;
        let fact = InferenceFact::dt_shape(datum_type(*dtype), shape);
        model.set_input_fact(index, fact)?;
        inputs.push(model.inputs[index]);
    }
    if inputs.len() != model.inputs.len() {
        bail!(
            "{} inputs are given, the model has {}",
            inputs.len(),
            model.inputs.len()
        );
    }
    model.set_input_outlets(&inputs)?;
    plan(optimized(model)?, executor)
}

/// All convolutions through im2col and a matrix product. tract would compute wide ones of few
/// inputs directly, whose sums have other bits: a choice by the width, which a cut by columns
/// changes. It is also slower in the layers that count: VGG-16's second convolution takes twice
/// the time (BENCHMARKS.md). Below the environment: who knows better for a processor sets it there.
const SETTINGS: [(&str, &str); 1] = [("TRACT_DISABLE_DIRECT_SPATIAL", "true")];

/// Simplified and optimised. One of tract's simplifying rules fails on a few right models, such as
/// a 1×1 convolution with stride and padding behind another; then it goes without them.
fn optimized(model: InferenceModel) -> Result<TypedModel> {
    for (name, value) in SETTINGS {
        knobs::set_config_global(name, value)?;
    }
    let typed = model.into_typed()?;
    let mut model = typed.clone().into_decluttered().unwrap_or(typed);
    model.optimize()?;
    Ok(model)
}

fn plan(model: TypedModel, executor: Executor) -> Result<Arc<TypedSimplePlan>> {
    for (index, &outlet) in model.outputs.iter().enumerate() {
        let fact = model.outlet_fact(outlet)?;
        fact.shape
            .as_concrete()
            .ok_or_else(|| anyhow!("output {index}: its shape {:?} is not fixed", fact.shape))?;
    }
    let options = RunOptions {
        executor: Some(executor),
        ..RunOptions::default()
    };
    TypedSimplePlan::new_with_options(model, &options)
}
