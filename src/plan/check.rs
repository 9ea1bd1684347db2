//! Proving before anything runs that a plan is exact, free of deadlock, and fits.
//!
//! What each list must be is in `lists`, what a piece computes in `pieces`, what a rank holds
//! step by step in `walk`, and that no rank waits for ever in `order`. What cannot be proved is
//! refused.

mod lists;
mod order;
mod pieces;
mod walk;

use thiserror::Error;

use super::{tally_of, Part, PieceWork, Plan};
use crate::graph::Graph;
use crate::ids::{PartId, PieceId, Rank, SumId, TransferId};

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// The plan as a whole.
    #[error("plan: {0}")]
    Plan(String),
    /// A shared sum.
    #[error("plan: sum {sum}: {message}")]
    Sum {
        /// Which.
        sum: SumId,
        /// What is wrong with it.
        message: String,
    },
    /// A part.
    #[error("plan: rank {rank}, part {part}: {message}")]
    Part {
        /// Whose.
        rank: Rank,
        /// Which.
        part: PartId,
        /// What is wrong with it.
        message: String,
    },
    /// A piece.
    #[error("plan: rank {rank}, {piece}: {message}")]
    Piece {
        /// Whose.
        rank: Rank,
        /// Which.
        piece: PieceId,
        /// What is wrong with it.
        message: String,
    },
    /// A message.
    #[error("plan: transfer {transfer}: {message}")]
    Transfer {
        /// Which.
        transfer: TransferId,
        /// What is wrong with it.
        message: String,
    },
    /// A step.
    #[error("plan: rank {rank}, turn {turn}, step {step} ({what}): {message}")]
    Step {
        /// Whose.
        rank: Rank,
        /// Which turn of the cycle.
        turn: usize,
        /// Place in the list of steps.
        step: usize,
        /// The step, in words.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// Outputs that no step hands over.
    #[error("plan: turn {turn}: output '{activation}' is not handed over by rank 0")]
    Missing {
        /// Which turn of the cycle.
        turn: usize,
        /// The output's name.
        activation: String,
    },
    /// Ranks that wait for each other.
    #[error("plan: turn {turn}: no rank can go on: {waiting}")]
    Stuck {
        /// Which turn of the cycle.
        turn: usize,
        /// Which rank waits at which step for what.
        waiting: String,
    },
    /// More memory than a rank has.
    #[error("rank {rank} needs {needed} bytes of memory, its limit is {limit}")]
    Memory {
        /// Which rank.
        rank: Rank,
        /// What `RankTally::memory` says.
        needed: u64,
        /// What it may have.
        limit: u64,
    },
}

/// Proves that `plan` computes every output of `graph` exactly, on every turn, whatever the
/// timing, and that each rank's memory stays below `limits` (bytes; none: no limit).
///
/// `graph` must have passed `check_graph`. The plan is not trusted at all.
///
/// # Errors
/// The first `CheckError` found: what is wrong or cannot be proved, and where.
pub fn check(graph: &Graph, plan: &Plan, limits: Option<&[Option<u64>]>) -> Result<(), CheckError> {
    lists::check(graph, plan)?;
    let works = pieces::check(graph, plan)?;
    for turn in 0..plan.cycle as usize {
        walk::check(graph, plan, turn)?;
        order::check(plan, turn)?;
    }
    limits.map_or(Ok(()), |limits| fits(graph, plan, &works, limits))
}

fn fits(
    graph: &Graph,
    plan: &Plan,
    works: &[Vec<PieceWork>],
    limits: &[Option<u64>],
) -> Result<(), CheckError> {
    let tally = tally_of(graph, plan, works);
    for (index, rank) in tally.ranks.iter().enumerate() {
        let needed = rank.memory(plan.window);
        match limits.get(index).copied().flatten() {
            Some(limit) if needed > limit => {
                let rank = Rank::new(index);
                return Err(CheckError::Memory {
                    rank,
                    needed,
                    limit,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A part and its activation, for messages.
fn named(graph: &Graph, id: PartId, part: &Part) -> String {
    format!("{id} ('{}')", graph.activation(part.activation).name)
}
