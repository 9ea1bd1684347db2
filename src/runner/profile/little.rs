//! Models of one node, for what is measured of an engine beside the user's model.

use crate::graph::{Activation, Dtype, Graph, Node, Op, Operand, Weight};
use crate::ids::{ActivationId, NodeId, WeightId};

/// A model of one node whose output has the shape of its input; `kernel`: the shape of its weight,
/// where it has one.
pub fn one_node(
    opset: i64,
    (op_type, op): (&str, Op),
    shape: &[usize],
    kernel: Option<&[usize]>,
) -> Graph {
    let activation = |name: &str, producer, consumers| Activation {
        name: name.into(),
        shape: shape.to_vec(),
        dtype: Dtype::F32,
        producer,
        consumers,
    };
    let weight = |shape: &[usize]| Weight {
        name: "weight".into(),
        shape: shape.to_vec(),
        dtype: Dtype::F32,
        hash: [0; 32],
    };
    let weights: Vec<_> = kernel.into_iter().map(weight).collect();
    let mut inputs = vec![Operand::Activation(ActivationId(0))];
    inputs.extend(weights.iter().map(|_| Operand::Weight(WeightId(0))));
    let node = Node {
        name: op_type.into(),
        origin: op_type.into(),
        op_type: op_type.into(),
        domain: String::new(),
        attributes: vec![],
        op,
        inputs,
        outputs: vec![ActivationId(1)],
    };
    Graph {
        name: op_type.into(),
        opset,
        nodes: vec![node],
        activations: vec![
            activation("in", None, vec![NodeId(0)]),
            activation("out", Some(NodeId(0)), vec![]),
        ],
        inputs: vec![ActivationId(0)],
        outputs: vec![ActivationId(1)],
        weights,
        folded: vec![],
    }
}
