//! Cutting what each rank owns into pieces.

use std::collections::BTreeSet;

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

/// Where activations are made and read when every live node has one owner.
pub struct Flow<'a> {
    graph: &'a Graph,
    owners: &'a [Rank],
    /// Whether a node reaches an output of the model.
    live: Vec<bool>,
}

impl<'a> Flow<'a> {
    /// `owners`: the rank of every node.
    pub fn new(graph: &'a Graph, owners: &'a [Rank]) -> Self {
        let mut needed = vec![false; graph.activations.len()];
        for output in &graph.outputs {
            needed[output.index()] = true;
        }
        let mut live = vec![false; graph.nodes.len()];
        for id in graph.node_ids().collect::<Vec<_>>().into_iter().rev() {
            let node = graph.node(id);
            if node.outputs.iter().any(|output| needed[output.index()]) {
                live[id.index()] = true;
                node.activations().for_each(|a| needed[a.index()] = true);
            }
        }
        Self {
            graph,
            owners,
            live,
        }
    }

    /// The rank that has an activation first: its producer's, or rank 0 for a model input.
    pub fn home(&self, id: ActivationId) -> Rank {
        let producer = self.graph.activation(id).producer;
        producer.map_or(Rank(0), |node| self.owners[node.index()])
    }

    /// The nodes that read an activation and reach an output.
    pub fn readers(&self, id: ActivationId) -> impl Iterator<Item = NodeId> + '_ {
        let consumers = self.graph.activation(id).consumers.iter().copied();
        consumers.filter(|node| self.live[node.index()])
    }

    /// The other ranks that an activation travels to, those that read it first before others;
    /// rank 0 last where it only hands it to the sink.
    pub fn destinations(&self, id: ActivationId) -> Vec<Rank> {
        let sink = self.graph.outputs.contains(&id).then_some(Rank(0));
        let readers = self.readers(id).map(|node| self.owners[node.index()]);
        let mut ranks = Vec::new();
        for rank in readers.chain(sink) {
            if rank != self.home(id) && !ranks.contains(&rank) {
                ranks.push(rank);
            }
        }
        ranks
    }

    /// Cuts every rank's live nodes into groups, ordered by their last node.
    ///
    /// A group ends behind a node with an output that leaves the rank, so that the message waits
    /// for nothing else; and before a node that needs a message which the group does not need
    /// yet, so that the group does not wait for it. Hence only the last node of a group feeds
    /// other ranks, and whoever reads it comes later in the graph: the order returned is one in
    /// which every group's inputs come from groups before it, also across ranks.
    pub fn groups(&self) -> Vec<Group> {
        let mut done = Vec::new();
        let mut open: Vec<Option<Open>> = Vec::new();
        for id in self.graph.node_ids().filter(|id| self.live[id.index()]) {
            let rank = self.owners[id.index()];
            if open.len() <= rank.index() {
                open.resize_with(rank.index() + 1, || None);
            }
            let place = &mut open[rank.index()];
            let node = self.graph.node(id);
            let foreign: BTreeSet<_> = node
                .activations()
                .filter(|&a| self.home(a) != rank)
                .collect();
            if place.as_ref().is_some_and(|o| !foreign.is_subset(&o.needs)) {
                done.extend(place.take().map(|o| o.close(rank)));
            }
            let group = place.get_or_insert_default();
            group.nodes.push(id);
            group.needs.extend(foreign);
            let leaves = node
                .outputs
                .iter()
                .any(|&a| !self.destinations(a).is_empty());
            if leaves {
                done.extend(place.take().map(|o| o.close(rank)));
            }
        }
        for (index, place) in open.into_iter().enumerate() {
            done.extend(place.map(|o| o.close(Rank::new(index))));
        }
        done.sort_by_key(|group| group.nodes.last().copied());
        done
    }
}

/// A group that still grows.
#[derive(Default)]
struct Open {
    nodes: Vec<NodeId>,
    /// What it needs from other ranks.
    needs: BTreeSet<ActivationId>,
}

impl Open {
    fn close(self, rank: Rank) -> Group {
        let nodes = self.nodes;
        Group { rank, nodes }
    }
}
