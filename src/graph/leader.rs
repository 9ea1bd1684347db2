//! Units of work: a node together with the nodes that an engine fuses behind it.
//!
//! A profile times units and a cost looks them up; this file alone says what a unit is.

use super::{Graph, Node, Op};
use crate::ids::NodeId;

/// The leader of every node, by the node's index; a leader is its own.
///
/// A node joins its producer's unit where an engine does it on the producer's values as they are
/// made: it works element by element or channel by channel, reads one activation only, nobody
/// else reads that one, and its shape stays. Units are chains; the leader comes first.
pub fn leaders(graph: &Graph) -> Vec<NodeId> {
    let mut leaders: Vec<NodeId> = graph.node_ids().collect();
    for id in graph.node_ids() {
        if let Some(before) = fused_behind(graph, graph.node(id)) {
            leaders[id.index()] = leaders[before.index()];
        }
    }
    leaders
}

/// The leader of one node. To ask for many, [`leaders`] says all at once.
pub fn leader(graph: &Graph, id: NodeId) -> NodeId {
    let mut leader = id;
    while let Some(before) = fused_behind(graph, graph.node(leader)) {
        leader = before;
    }
    leader
}

/// The nodes of every leader's unit, in order, by the leader's index; empty for other nodes.
pub fn units(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut units = vec![vec![]; graph.nodes.len()];
    for (index, leader) in leaders(graph).into_iter().enumerate() {
        units[leader.index()].push(NodeId::new(index));
    }
    units
}

/// The node that this one is fused behind.
pub fn fused_behind(graph: &Graph, node: &Node) -> Option<NodeId> {
    if !matches!(node.op, Op::Elementwise | Op::PerChannel) {
        return None;
    }
    let mut read = node.activations();
    let first = read.next()?;
    if read.any(|other| other != first) {
        return None;
    }
    let activation = graph.activation(first);
    let alone = activation.consumers.len() == 1 && !graph.outputs.contains(&first);
    let same =
        node.outputs.len() == 1 && graph.activation(node.outputs[0]).shape == activation.shape;
    let producer = activation.producer.filter(|_| alone && same)?;
    (graph.node(producer).outputs.len() == 1).then_some(producer)
}
