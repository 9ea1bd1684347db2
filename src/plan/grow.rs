//! Cutting what each rank makes into groups of nodes that run as one sub-model.

use std::collections::BTreeSet;

use super::demand::Demand;
use super::layout::{Layout, Making};
use crate::graph::Graph;
use crate::ids::{ActivationId, NodeId, Rank};

/// Nodes of one rank that run as one sub-model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whose nodes.
    pub rank: Rank,
    /// Which, in the graph's order; at least one.
    pub nodes: Vec<NodeId>,
}

impl Group {
    /// The node that ends it.
    pub fn last(&self) -> NodeId {
        self.nodes[self.nodes.len() - 1]
    }
}

/// Cuts every rank's nodes into groups, ordered by their last node, then by rank.
///
/// A group ends behind a node with an output that leaves the rank, or whose sum is shared, so
/// that the message waits for nothing else; and before a node that needs a message which the
/// group does not need yet, so that the group does not wait for it. Hence only the last node of a
/// group feeds other ranks, and whoever reads it comes later in the graph: the order returned is
/// one in which every group's inputs come from groups before it, also across ranks.
pub fn groups(graph: &Graph, layout: &Layout, demand: &Demand) -> Vec<Group> {
    let mut done = Vec::new();
    let mut open: Vec<Option<Open>> = Vec::new();
    for id in graph.node_ids() {
        for &rank in &demand.makers[id.index()] {
            if open.len() <= rank.index() {
                open.resize_with(rank.index() + 1, || None);
            }
            let place = &mut open[rank.index()];
            let foreign = foreign(graph, layout, demand, id, rank);
            if place.as_ref().is_some_and(|o| !foreign.is_subset(&o.needs)) {
                done.extend(place.take().map(|o| o.close(rank)));
            }
            let group = place.get_or_insert_default();
            group.nodes.push(id);
            group.needs.extend(foreign);
            if leaves(graph, layout, demand, id, rank) {
                done.extend(place.take().map(|o| o.close(rank)));
            }
        }
    }
    for (index, place) in open.into_iter().enumerate() {
        done.extend(place.map(|o| o.close(Rank::new(index))));
    }
    done.sort_by_key(|group| (group.last(), group.rank));
    done
}

/// What a node of a rank reads that messages or a reduction bring.
fn foreign(
    graph: &Graph,
    layout: &Layout,
    demand: &Demand,
    id: NodeId,
    rank: Rank,
) -> BTreeSet<ActivationId> {
    let comes = |a: &ActivationId| {
        let producer = graph.activation(*a).producer;
        let reduced = producer.is_some_and(|node| is_sum(layout, node));
        reduced || demand.arriving(*a, rank).next().is_some()
    };
    graph.node(id).activations().filter(comes).collect()
}

fn leaves(graph: &Graph, layout: &Layout, demand: &Demand, id: NodeId, rank: Rank) -> bool {
    let mut outputs = graph.node(id).outputs.iter();
    is_sum(layout, id) || outputs.any(|&a| demand.leaving(a, rank).next().is_some())
}

fn is_sum(layout: &Layout, id: NodeId) -> bool {
    matches!(layout.nodes[id.index()], Some(Making::Sum(_)))
}

/// A group that still grows.
#[derive(Default)]
struct Open {
    nodes: Vec<NodeId>,
    /// What it needs that is not made in it.
    needs: BTreeSet<ActivationId>,
}

impl Open {
    fn close(self, rank: Rank) -> Group {
        let nodes = self.nodes;
        Group { rank, nodes }
    }
}
