//! A graph under construction: what the walk keeps, before unused constants are left out.

use super::order::Names;
use super::store::Constant;
use crate::graph::{Dtype, Node};
use crate::ids::{ActivationId, WeightId};

/// A graph under construction: ids are places in these lists.
pub struct Draft {
    /// Opset of the nodes.
    pub opset: i64,
    /// Nodes that are kept, in order.
    pub nodes: Vec<Node>,
    /// Name, type and shape of every activation.
    pub activations: Vec<(String, Dtype, Vec<usize>)>,
    /// Name and data of every constant, used or not.
    pub constants: Vec<(String, Constant)>,
    /// The model's inputs.
    pub inputs: Vec<ActivationId>,
    /// The model's outputs.
    pub outputs: Vec<ActivationId>,
    /// Names of nodes that are not kept.
    pub folded: Vec<String>,
    /// Names of nodes and tensors that are taken.
    pub taken: Names,
}

impl Draft {
    /// Adds an activation.
    pub fn activation(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> ActivationId {
        let id = ActivationId::new(self.activations.len());
        self.activations
            .push((name.to_string(), dtype, shape.to_vec()));
        id
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, constant: Constant) -> WeightId {
        let id = WeightId::new(self.constants.len());
        self.constants.push((name.to_string(), constant));
        id
    }

    /// A name that nothing has.
    pub fn name(&mut self, base: &str) -> String {
        self.taken.unique(base)
    }
}
