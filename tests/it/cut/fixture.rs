//! Small-integer models with the values of all their activations, and pieces run on boxes of
//! them: sums of small integers are exact in f32, so that equal means equal bit for bit.

use std::sync::Arc;

use autodice::engine::tract::{load_file, Tract};
use autodice::engine::{Engine, Tensor};
use autodice::geometry::{copy_box, Interval, Region};
use autodice::graph::{Attribute, Dtype, SubModel, Value};
use autodice::ids::{ActivationId, NodeId, PieceId, Rank};
use autodice::model::cut::cut;
use autodice::model::onnx;
use autodice::model::read::{read, Source};
use autodice::plan::{Plan, PlanBuilder};
use prost::Message;
use tract_onnx::pb;

/// A generator of repeatable numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// A box inside of a tensor of this shape, not empty.
    pub fn region(&mut self, shape: &[usize]) -> Region {
        let axes = shape.iter().map(|&length| {
            let (a, b) = (self.below(length), self.below(length));
            Interval::new(a.min(b), a.max(b) + 1)
        });
        Region(axes.collect())
    }
}

/// A model that grows; every node's output is named after the node and an output of the model.
pub struct Net {
    proto: pb::GraphProto,
    inputs: Vec<(String, Dtype, Vec<usize>)>,
    opset: i64,
    random: Random,
}

pub fn ints(items: &[usize]) -> Attribute {
    Attribute::Ints(items.iter().map(|&item| item as i64).collect())
}

pub fn int(item: i64) -> Attribute {
    Attribute::Int(item)
}

impl Net {
    pub fn new(opset: i64, seed: u64) -> Self {
        Self {
            proto: pb::GraphProto {
                name: "net".into(),
                ..Default::default()
            },
            inputs: vec![],
            opset,
            random: Random(seed),
        }
    }

    pub fn input(&mut self, name: &str, shape: &[usize]) -> String {
        let info = onnx::value_info(name, Dtype::F32, shape);
        self.proto.input.push(info);
        self.inputs.push((name.into(), Dtype::F32, shape.to_vec()));
        name.into()
    }

    /// Integers from -3 to 3.
    pub fn integers(&mut self, shape: &[usize]) -> Value {
        let count = shape.iter().product();
        let elements: Vec<f32> = (0..count)
            .map(|_| self.random.below(7) as f32 - 3.0)
            .collect();
        Value::from_f32(shape, &elements)
    }

    pub fn weight(&mut self, name: &str, shape: &[usize]) -> String {
        let value = self.integers(shape);
        self.constant(name, &value)
    }

    pub fn constant(&mut self, name: &str, value: &Value) -> String {
        self.proto.initializer.push(onnx::tensor(name, value));
        name.into()
    }

    pub fn node(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.node_of(op_type, name, inputs, &[name], attributes);
        name.into()
    }

