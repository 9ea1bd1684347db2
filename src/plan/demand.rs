//! What every rank needs of what the others make, and what is made for nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Making, Reduction};
use crate::geometry::Region;
use crate::graph::Graph;
use crate::ids::{ActivationId, NodeId, Rank};

/// What follows from a layout, before any step is laid.
pub struct Demand {
    /// For every node the makers that somebody needs.
    pub makers: Vec<Vec<Rank>>,
    /// For every activation and rank the box that its nodes there read of it, and the sink on
    /// rank 0: the hull over them all.
    pub needs: BTreeMap<(ActivationId, Rank), Region>,
    /// The boxes that must travel: exactly what each receiver lacks, each once.
    pub moves: BTreeMap<ActivationId, Vec<Move>>,
}

/// A box that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who has it.
    pub from: Rank,
    /// Who lacks it.
    pub to: Rank,
    /// Which box of the activation.
    pub region: Region,
}

impl Demand {
    /// Walks from the outputs backwards: when a node's turn comes, everything that its output is
    /// needed for is known.
    pub fn of(graph: &Graph, layout: &Layout) -> Self {
        let mut demand = Self {
            makers: vec![vec![]; graph.nodes.len()],
            needs: BTreeMap::new(),
            moves: BTreeMap::new(),
        };
        for &output in &graph.outputs {
            demand.need(output, Rank(0), &graph.whole(output));
        }
        let nodes: Vec<NodeId> = graph.node_ids().collect();
        for &id in nodes.iter().rev() {
            let mut used = BTreeSet::new();
            for &output in &graph.node(id).outputs {
                used.extend(demand.supply(graph, layout, output));
            }
            let makers = makers(layout, id, &used);
            for (rank, needs) in layout.needs(graph, id) {
                if makers.contains(&rank) {
                    for (activation, region) in needs {
                        demand.need(activation, rank, &region);
                    }
                }
            }
            demand.makers[id.index()] = makers;
        }
        for &input in &graph.inputs {
            demand.supply(graph, layout, input);
        }
        demand
    }

    fn need(&mut self, activation: ActivationId, rank: Rank, region: &Region) {
        let place = self.needs.entry((activation, rank));
        let need = place.or_insert_with(|| region.clone());
        *need = need.hull(region);
    }

    /// Settles who sends what of an activation; returns who holds something that is read.
    fn supply(&mut self, graph: &Graph, layout: &Layout, id: ActivationId) -> BTreeSet<Rank> {
        let holdings = layout.holdings(graph, id);
        let (mut used, mut moves) = (BTreeSet::new(), Vec::new());
        let needs = self.needs.range((id, Rank(0))..=(id, Rank(u32::MAX)));
        for (&(_, to), need) in needs {
            let own: Vec<&Region> = held_by(&holdings, to).collect();
            if own.iter().any(|held| !held.intersect(need).is_empty()) {
                used.insert(to);
            }
            let mut wanted = need.minus_all(own);
            for (from, held) in &holdings {
                let mut left = Vec::new();
                for region in &wanted {
                    let common = region.intersect(held);
                    if common.is_empty() {
                        left.push(region.clone());
                        continue;
                    }
                    left.extend(region.minus(held));
                    let (from, region) = (*from, common);
                    used.insert(from);
                    moves.push(Move { from, to, region });
                }
                wanted = left;
            }
            assert!(wanted.is_empty(), "a layout makes every box of {id}");
        }
        if !moves.is_empty() {
            self.moves.insert(id, moves);
        }
        used
    }

    /// What a rank is sent of an activation.
    pub fn arriving(&self, id: ActivationId, to: Rank) -> impl Iterator<Item = &Move> {
        let moves = self.moves.get(&id).map_or(&[][..], Vec::as_slice);
        moves.iter().filter(move |m| m.to == to)
    }

    /// What a rank sends of an activation.
    pub fn leaving(&self, id: ActivationId, from: Rank) -> impl Iterator<Item = &Move> {
        let moves = self.moves.get(&id).map_or(&[][..], Vec::as_slice);
        moves.iter().filter(move |m| m.from == from)
    }
}

/// What a rank holds of an activation.
pub fn held_by(holdings: &[(Rank, Region)], rank: Rank) -> impl Iterator<Item = &Region> {
    let own = holdings.iter().filter(move |(holder, _)| *holder == rank);
    own.map(|(_, region)| region)
}

/// Who must compute a node so that those who hold its output and are read have it.
fn makers(layout: &Layout, id: NodeId, used: &BTreeSet<Rank>) -> Vec<Rank> {
    let makers = layout.makers(id);
    match &layout.nodes[id.index()] {
        Some(Making::Sum(sum)) if !used.is_empty() => {
            debug_assert!(!matches!(&sum.reduction, Reduction::Root(root) if !used.contains(root)));
            makers
        }
        _ => makers.into_iter().filter(|r| used.contains(r)).collect(),
    }
}
