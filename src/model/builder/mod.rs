//! A small writer of ONNX models that knows the shape of everything it writes.
//!
//! Operators are added in the order of execution. Each is named, and its output tensor has the
//! same name. What does not fit together is remembered as the builder's first fault, so that
//! calls need no `?`; [`ModelBuilder::check`] and every way of writing report it.
//!
//! ```
//! use autodice::model::builder::{Conv, ModelBuilder, Pool};
//!
//! let mut b = ModelBuilder::new("tiny", 1);
//! let x = b.input("data", &[1, 3, 8, 8]);
//! let x = b.conv("conv1", x, Conv::new(4, 3).pad(1));
//! let x = b.relu("relu1", x);
//! let x = b.max_pool("pool1", x, Pool::new(2).stride(2));
//! b.output(x);
//! assert_eq!(b.shape(x), [1, 4, 4, 4]);
//! assert_eq!(b.parameters(), 4 * 3 * 9 + 4);
//! assert_eq!(b.macs(), 8 * 8 * 4 * 3 * 9);
//! assert!(b.to_bytes().is_ok());
//! ```

mod fill;
mod ops;
mod window;
mod write;

use std::collections::HashSet;

use anyhow::{bail, Result};
use tract_onnx::pb;

pub use fill::Weights;
pub use window::{Conv, Hw, Pool};

use crate::graph::{Attribute, Dtype, Value};
use crate::model::onnx;
use fill::{stream, Fill};

/// ONNX opset of the default domain that operators are written for.
const OPSET: i64 = 13;
/// More elements than this in one tensor are a mistake, not a model (4 TiB of f32).
const ELEMENTS: u64 = 1 << 40;

/// An activation of a [`ModelBuilder`]: the output of an operator, or an input of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(usize);

/// A model under construction; weights are made only while it is written.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    name: String,
    weights: Weights,
    opset: i64,
    list_weights: bool,
    nodes: Vec<pb::NodeProto>,
    tensors: Vec<Tensor>,
    inputs: Vec<Handle>,
    outputs: Vec<Handle>,
    initializers: Vec<Initializer>,
    names: HashSet<String>,
    node_macs: Vec<(String, u64)>,
    fault: Option<String>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Initializer {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    fill: Fill,
    /// Whether training would change it: running statistics and constants are no parameters.
    parameter: bool,
}

impl Initializer {
    fn count(&self) -> u64 {
        elements(&self.shape)
    }
}

impl ModelBuilder {
    /// An empty model with He-scaled weights.
    pub fn new(name: &str, seed: u64) -> Self {
        Self::with_weights(name, Weights::He { seed })
    }

    /// An empty model with weights of a kind.
    pub fn with_weights(name: &str, weights: Weights) -> Self {
        Self {
            name: name.into(),
            weights,
            opset: OPSET,
            list_weights: false,
            nodes: vec![],
            tensors: vec![],
            inputs: vec![],
            outputs: vec![],
            initializers: vec![],
            names: HashSet::new(),
            node_macs: vec![],
            fault: None,
        }
    }

    /// Lists initialisers among the graph's inputs too, the convention before ONNX IR 4.
    pub fn list_weights_as_inputs(&mut self) {
        self.list_weights = true;
    }