    pub fn node_of(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let node = onnx::node(op_type, name, inputs, outputs, attributes);
        self.proto.node.push(node);
        for &output in outputs {
            let tensor = pb::type_proto::Tensor {
                elem_type: Dtype::F32.onnx(),
                shape: None,
            };
            self.proto.output.push(pb::ValueInfoProto {
                name: output.into(),
                r#type: Some(pb::TypeProto {
                    value: Some(pb::type_proto::Value::TensorType(tensor)),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
    }

    /// A 2-D convolution with a bias, square in everything.
    pub fn conv(&mut self, name: &str, x: &str, (from, to): (usize, usize), k: usize) -> String {
        let w = self.weight(&format!("{name}.w"), &[to, from, k, k]);
        let b = self.weight(&format!("{name}.b"), &[to]);
        let pads = ("pads", ints(&[k / 2; 4]));
        self.node("Conv", name, &[x, &w, &b], &[pads])
    }

    /// Writes the file, reads it, and runs it whole on integers.
    pub fn finish(mut self) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        let values: Vec<Value> = self
            .inputs
            .clone()
            .iter()
            .map(|i| self.integers(&i.2))
            .collect();
        std::fs::write(&path, onnx::model(self.proto, self.opset).encode_to_vec()).unwrap();
        let source = read(&path, &[]).unwrap();
        let tensors: Vec<_> = values
            .iter()
            .map(|v| Arc::new(Tensor::from_value(v)))
            .collect();
        let outputs = load_file(&path, &self.inputs, 1)
            .unwrap()
            .run(&tensors)
            .unwrap();
        let mut known = vec![None; source.graph.activations.len()];
        for (&id, value) in source.graph.inputs.iter().zip(values) {
            known[id.index()] = Some(value);
        }
        assert_eq!(outputs.len(), source.graph.outputs.len());
        for (&id, tensor) in source.graph.outputs.iter().zip(outputs) {
            known[id.index()] = Some(tensor.to_value());
        }
        Fixture {
            source,
            known,
            engine: Tract::new(1).unwrap(),
        }
    }
}

/// A model and what it makes of one frame.
pub struct Fixture {
    pub source: Source,
    /// By activation; none for those that only reading has made.
    pub known: Vec<Option<Value>>,
    engine: Tract,
}

/// Nodes of a piece, and the boxes that it makes.
pub type Cut = (Vec<NodeId>, Vec<(ActivationId, Region)>);

pub const RANK: Rank = Rank(0);

impl Fixture {
    pub fn node(&self, name: &str) -> NodeId {
        let nodes = &self.source.graph.nodes;
        let index = nodes.iter().position(|node| node.name == name);
        NodeId::new(index.unwrap_or_else(|| panic!("no node {name}")))
    }

    pub fn activation(&self, name: &str) -> ActivationId {
        let all = &self.source.graph.activations;
        let index = all.iter().position(|activation| activation.name == name);
        ActivationId::new(index.unwrap_or_else(|| panic!("no activation {name}")))
    }

    pub fn builder(&self) -> PlanBuilder<'_> {
        PlanBuilder::new(&self.source.graph, 1, 1, 1)
    }

    /// A box of the whole model's activation.
    pub fn crop(&self, id: ActivationId, region: &Region) -> Value {
        let value = self.known[id.index()].as_ref().expect("a known activation");
        crop(value, &self.source.graph.whole(id), region)
    }

    /// A plan of one piece of `nodes` that makes boxes of activations from whole boxes of what it
    /// needs.
    pub fn piece(&self, nodes: &[NodeId], outputs: &[(ActivationId, Region)]) -> Plan {
        self.pieces(&[(nodes.to_vec(), outputs.to_vec())])
    }

    /// A plan of several pieces, likewise.
    pub fn pieces(&self, pieces: &[Cut]) -> Plan {
        let graph = &self.source.graph;
        let mut builder = self.builder();
        for (nodes, outputs) in pieces {
            let made = |id| nodes.iter().any(|&n| graph.node(n).outputs.contains(&id));
            let read = nodes.iter().flat_map(|&n| graph.node(n).activations());
            let asked = outputs.iter().map(|output| output.0);
            let mut reads: Vec<_> = read.chain(asked).filter(|&id| !made(id)).collect();
            reads.sort_unstable();
            reads.dedup();
            let inputs: Vec<_> = reads.iter().map(|&id| builder.whole(RANK, id)).collect();
            let parts = outputs.iter().map(|(id, region)| {
                let part = builder.part(RANK, *id, region.clone());
                (part, region.clone())
            });
            let parts = parts.collect();
            builder.piece_needing(RANK, nodes, &inputs, parts).unwrap();
        }
        let mut plan = builder.build();
        // What the region needs nothing of is not an input.
        for piece in &mut plan.ranks[0].pieces {
            piece.inputs.retain(|(_, region)| !region.is_empty());
        }
        plan
    }

    pub fn cut(&self, plan: &Plan, piece: usize) -> anyhow::Result<SubModel> {
        cut(
            &self.source.graph,
            plan,
            RANK,
            PieceId::new(piece),
            &self.source,
        )
    }

    /// Runs a sub-model on boxes of the whole model's activations, or on what `given` says.
    pub fn run_on(&self, sub_model: SubModel, inputs: &[Value]) -> anyhow::Result<Vec<Value>> {
        let mut loaded = self.engine.load(sub_model)?;
        let tensors: Vec<_> = inputs
            .iter()
            .map(|v| Arc::new(Tensor::from_value(v)))
            .collect();
        let outputs = loaded.run(&tensors)?;
        Ok(outputs.iter().map(Tensor::to_value).collect())
    }

    /// The boxes of the whole model's activations that a piece reads.
    pub fn inputs(&self, plan: &Plan, piece: usize) -> Vec<Value> {
        let inputs = &plan.ranks[0].pieces[piece].inputs;
        inputs
            .iter()
            .map(|(part, region)| self.crop(plan.part(RANK, *part).activation, region))
            .collect()
    }

    pub fn run(&self, plan: &Plan, piece: usize) -> Vec<Value> {
        let sub_model = self.cut(plan, piece).unwrap_or_else(|e| panic!("{e:#}"));
        let outputs = self.run_on(sub_model, &self.inputs(plan, piece));
        outputs.unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Cuts `nodes` over these boxes, runs the piece and compares it with the whole model.
    pub fn check(&self, nodes: &[NodeId], outputs: &[(ActivationId, Region)]) {
        let plan = self.piece(nodes, outputs);
        let found = self.run(&plan, 0);
        for ((id, region), found) in outputs.iter().zip(&found) {
            let name = &self.source.graph.activation(*id).name;
            assert_eq!(
                *found,
                self.crop(*id, region),
                "{name} {region} of {nodes:?}"
            );
        }
    }

    /// Likewise for one node and a box of its first output.
    pub fn check_node(&self, node: NodeId, region: &Region) {
        let output = self.source.graph.node(node).outputs[0];
        self.check(&[node], &[(output, region.clone())]);
    }
}

/// A box of a value that holds `held`.
pub fn crop(value: &Value, held: &Region, region: &Region) -> Value {
    let mut out = Value::zeros(value.dtype, &region.shape());
    let target = (&mut out.bytes[..], region);
    copy_box((&value.bytes, held), target, region, value.dtype.size());
    out
}

/// The element-wise sum, in the order given.
pub fn add(values: &[Value]) -> Value {
    let mut sum = values[0].to_f32();
    for value in &values[1..] {
        assert_eq!(value.shape, values[0].shape);
        sum.iter_mut()
            .zip(value.to_f32())
            .for_each(|(a, b)| *a += b);
    }
    Value::from_f32(&values[0].shape, &sum)
}

/// The halves of an axis at every cut.
pub fn cuts(length: usize) -> impl Iterator<Item = [Interval; 2]> {
    (1..length).map(move |cut| [Interval::new(0, cut), Interval::new(cut, length)])
}
