//! One node of the model as nodes of a sub-model, for every kind of operator.

use anyhow::{ensure, Result};

use super::draft::Output;
use super::tensors::Tensors;
use super::{conv, padding, pool, resize};
use crate::geometry::{Interval, Region, Window};
use crate::graph::{input_needs, Attribute, Node, Op, Operand};
use crate::ids::{NodeId, WeightId};
use crate::model::onnx;
use crate::plan::PieceWork;

/// A node on its way into a sub-model.
pub(super) struct Job<'a, 'g> {
    pub tensors: &'a mut Tensors<'g>,
    pub node: &'g Node,
    /// What it makes of its first output.
    pub made: &'a Region,
    /// What it reads of each operand that is an activation.
    needs: Vec<(usize, Region)>,
    /// What it uses of each operand that is a weight; an operand that stays out is missing.
    weights: Vec<(usize, WeightId, Region)>,
    /// The tensor of each output.
    names: Vec<String>,
}

/// Adds the node, which makes `made` of its first output; `bias` says whether its own bias counts.
pub(super) fn emit<'g>(
    tensors: &mut Tensors<'g>,
    id: NodeId,
    made: &Region,
    work: &PieceWork,
    outputs: &[Output],
    bias: bool,
) -> Result<()> {
    let graph = tensors.graph;
    let node = graph.node(id);
    let summand = work.summands.get(&id).map(|(region, _)| region);
    let needs = input_needs(graph, id, made)
        .into_iter()
        .map(|(index, _, need)| match summand {
            Some(summand) if index == 0 => (index, need.intersect(summand)),
            _ => (index, need),
        })
        .collect();
    let weights = work
        .weights
        .iter()
        .filter(|(of, index, ..)| *of == id && (*index < 2 || bias));
    let weights = weights.map(|(_, index, weight, region)| (*index, *weight, region.clone()));
    let weights = weights.collect();
    let mut names = Vec::with_capacity(node.outputs.len());
    for &output in &node.outputs {
        let mut direct = outputs.iter().filter(|known| known.direct);
        let name = match direct.find(|known| known.activation == output) {
            Some(known) => known.name.clone(),
            None => tensors.fresh(&graph.activation(output).name),
        };
        let whole = graph.whole(output);
        tensors.hold(output, work.regions.get(&output).unwrap_or(&whole), &name);
        names.push(name);
    }
    let mut job = Job {
        tensors,
        node,
        made,
        needs,
        weights,
        names,
    };
    match &node.op {
        Op::Conv { windows, groups } => conv::emit(&mut job, windows, *groups),
        Op::ConvTranspose { windows, groups } => conv::emit_transposed(&mut job, windows, *groups),
        Op::Pool { windows, kind } => pool::emit(&mut job, windows, *kind),
        Op::Pad { windows } => padding::emit(&mut job, windows),
        Op::Resize { factors } => resize::emit(&mut job, factors),
        Op::Elementwise | Op::PerChannel => job.same(),
        Op::Across { axes } => job.across(axes),
        Op::Opaque => job.opaque(),
        Op::Concat { axis } => job.concat(*axis),
        Op::Flatten { axis } => job.flatten(*axis),
        Op::Gemm { .. } => job.gemm(summand.is_some()),
        Op::GlobalSum => job.global_sum(),
    }
}

impl Job<'_, '_> {
    /// The tensor of the activation that is operand `index`, exactly as needed.
    pub fn input(&mut self, index: usize) -> Result<String> {
        let Some(Operand::Activation(activation)) = self.node.inputs.get(index) else {
            anyhow::bail!("its input {index} must depend on the frame");
        };
        let need = self.need(index);
        self.tensors.exactly(*activation, &need)
    }

    /// What is needed of the activation that is operand `index`.
    pub fn need(&self, index: usize) -> Region {
        let mut needs = self.needs.iter();
        let need = needs.find(|(of, _)| *of == index);
        need.map(|(_, need)| need.clone())
            .expect("every activation has a need")
    }

