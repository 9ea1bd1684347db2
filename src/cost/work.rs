//! What every piece of a plan makes, worked out once for time, memory and bytes.

use super::CostError;
use crate::graph::Graph;
use crate::ids::Rank;
use crate::plan::{piece_work, PieceWork, Plan};

/// One rank's pieces.
pub type Work = Vec<PieceWork>;

/// Every rank's pieces.
pub struct Works(pub Vec<Work>);

impl Works {
    /// Works out all pieces.
    ///
    /// # Errors
    /// `CostError::Need` where a piece's output does not fit its activation.
    pub fn of(graph: &Graph, plan: &Plan) -> Result<Self, CostError> {
        let works = plan.ranks.iter().enumerate().map(|(index, held)| {
            let work = |piece| piece_work(graph, plan, Rank::new(index), piece);
            held.pieces.iter().map(work).collect::<Result<Work, _>>()
        });
        Ok(Self(works.collect::<Result<_, _>>()?))
    }
}
