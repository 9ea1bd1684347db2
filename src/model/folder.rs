//! Sub-models on disk: a folder for each rank.

use std::path::Path;

use anyhow::{bail, Result};

use crate::graph::{Graph, SubModel};
use crate::ids::{PieceId, Rank};
use crate::plan::Plan;

/// A rank's folder.
pub struct Folder {
    graph: Graph,
    plan: Plan,
}

impl Folder {
    /// Opens a rank's folder.
    ///
    /// # Errors
    /// Always, until folders land.
    pub fn open(dir: &Path, rank: Rank) -> Result<Self> {
        bail!("{}: rank-{rank} cannot be read", dir.display())
    }

    /// The model's facts.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One piece.
    ///
    /// # Errors
    /// Always, until folders land.
    pub fn sub_model(&self, piece: PieceId) -> Result<SubModel> {
        bail!("{piece} cannot be read")
    }
}

/// Writes every rank's folder.
///
/// # Errors
/// Always, until folders land.
pub fn write(
    dir: &Path,
    _spec: &str,
    _graph: &Graph,
    _plan: &Plan,
    _weights: &dyn super::Weights,
    _replace: bool,
) -> Result<()> {
    bail!("{}: cannot be written", dir.display())
}