    /// The initialiser of the weight that is operand `index`; none where it stays out.
    pub fn weight(&mut self, index: usize) -> Option<(String, Region)> {
        let mut weights = self.weights.iter();
        let (_, weight, region) = weights.find(|(of, ..)| *of == index)?.clone();
        Some((self.tensors.weight(weight, &region), region))
    }

    /// The tensor that the node writes.
    pub fn output(&self) -> String {
        self.names[0].clone()
    }

    /// Adds the node itself, of the default domain, under its own name.
    pub fn push(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) {
        let (name, output) = (&self.node.name, &self.names[0]);
        self.tensors.push(op_type, name, inputs, output, attributes);
    }

    /// What the model has of an input axis along a window.
    pub fn axis_length(&self, axis: usize) -> usize {
        match self.node.inputs.first() {
            Some(Operand::Activation(id)) => self.tensors.graph.activation(*id).shape[axis],
            _ => 0,
        }
    }

    /// The input and the padding of a window operator. Where every window lies in padding alone,
    /// the input is zeros with the padding inside.
    pub fn windowed(&mut self, windows: &[Window]) -> Result<(String, Vec<(usize, usize)>)> {
        let need = self.need(0);
        let mut pads = Vec::with_capacity(windows.len());
        let mut padded = need.shape();
        for (axis, window) in windows.iter().enumerate() {
            let made = self.made.0[axis + 2];
            let exact = window.need(made, self.axis_length(axis + 2));
            ensure!(
                need.0[axis + 2] == exact.interval || need.is_empty(),
                "its sum can be shared over channels only"
            );
            pads.push((exact.pad_before, exact.pad_after));
            padded[axis + 2] = (made.len() - 1) * window.stride + window.extent();
        }
        if need.0[2..].iter().all(|axis| !axis.is_empty()) {
            return Ok((self.input(0)?, pads));
        }
        Ok((self.zeros(&padded), vec![(0, 0); windows.len()]))
    }

    /// A tensor of zeros in place of the input.
    pub fn zeros(&mut self, shape: &[usize]) -> String {
        let dtype = self.tensors.graph.activation(self.node.outputs[0]).dtype;
        let title = format!("{}/padding", self.names[0]);
        self.tensors.zeros(&title, dtype, shape)
    }

    /// The node as it is, over slices of its operands.
    fn same(&mut self) -> Result<()> {
        let mut inputs = Vec::with_capacity(self.node.inputs.len());
        for (index, operand) in self.node.inputs.iter().enumerate() {
            inputs.push(match operand {
                Operand::Activation(_) => self.input(index)?,
                Operand::Weight(_) => self.weight(index).map_or(String::new(), |(name, _)| name),
                Operand::Absent => String::new(),
            });
        }
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        let node = self.node;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let outputs: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let attributes = attributes(self.node);
        let mut proto = onnx::node(&node.op_type, &node.name, &inputs, &outputs, &attributes);
        // The default domain has two spellings, of which a model may import one.
        if node.domain != "ai.onnx" {
            proto.domain = node.domain.clone();
        }
        self.tensors.proto.node.push(proto);
        Ok(())
    }

    /// The node as it is, over all of the input along `axes`.
    fn across(&mut self, axes: &[usize]) -> Result<()> {
        let (need, whole) = (self.need(0), |axis: usize| self.axis_length(axis));
        ensure!(
            axes.iter().all(|&axis| need.0[axis].len() == whole(axis)),
            "it works across whole axes only, not {need}"
        );
        if !matches!(self.node.inputs.get(1), Some(Operand::Weight(_))) {
            return self.same();
        }
        // A reduction's axes come with the model, so that shapes follow from it alone.
        let input = self.input(0)?;
        let list: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let title = format!("{}/axes", self.names[0]);
        let list = self.tensors.integers(&title, &list);
        let node = self.node;
        let attributes = attributes(self.node);
        self.push(&node.op_type, &[&input, &list], &attributes);
        Ok(())
    }

    fn opaque(&mut self) -> Result<()> {
        let whole = self.tensors.graph.whole(self.node.outputs[0]);
        ensure!(
            *self.made == whole,
            "it is computed whole only, not {}",
            self.made
        );
        self.same()
    }

