//! Who makes what of every node's output: what each split is compiled to before steps are laid.
//!
//! A layout says where every value is made in one turn of the cycle, and nothing of messages: what
//! a rank needs and does not make follows from it (`demand`), and so do the steps (`emit`).

use crate::geometry::Region;
use crate::graph::{computable, input_needs, Graph};
use crate::ids::{ActivationId, NodeId, Rank};

/// Who makes a node's outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Making {
    /// Each of these ranks makes its box of the first output, and any other output whole. Boxes
    /// cover the output together; they may overlap, where a rank computes again what another
    /// has. None is empty.
    Boxes(Vec<(Rank, Region)>),
    /// The node's sum over its first input is shared.
    Sum(Summing),
}

/// A sum over boxes of a node's first input, and how it becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summing {
    /// What each rank adds up: at least two boxes, disjoint and none empty, together the whole
    /// input. Each rank makes its summand of the whole output.
    pub members: Vec<(Rank, Region)>,
    /// How the summands are added.
    pub reduction: Reduction,
}

/// How the summands of a node become its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// This rank adds them all, and holds the sum.
    Root(Rank),
    /// A ring of the members: each then holds the whole sum.
    Ring,
    /// Each of these ranks adds up its box of the output, and holds that. The boxes are disjoint,
    /// none is empty, and together they are the whole output.
    Scatter(Vec<(Rank, Region)>),
}

/// One turn of the cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// For every node of the graph who makes it; none where it reaches no output.
    pub nodes: Vec<Option<Making>>,
    /// For every node whether what others need of its output is made and sent first.
    pub eager: Vec<bool>,
}

impl Layout {
    /// Who holds which box of an activation once it is made, in a fixed order.
    pub fn holdings(&self, graph: &Graph, id: ActivationId) -> Vec<(Rank, Region)> {
        let Some(producer) = graph.activation(id).producer else {
            return vec![(Rank(0), graph.whole(id))];
        };
        let first = graph.node(producer).outputs[0] == id;
        let whole = |rank| (rank, graph.whole(id));
        match &self.nodes[producer.index()] {
            None => vec![],
            Some(Making::Boxes(boxes)) if first => boxes.clone(),
            Some(Making::Boxes(boxes)) => boxes.iter().map(|&(rank, _)| whole(rank)).collect(),
            Some(Making::Sum(sum)) => match &sum.reduction {
                Reduction::Root(root) => vec![whole(*root)],
                Reduction::Ring => sum.members.iter().map(|&(rank, _)| whole(rank)).collect(),
                Reduction::Scatter(boxes) => boxes.clone(),
            },
        }
    }

    /// The ranks that compute something of a node.
    pub fn makers(&self, id: NodeId) -> Vec<Rank> {
        match &self.nodes[id.index()] {
            None => vec![],
            Some(Making::Boxes(boxes)) => boxes.iter().map(|&(rank, _)| rank).collect(),
            Some(Making::Sum(sum)) => sum.members.iter().map(|&(rank, _)| rank).collect(),
        }
    }

    /// What each maker of a node needs of the node's activations, repeated where one is read
    /// twice; no box is empty.
    pub fn needs(&self, graph: &Graph, id: NodeId) -> Vec<(Rank, Vec<(ActivationId, Region)>)> {
        let node = graph.node(id);
        let kept = |(_, activation, region): (usize, ActivationId, Region)| {
            (!region.is_empty()).then_some((activation, region))
        };
        match &self.nodes[id.index()] {
            None => vec![],
            Some(Making::Boxes(boxes)) => {
                let of = |(rank, region): &(Rank, Region)| {
                    let made = computable(graph, id, region);
                    let needs = input_needs(graph, id, &made);
                    (*rank, needs.into_iter().filter_map(kept).collect())
                };
                boxes.iter().map(of).collect()
            }
            Some(Making::Sum(sum)) => {
                let whole = graph.whole(node.outputs[0]);
                let of = |(rank, member): &(Rank, Region)| {
                    let mut needs = input_needs(graph, id, &whole);
                    if let Some((0, _, need)) = needs.first_mut() {
                        *need = need.intersect(member);
                    }
                    (*rank, needs.into_iter().filter_map(kept).collect())
                };
                sum.members.iter().map(of).collect()
            }
        }
    }
}

/// A stage whose nodes are to be laid out.
pub struct StageView<'a> {
    /// The model.
    pub graph: &'a Graph,
    /// The stage's nodes that reach an output, in the graph's order.
    pub nodes: Vec<NodeId>,
    /// Its ranks, in the order of the split.
    pub ranks: Vec<Rank>,
    /// The stage's place in the spec, `stages[2]`.
    pub path: String,
}

impl StageView<'_> {
    /// Whether a node belongs to this stage.
    pub fn has(&self, id: NodeId) -> bool {
        self.nodes.binary_search(&id).is_ok()
    }

    /// The node of this stage that makes an activation.
    pub fn producer(&self, id: ActivationId) -> Option<NodeId> {
        let producer = self.graph.activation(id).producer;
        producer.filter(|&node| self.has(node))
    }

    /// The whole outputs of a node on one rank.
    pub fn alone(&self, id: NodeId, rank: Rank) -> Making {
        let output = self.graph.node(id).outputs[0];
        Making::Boxes(vec![(rank, self.graph.whole(output))])
    }
}
