//! Facts about the model: nodes, activations and weights, without the weights' data.
//!
//! A `Graph` is small (kilobytes), serialisable and the same on every rank; rank 0 makes it from
//! the model file and broadcasts it. Shapes are static: a frame is one input through the model.

mod cuttable;
mod dtype;
mod facts;
mod leader;
mod need;
mod node;
mod order;
mod regions;
mod sub_model;
mod value;
mod work;

pub use cuttable::{channelwise, cuttable};
pub use dtype::Dtype;
pub use facts::{activation_bytes, macs, macs_over, weight_bytes};
pub use leader::{fused_behind, leader, leaders, units};
pub use need::{computable, input_needs, weight_needs};
pub use node::{Attribute, Node, Op, Operand, PoolKind};
pub use order::{check_graph, GraphError};
pub use regions::{piece_regions, NeedError};
pub use sub_model::SubModel;
pub use value::Value;
pub use work::work;

use serde::{Deserialize, Serialize};

use crate::ids::{ActivationId, NodeId, WeightId};

/// A model after reading: constant sub-graphs folded, global average pooling lowered to a sum
/// and a division, shapes known, nodes in topological order (the order of `show`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The model's name, for people.
    pub name: String,
    /// ONNX opset of the default domain that the nodes' attributes are written for.
    pub opset: i64,
    /// Every node, producers before consumers.
    pub nodes: Vec<Node>,
    /// Every tensor that depends on an input.
    pub activations: Vec<Activation>,
    /// The model's inputs, in the file's order.
    pub inputs: Vec<ActivationId>,
    /// The model's outputs, in the file's order.
    pub outputs: Vec<ActivationId>,
    /// Every initialiser that a node uses, folded constants included.
    pub weights: Vec<Weight>,
    /// Names of nodes of the file that folding removed; a spec may list them.
    pub folded: Vec<String>,
}

/// A tensor that passes from node to node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Its ONNX tensor name.
    pub name: String,
    /// Length of every axis, `[N, C, H, W]` for images.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// The node that makes it; none for an input of the model.
    pub producer: Option<NodeId>,
    /// The nodes that read it, in order, each once.
    pub consumers: Vec<NodeId>,
}

/// An initialiser: everything but its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Its ONNX tensor name.
    pub name: String,
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// BLAKE3 of its little-endian bytes; where they are more than 4 MiB, of the hashes of each 4
    /// MiB (`model/read/hash.rs`).
    pub hash: [u8; 32],
}

impl Weight {
    /// Size of the whole weight in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

impl Graph {
    /// The node behind an id of this graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The activation behind an id of this graph.
    pub fn activation(&self, id: ActivationId) -> &Activation {
        &self.activations[id.index()]
    }

    /// The weight behind an id of this graph.
    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.index()]
    }

    /// All node ids in the order of `show`.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.nodes.len()).map(NodeId::new)
    }

    /// The box that covers a whole activation.
    pub fn whole(&self, id: ActivationId) -> crate::geometry::Region {
        crate::geometry::Region::whole(&self.activation(id).shape)
    }

    /// The nodes that a spec means by `name`, in order: by ONNX name, by origin (a lowered node
    /// is named as in the file), or in AutoDiCE's form (`/` as `_`) where that is unambiguous.
    /// Empty where no node has the name.
    pub fn nodes_named(&self, name: &str) -> Vec<NodeId> {
        let exact: Vec<_> = self
            .node_ids()
            .filter(|&id| self.node(id).origin == name)
            .collect();
        if !exact.is_empty() {
            return exact;
        }
        let found: Vec<_> = self
            .node_ids()
            .filter(|&id| autodice_form(&self.node(id).origin) == autodice_form(name))
            .collect();
        let same_origin = found
            .windows(2)
            .all(|w| self.node(w[0]).origin == self.node(w[1]).origin);
        if same_origin {
            found
        } else {
            vec![]
        }
    }
}

/// A node's name as AutoDiCE writes it: `/` as `_`.
pub fn autodice_form(name: &str) -> String {
    name.replace('/', "_")
}
