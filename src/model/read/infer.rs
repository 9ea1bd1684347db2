//! One node through tract: what its outputs are, or their values where it is constant.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

use anyhow::{anyhow, bail, ensure, Context, Result};
use tract_onnx::pb;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::IntoRunnable;
use tract_onnx::tract_hir::internal::{DimLike, Factoid, InferenceFact, InferenceModelExt};

use super::{MAX_ACTIVATION_BYTES, MAX_AXES};
use crate::graph::{Dtype, Value};
use crate::model::onnx;

/// What is known of a tensor that a node reads.
pub enum Known {
    /// Type and shape.
    Shape(Dtype, Vec<usize>),
    /// All elements.
    Value(Value),
}

/// What tract found of a tensor that a node makes.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Element type.
    pub dtype: Dtype,
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// The elements, where they follow from the inputs' shapes and constants.
    pub value: Option<Value>,
}

impl Fact {
    /// Size in bytes, checked not to overflow when the fact was made.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// tract's ONNX reader.
pub struct Inference {
    onnx: tract_onnx::Onnx,
}

impl Inference {
    /// A reader with all operators of tract.
    pub fn new() -> Self {
        let onnx = tract_onnx::onnx().with_ignore_value_info(true);
        Self { onnx }
    }

    /// Whether tract knows an operator of this name.
    pub fn knows(&self, op_type: &str) -> bool {
        self.onnx.op_register.0.contains_key(op_type)
    }

    /// How many operators tract knows.
    pub fn count(&self) -> usize {
        self.onnx.op_register.0.len()
    }

    /// Type, shape and perhaps value of every output of `node`, whose inputs and outputs have
    /// names and are described by `inputs`.
    ///
    /// # Errors
    /// tract's reason, in one line; its panics too.
    pub fn facts(
        &self,
        node: &pb::NodeProto,
        opset: i64,
        inputs: &[(&str, Known)],
    ) -> Result<Vec<Fact>> {
        guarded(|| {
            let mut parsed = self.parse(node, opset, inputs)?;
            let outlets: Vec<_> = node
                .output
                .iter()
                .map(|name| parsed.outlets_by_name.get(name).copied())
                .collect::<Option<_>>()
                .context("an output is missing")?;
            parsed.model.analyse(false)?;
            let mut facts = Vec::new();
            for (&outlet, name) in outlets.iter().zip(&node.output) {
                let fact = parsed.model.outlet_fact(outlet)?;
                facts.push(read_fact(fact).with_context(|| format!("output {name}"))?);
            }
            Ok(facts)
        })
    }

    /// The outputs of a node whose inputs all have values.
    ///
    /// # Errors
    /// tract's reason, in one line; its panics too.
    pub fn run(
        &self,
        node: &pb::NodeProto,
        opset: i64,
        inputs: &[(&str, Known)],
    ) -> Result<Vec<Value>> {
        guarded(|| {
            let parsed = self.parse(node, opset, inputs)?;
            let plan = parsed.model.into_typed()?.into_runnable()?;
            let outputs = plan.run(tract::tvec![])?;
            outputs.iter().map(|output| read_value(output)).collect()
        })
    }

    fn parse(
        &self,
        node: &pb::NodeProto,
        opset: i64,
        inputs: &[(&str, Known)],
    ) -> Result<tract_onnx::model::ParseResult> {
        let mut graph = pb::GraphProto {
            node: vec![node.clone()],
            ..Default::default()
        };
        for (name, known) in inputs {
            match known {
                Known::Shape(dtype, shape) => {
                    graph.input.push(onnx::value_info(name, *dtype, shape));
                }
                Known::Value(value) => graph.initializer.push(onnx::tensor(name, value)),
            }
        }
        graph.output = node
            .output
            .iter()
            .map(|name| pb::ValueInfoProto {
                name: name.clone(),
                ..Default::default()
            })
            .collect();
        self.onnx.parse(&onnx::model(graph, opset), None)
    }
}

fn read_fact(fact: &InferenceFact) -> Result<Fact> {
    if let Some(tensor) = fact.value.concretize() {
        let value = read_value(&tensor)?;
        return Ok(Fact {
            dtype: value.dtype,
            shape: value.shape.clone(),
            value: Some(value),
        });
    }
    let dtype = fact
        .datum_type
        .concretize()
        .context("its element type does not follow from the inputs")?;
    let dims = fact
        .shape
        .concretize()
        .context("its shape does not follow from the inputs' shapes")?;
    let shape = dims
        .iter()
        .map(|dim| dim.to_usize().ok())
        .collect::<Option<Vec<_>>>()
        .with_context(|| format!("its shape is {dims:?}"))?;
    let dtype = dtype_of(dtype)?;
    ensure!(
        shape.len() <= MAX_AXES,
        "it has {} axes, at most {MAX_AXES}",
        shape.len()
    );
    let bytes = shape
        .iter()
        .try_fold(dtype.size(), |bytes, &axis| bytes.checked_mul(axis.max(1)));
    ensure!(
        bytes.is_some_and(|bytes| bytes <= MAX_ACTIVATION_BYTES),
        "its shape {shape:?} is too large: at most {MAX_ACTIVATION_BYTES} bytes are supported"
    );
    Ok(Fact {
        dtype,
        shape,
        value: None,
    })
}

/// tract keeps sizes as symbolic numbers, which are ONNX's 64-bit integers.
fn dtype_of(found: tract::DatumType) -> Result<Dtype> {
    use tract::DatumType as T;
    Ok(match found {
        T::F32 => Dtype::F32,
        T::F64 => Dtype::F64,
        T::F16 => Dtype::F16,
        T::U8 => Dtype::U8,
        T::I8 => Dtype::I8,
        T::U16 => Dtype::U16,
        T::I16 => Dtype::I16,
        T::I32 => Dtype::I32,
        T::I64 | T::TDim => Dtype::I64,
        T::Bool => Dtype::Bool,
        other => bail!("elements of type {other:?} are not supported"),
    })
}

fn read_value(tensor: &tract::Tensor) -> Result<Value> {
    let dtype = dtype_of(tensor.datum_type())?;
    let shape = tensor.shape().to_vec();
    let bytes = match tensor.datum_type() {
        tract::DatumType::TDim => tensor.cast_to::<i64>()?.as_bytes().to_vec(),
        _ => tensor.as_bytes().to_vec(),
    };
    Ok(Value {
        dtype,
        shape,
        bytes,
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with its panics as errors, and without their message on stderr.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                outer(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        Err(anyhow!("tract panicked: {text}"))
    })
}