    /// An f32 input of the model.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Handle {
        if elements(shape) == 0 {
            self.fail(
                name,
                &format!("an input of shape {shape:?} has no elements"),
            );
        }
        let handle = self.tensor(name, Dtype::F32, shape.to_vec());
        self.inputs.push(handle);
        handle
    }

    /// Makes an activation an output of the model.
    pub fn output(&mut self, x: Handle) {
        self.outputs.push(x);
    }

    /// Length of every axis of an activation.
    pub fn shape(&self, x: Handle) -> &[usize] {
        &self.tensors[x.0].shape
    }

    /// Numbers that training would change: weights, biases, scales; running statistics not.
    pub fn parameters(&self) -> u64 {
        let parameters = self.initializers.iter().filter(|weight| weight.parameter);
        parameters.fold(0, |sum, weight| sum.saturating_add(weight.count()))
    }

    /// Multiply-accumulates for one frame: convolutions and matrix products only.
    pub fn macs(&self) -> u64 {
        self.node_macs
            .iter()
            .fold(0, |sum, node| sum.saturating_add(node.1))
    }

    /// The nodes that have multiply-accumulates, and how many for one frame, in order.
    pub fn node_macs(&self) -> &[(String, u64)] {
        &self.node_macs
    }

    /// Whether everything so far fits together.
    ///
    /// # Errors
    /// The first thing that did not: one line that names the model and the node.
    pub fn check(&self) -> Result<()> {
        if let Some(fault) = &self.fault {
            bail!("{}: {fault}", self.name);
        }
        if self.outputs.is_empty() {
            bail!("{}: the model has no output", self.name);
        }
        Ok(())
    }

    /// The first thing that did not fit: the node's name, then what is wrong.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Any operator of the default domain: `inputs`, then constants, which are named
    /// `<name>.<suffix>`; one f32 output of the shape given.
    pub fn custom(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[Handle],
        constants: &[(&str, &Value)],
        attributes: &[(&str, Attribute)],
        shape: &[usize],
    ) -> Handle {
        let constants: Vec<String> = constants
            .iter()
            .map(|(suffix, value)| self.constant(&format!("{name}.{suffix}"), value))
            .collect();
        self.push(op_type, name, inputs, &constants, attributes, shape)
    }

    /// Remembers the first fault only: those after it follow from it.
    fn fail(&mut self, node: &str, message: &str) {
        self.fault.get_or_insert(format!("{node}: {message}"));
    }

    fn tensor(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>) -> Handle {
        self.claim(name);
        if elements(&shape) > ELEMENTS {
            self.fail(name, &format!("a tensor of shape {shape:?} is too large"));
        }
        self.tensors.push(Tensor {
            name: name.into(),
            dtype,
            shape,
        });
        Handle(self.tensors.len() - 1)
    }

    fn claim(&mut self, name: &str) {
        if !self.names.insert(name.into()) {
            self.fail(name, "the name is taken already");
        }
    }

    /// A node with one f32 output of its own name.
    fn push(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[Handle],
        weights: &[String],
        attributes: &[(&str, Attribute)],
        shape: &[usize],
    ) -> Handle {
        let inputs = inputs.iter().map(|x| self.tensors[x.0].name.as_str());
        let inputs: Vec<&str> = inputs.chain(weights.iter().map(String::as_str)).collect();
        let node = onnx::node(op_type, name, &inputs, &[name], attributes);
        self.nodes.push(node);
        self.tensor(name, Dtype::F32, shape.to_vec())
    }

    /// A constant of any type.
    fn constant(&mut self, name: &str, value: &Value) -> String {
        let fill = Fill::Bytes(value.bytes.clone());
        self.initializer(name, value.dtype, &value.shape, fill, false)
    }

    /// An f32 parameter.
    fn parameter(&mut self, name: &str, shape: &[usize], fill: Fill) -> String {
        self.initializer(name, Dtype::F32, shape, fill, true)
    }

    fn initializer(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        fill: Fill,
        parameter: bool,
    ) -> String {
        self.claim(name);
        if elements(shape) > ELEMENTS {
            self.fail(name, &format!("a weight of shape {shape:?} is too large"));
        }
        self.initializers.push(Initializer {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            fill,
            parameter,
        });
        name.into()
    }

    /// A kernel or matrix whose output elements each sum over `fan_in` inputs.
    fn kernel(&mut self, name: &str, shape: &[usize], fan_in: f64, gain: f32) -> String {
        let fill = match self.weights {
            Weights::He { seed } => Fill::Normal {
                stream: stream(seed, name),
                scale: (2.0 / fan_in.max(1.0)).sqrt() as f32 * gain,
                shift: 0.0,
            },
            Weights::Integers { seed, max } => Fill::Integer {
                stream: stream(seed, name),
                max,
            },
        };
        self.parameter(name, shape, fill)
    }

    /// Numbers around `centre`, at most `spread` from it; integers where weights are integers.
    fn around(&self, name: &str, centre: f32, spread: f32) -> Fill {
        match self.weights {
            Weights::He { seed } => Fill::Uniform {
                stream: stream(seed, name),
                scale: spread,
                shift: centre,
            },
            Weights::Integers { seed, max } => Fill::Integer {
                stream: stream(seed, name),
                max,
            },
        }
    }
}

fn elements(shape: &[usize]) -> u64 {
    shape
        .iter()
        .fold(1, |product: u64, &axis| product.saturating_mul(axis as u64))
}

#[cfg(test)]
mod tests;
