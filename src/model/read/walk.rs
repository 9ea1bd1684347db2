//! The walk over the file's nodes that folds what is constant and keeps the rest.

use std::collections::{HashMap, HashSet};

use anyhow::{bail, ensure, Context, Result};
use tract_onnx::pb;

use super::attributes::Attributes;
use super::classify::{classify, flatten_axis, Seen, RESHAPES};
use super::deduce::deduce;
use super::draft::Draft;
use super::fold::Budget;
use super::infer::{Fact, Inference, Known};
use super::order::{needed, node_names, Names};
use super::scan::{ScannedNode, Skeleton};
use super::store::Constant;
use super::VISIBLE_BYTES;
use crate::graph::{Attribute, Dtype, Node, Op, Operand};
use crate::model::onnx;

/// The walk's state.
pub struct Walk<'a> {
    inference: Inference,
    budget: Budget,
    draft: Draft,
    /// What every tensor name of the file stands for.
    tensors: HashMap<&'a str, Operand>,
    /// Tensors that a kept node or an output reads.
    read: HashSet<&'a str>,
    outputs: HashSet<&'a str>,
}

/// Folds and lowers a skeleton whose real inputs have these types and shapes.
///
/// # Errors
/// The first node that cannot be read, with its operator.
pub fn walk(skeleton: &Skeleton, inputs: &[(usize, Dtype, Vec<usize>)]) -> Result<Draft> {
    let protos: Vec<&pb::NodeProto> = skeleton.nodes.iter().map(|node| &node.proto).collect();
    let names = node_names(&protos);
    let order = needed(skeleton, &names)?;
    let mut walk = Walk::new(skeleton, &order, &names);
    for (place, dtype, shape) in inputs {
        let name = &skeleton.inputs[*place].name;
        let id = walk.draft.activation(name, *dtype, shape);
        walk.draft.inputs.push(id);
        walk.tensors.insert(name, Operand::Activation(id));
    }
    for &index in &order {
        let (node, name) = (&skeleton.nodes[index], &names[index]);
        walk.initialisers(skeleton, &node.proto)
            .and_then(|()| walk.node(node, name))
            .with_context(|| format!("node {name} ({})", node.proto.op_type))?;
    }
    let kept: HashSet<&usize> = order.iter().collect();
    let unused = (0..names.len()).filter(|index| !kept.contains(index));
    walk.draft
        .folded
        .extend(unused.map(|index| names[index].clone()));
    walk.finish(skeleton)
}

impl<'a> Walk<'a> {
    fn new(skeleton: &'a Skeleton, order: &[usize], names: &[String]) -> Self {
        let outputs: HashSet<&str> = skeleton.outputs.iter().map(|name| &name[..]).collect();
        let mut read = outputs.clone();
        let mut taken = Names::default();
        let outputs_of = skeleton.nodes.iter().flat_map(|node| &node.proto.output);
        let inputs_of = skeleton.inputs.iter().map(|input| &input.name);
        for name in names.iter().chain(outputs_of).chain(inputs_of) {
            taken.take(name);
        }
        for name in skeleton.tensors.keys() {
            taken.take(name);
        }
        for &index in order {
            read.extend(skeleton.nodes[index].proto.input.iter().map(|i| &i[..]));
        }
        Self {
            inference: Inference::new(),
            budget: Budget::default(),
            draft: Draft {
                opset: skeleton.opset,
                nodes: vec![],
                activations: vec![],
                constants: vec![],
                inputs: vec![],
                outputs: vec![],
                folded: vec![],
                taken,
            },
            tensors: HashMap::new(),
            read,
            outputs,
        }
    }

