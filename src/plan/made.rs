//! Who makes what of every node: read off a plan, whatever split it was compiled from.

use super::{piece_work, Piece, PieceWork, Plan, Step};
use crate::geometry::Region;
use crate::graph::{input_needs, macs_over, Graph, NeedError};
use crate::ids::{ActivationId, NodeId, Rank};

/// What one run of a piece makes of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Who.
    pub rank: Rank,
    /// The box of the node's first output.
    pub region: Region,
    /// Where the node's sum is shared: the box of its first input that is added up.
    pub summand: Option<Region>,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// For every turn of a plan's cycle and every node who makes what of it.
///
/// A rank that runs a node in several pieces is there once for each; their boxes overlap where a
/// piece computes again what another has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Makers {
    turns: Vec<Vec<Vec<Made>>>,
}

impl Makers {
    /// Reads a plan that has passed `check`.
    ///
    /// # Errors
    /// `NeedError` where a piece's output does not fit its activation.
    pub fn of(graph: &Graph, plan: &Plan) -> Result<Self, NeedError> {
        let mut turns = vec![vec![vec![]; graph.nodes.len()]; plan.cycle as usize];
        for (index, held) in plan.ranks.iter().enumerate() {
            let rank = Rank::new(index);
            let works: Vec<Vec<(NodeId, Made)>> = held
                .pieces
                .iter()
                .map(|piece| {
                    let work = piece_work(graph, plan, rank, piece)?;
                    Ok(made_by(graph, rank, piece, &work))
                })
                .collect::<Result<_, NeedError>>()?;
            for (steps, nodes) in held.turns.iter().zip(&mut turns) {
                for step in steps {
                    let Step::Run(piece) = step else { continue };
                    for (id, made) in &works[piece.index()] {
                        nodes[id.index()].push(made.clone());
                    }
                }
            }
        }
        Ok(Self { turns })
    }

    /// How many turns the plan's cycle has; at least 1.
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    /// What is made of a node in one turn, in the order of the ranks, of each in that of its
    /// steps. Nothing where no output needs the node.
    pub fn of_node(&self, turn: usize, id: NodeId) -> &[Made] {
        &self.turns[turn][id.index()]
    }
}

impl Made {
    /// What was read to make this of node `id`: activations with their boxes; none is empty.
    pub fn reads(&self, graph: &Graph, id: NodeId) -> Vec<(ActivationId, Region)> {
        let needs = input_needs(graph, id, &self.region).into_iter();
        let read = needs.map(|(index, activation, need)| match &self.summand {
            Some(summand) if index == 0 => (activation, need.intersect(summand)),
            _ => (activation, need),
        });
        read.filter(|(_, need)| !need.is_empty()).collect()
    }
}

fn made_by(graph: &Graph, rank: Rank, piece: &Piece, work: &PieceWork) -> Vec<(NodeId, Made)> {
    let nodes = piece.nodes.iter().filter_map(|&id| {
        let region = work.made(graph, id)?;
        let read = work.first_read(graph, id, region);
        let macs = macs_over(graph, id, region, &read);
        let summand = work.summands.get(&id).map(|(summand, _)| summand.clone());
        let region = region.clone();
        let made = Made {
            rank,
            region,
            summand,
            macs,
        };
        Some((id, made))
    });
    nodes.collect()
}