    fn concat(&mut self, axis: usize) -> Result<()> {
        let graph = self.tensors.graph;
        let mut start = 0;
        let mut inputs = vec![];
        for (index, operand) in self.node.inputs.iter().enumerate() {
            let length = match operand {
                Operand::Activation(id) => graph.activation(*id).shape[axis],
                Operand::Weight(id) => graph.weight(*id).shape[axis],
                Operand::Absent => 0,
            };
            let own = Interval::new(start, start + length);
            start = own.end;
            let common = self.made.0[axis].intersect(own);
            if common.is_empty() {
                continue;
            }
            if let Operand::Activation(_) = operand {
                inputs.push(self.input(index)?);
            } else if let Some((name, held)) = self.weight(index) {
                let need = self.made.with_axis(axis, common.relative_to(own.start));
                inputs.push(match need == held {
                    true => name,
                    false => self.tensors.slice(&name, &held, &need),
                });
            }
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        match inputs.len() {
            1 => self.push("Identity", &inputs, &[]),
            _ => self.push("Concat", &inputs, &[("axis", Attribute::Int(axis as i64))]),
        }
        Ok(())
    }

    fn flatten(&mut self, axis: usize) -> Result<()> {
        // A cut at whole blocks is a cut of one input axis on either side, so that flattening
        // what is needed makes exactly the region.
        let input = self.input(0)?;
        self.push(
            "Flatten",
            &[&input],
            &[("axis", Attribute::Int(axis as i64))],
        );
        Ok(())
    }

    fn gemm(&mut self, shared: bool) -> Result<()> {
        let need = self.need(0);
        ensure!(!shared || !need.is_empty(), "its summand is empty");
        let input = self.input(0)?;
        let Some((matrix, _)) = self.weight(1) else {
            anyhow::bail!("its matrix must be a constant");
        };
        if self.node.op_type == "MatMul" {
            self.push("MatMul", &[&input, &matrix], &[]);
            return Ok(());
        }
        let mut inputs = vec![input, matrix];
        match self.weight(2) {
            Some((bias, _)) => inputs.push(bias),
            // The bias is optional from opset 11 on.
            None if self.tensors.graph.opset < 11 => {
                let dtype = self.tensors.graph.activation(self.node.outputs[0]).dtype;
                let title = format!("{}/bias", self.names[0]);
                inputs.push(self.tensors.zeros(&title, dtype, &[1]));
            }
            None => {}
        }
        let attributes = attributes(self.node);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.push("Gemm", &inputs, &attributes);
        Ok(())
    }

    fn global_sum(&mut self) -> Result<()> {
        let input = self.input(0)?;
        let axes: Vec<i64> = (2..self.need(0).rank() as i64).collect();
        let keep = ("keepdims", Attribute::Int(1));
        // ReduceSum takes its axes as an input from opset 13 on.
        if self.tensors.graph.opset < 13 {
            self.push(
                "ReduceSum",
                &[&input],
                &[keep, ("axes", Attribute::Ints(axes))],
            );
        } else {
            let axes = self
                .tensors
                .integers(&format!("{}/axes", self.names[0]), &axes);
            self.push("ReduceSum", &[&input, &axes], &[keep]);
        }
        Ok(())
    }
}

/// A node's attributes as they are.
fn attributes(node: &Node) -> Vec<(&str, Attribute)> {
    let attributes = node.attributes.iter();
    attributes
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

/// `kernel_shape`, `strides` and `pads`.
pub(super) fn window_attributes(
    windows: &[Window],
    pads: &[(usize, usize)],
) -> Vec<(&'static str, Attribute)> {
    let (before, after) = (pads.iter().map(|p| p.0), pads.iter().map(|p| p.1));
    vec![
        ("kernel_shape", ints(windows.iter().map(|w| w.kernel))),
        ("strides", ints(windows.iter().map(|w| w.stride))),
        ("pads", ints(before.chain(after))),
    ]
}

/// An INTS attribute of sizes.
pub(super) fn ints(items: impl Iterator<Item = usize>) -> Attribute {
    Attribute::Ints(items.map(|item| item as i64).collect())
}