    /// Makes constants of the initialisers that a node reads first.
    fn initialisers(&mut self, skeleton: &'a Skeleton, node: &'a pb::NodeProto) -> Result<()> {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            if self.tensors.contains_key(&name[..]) {
                continue;
            }
            let found = skeleton.tensors.get(name);
            let found =
                found.with_context(|| format!("reads tensor {name}, which has no value"))?;
            let constant = match found {
                Ok(constant) => constant.clone(),
                Err(reason) => bail!("initialiser {name}: {reason}"),
            };
            self.fold(name, constant);
        }
        Ok(())
    }

    fn fold(&mut self, tensor: &'a str, constant: Constant) {
        let id = self.draft.constant(tensor, constant);
        self.tensors.insert(tensor, Operand::Weight(id));
    }

    fn node(&mut self, node: &'a ScannedNode, name: &str) -> Result<()> {
        let proto = &node.proto;
        self.check(node)?;
        let operands: Vec<Operand> = proto
            .input
            .iter()
            .map(|input| match &input[..] {
                "" => Operand::Absent,
                input => self.tensors[input],
            })
            .collect();
        let outputs = self.wanted(proto);
        let constant = operands
            .iter()
            .all(|operand| !matches!(operand, Operand::Activation(_)));
        if constant {
            return self.constant_node(node, name, &operands, &outputs);
        }
        if self.passes_through(proto, &operands, &outputs)? {
            return self.alias(proto, name, operands[0]);
        }
        let (named, inputs) = self.described(proto, &operands, &outputs)?;
        let facts = self
            .inference
            .facts(&named, self.draft.opset, &inputs)
            .context("tract cannot tell its output")?;
        ensure!(
            facts.iter().all(|fact| !fact.shape.contains(&0)),
            "an output without elements, which is not supported"
        );
        if facts.iter().all(|fact| fact.value.is_some()) {
            // Shapes are static: what depends on an input's shape alone is constant.
            for (output, fact) in proto.output.iter().zip(facts) {
                if let Some(value) = fact.value {
                    self.fold(output, Constant::from_value(value));
                }
            }
            self.draft.folded.push(name.to_string());
            return Ok(());
        }
        self.keep(proto, name, operands, &outputs, &facts)
    }

    /// Refuses what no engine takes.
    fn check(&self, node: &ScannedNode) -> Result<()> {
        let proto = &node.proto;
        let domain = &proto.domain[..];
        ensure!(
            matches!(domain, "" | "ai.onnx" | "ai.onnx.ml" | "com.microsoft"),
            "operators of domain {domain} are not supported; those of ai.onnx are"
        );
        let random = proto.op_type.starts_with("Random")
            || matches!(&proto.op_type[..], "Multinomial" | "Bernoulli");
        ensure!(!random, "random numbers are not supported");
        if let Some(attribute) = &node.beyond {
            bail!("attribute {attribute} is a graph or a list of tensors, which is not supported");
        }
        ensure!(
            self.inference.knows(&proto.op_type),
            "operator {} is not supported; tract knows {} operators of ONNX, and not this one",
            proto.op_type,
            self.inference.count()
        );
        Attributes(&mut attributes(proto)).check()
    }

    /// The outputs up to the last one that something reads, with names for those between.
    fn wanted(&mut self, proto: &'a pb::NodeProto) -> Vec<String> {
        let last = proto
            .output
            .iter()
            .rposition(|output| self.read.contains(&output[..]) && !output.is_empty());
        let count = last.map_or(1, |last| last + 1).min(proto.output.len());
        proto.output[..count]
            .iter()
            .map(|output| match &output[..] {
                "" => self.draft.name("unnamed"),
                output => output.to_string(),
            })
            .collect()
    }

    fn constant_node(
        &mut self,
        node: &'a ScannedNode,
        name: &str,
        operands: &[Operand],
        outputs: &[String],
    ) -> Result<()> {
        let inputs: Vec<Option<&Constant>> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Weight(id) => Some(&self.draft.constants[id.index()].1),
                _ => None,
            })
            .collect();
        let mut named = node.proto.clone();
        named.output = outputs.to_vec();
        let (inference, opset) = (&self.inference, self.draft.opset);
        let constants = self
            .budget
            .fold((inference, opset), node, &named, &inputs)?;
        for (output, constant) in node.proto.output.iter().zip(constants) {
            self.fold(output, constant);
        }
        self.draft.folded.push(name.to_string());
        Ok(())
    }

    /// Whether the node hands on its first input: an Identity, a Dropout at inference, a Reshape
    /// to the same shape.
    fn passes_through(
        &self,
        proto: &pb::NodeProto,
        operands: &[Operand],
        outputs: &[String],
    ) -> Result<bool> {
        if !matches!(operands.first(), Some(Operand::Activation(_))) || outputs.len() != 1 {
            return Ok(false);
        }
        match &proto.op_type[..] {
            "Identity" => Ok(true),
            "Dropout" => {
                let training = match operands.get(2) {
                    Some(Operand::Weight(id)) => {
                        let constant = &self.draft.constants[id.index()].1;
                        constant.bytes() != 1 || constant.value()?.bytes != [0]
                    }
                    Some(Operand::Activation(_)) => true,
                    _ => false,
                };
                ensure!(!training, "training mode, only inference is supported");
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn alias(&mut self, proto: &'a pb::NodeProto, name: &str, operand: Operand) -> Result<()> {
        let output = &proto.output[0][..];
        if !self.outputs.contains(output) {
            self.tensors.insert(output, operand);
            self.draft.folded.push(name.to_string());
            return Ok(());
        }
        let Operand::Activation(id) = operand else {
            bail!("an output that does not depend on an input");
        };
        let (_, dtype, shape) = self.draft.activations[id.index()].clone();
        let made = self.draft.activation(output, dtype, &shape);
        self.tensors.insert(output, Operand::Activation(made));
        self.draft.nodes.push(Node {
            name: name.to_string(),
            origin: name.to_string(),
            op_type: "Identity".into(),
            domain: String::new(),
            attributes: vec![],
            op: Op::Elementwise,
            inputs: vec![operand],
            outputs: vec![made],
        });
        Ok(())
    }

    /// The node with its wanted outputs, and what is known of each tensor that it reads: small
    /// constants with their elements, large ones and activations without.
    fn described(
        &self,
        proto: &'a pb::NodeProto,
        operands: &[Operand],
        outputs: &[String],
    ) -> Result<(pb::NodeProto, Vec<(&'a str, Known)>)> {
        let mut named = proto.clone();
        named.output = outputs.to_vec();
        let mut inputs: Vec<(&str, Known)> = vec![];
        let mut named_before = HashSet::new();
        for (input, operand) in proto.input.iter().zip(operands) {
            if !named_before.insert(&input[..]) {
                continue;
            }
            let known = match operand {
                Operand::Absent => continue,
                Operand::Activation(id) => {
                    let (_, dtype, shape) = &self.draft.activations[id.index()];
                    Known::Shape(*dtype, shape.clone())
                }
                Operand::Weight(id) => {
                    let constant = &self.draft.constants[id.index()].1;
                    match constant.bytes() <= VISIBLE_BYTES {
                        true => Known::Value(constant.value()?),
                        false => Known::Shape(constant.dtype, constant.shape.clone()),
                    }
                }
            };
            inputs.push((input, known));
        }
        Ok((named, inputs))
    }

    fn keep(
        &mut self,
        proto: &'a pb::NodeProto,
        name: &str,
        operands: Vec<Operand>,
        outputs: &[String],
        facts: &[Fact],
    ) -> Result<()> {
        let mut node = Node {
            name: name.to_string(),
            origin: name.to_string(),
            op_type: proto.op_type.clone(),
            domain: match &proto.domain[..] {
                "ai.onnx" => String::new(),
                domain => domain.to_string(),
            },
            attributes: attributes(proto),
            op: Op::Opaque,
            inputs: operands,
            outputs: vec![],
        };
        while node.inputs.last() == Some(&Operand::Absent) {
            node.inputs.pop();
        }
        let seen: Vec<Seen> = node.inputs.iter().map(|&o| self.seen(o)).collect();
        let output = &facts[0].shape;
        if facts.len() == 1 && node.domain.is_empty() {
            let from = seen[0].shape();
            if RESHAPES.contains(&&node.op_type[..]) {
                if from == output {
                    return self.alias(proto, name, node.inputs[0]);
                }
                if let Some(axis) = flatten_axis(from, output) {
                    node.op_type = "Flatten".into();
                    node.attributes = vec![("axis".into(), Attribute::Int(axis as i64))];
                    node.op = Op::Flatten { axis };
                    node.inputs.truncate(1);
                }
            } else {
                node.op = classify(&node.op_type, &mut node.attributes, &seen, output)?;
                if node.op == Op::Opaque {
                    node.op = deduce(&mut node, &seen, output, &self.draft)?;
                }
            }
        }
        for (index, (output, fact)) in outputs.iter().zip(facts).enumerate() {
            let made = self.draft.activation(output, fact.dtype, &fact.shape);
            if !proto.output[index].is_empty() {
                let operand = Operand::Activation(made);
                self.tensors.insert(&proto.output[index], operand);
            }
            node.outputs.push(made);
        }
        let lowered = super::lower::lower(node, &seen, &mut self.draft)?;
        self.draft.nodes.extend(lowered);
        Ok(())
    }

    fn seen(&self, operand: Operand) -> Seen {
        match operand {
            Operand::Activation(id) => {
                Seen::Activation(self.draft.activations[id.index()].2.clone())
            }
            Operand::Weight(id) => Seen::Constant(self.draft.constants[id.index()].1.shape.clone()),
            Operand::Absent => Seen::Absent,
        }
    }

    fn finish(mut self, skeleton: &Skeleton) -> Result<Draft> {
        let mut listed = HashSet::new();
        for name in &skeleton.outputs {
            let id = match self.tensors.get(&name[..]) {
                Some(Operand::Activation(id)) => *id,
                _ => bail!("output {name} does not depend on an input"),
            };
            ensure!(listed.insert(id), "output {name} is listed twice");
            self.draft.outputs.push(id);
        }
        Ok(self.draft)
    }
}

/// A node's attributes as plain values.
pub fn attributes(proto: &pb::NodeProto) -> Vec<(String, Attribute)> {
    proto
        .attribute
        .iter()
        .map(|attribute| (attribute.name.clone(), onnx::attribute_value(attribute)))
        .collect()
}
