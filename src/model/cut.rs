//! Cutting a piece out of the model: ONNX over any regions.
//!
//! A draft of the piece is made first, of names and regions only; the weights' data is put beside
//! it afterwards, from a model file, a folder or messages. What a piece computes is worked out by
//! `plan::piece_work` alone, so that deployment, `check` and the cutter agree.

mod conv;
mod draft;
mod nodes;
mod padding;
mod pool;
mod resize;
mod tensors;

use std::sync::Arc;

use anyhow::{Context, Result};
use prost::Message;

use super::Weights;
use crate::geometry::Region;
use crate::graph::{Graph, SubModel, Value};
use crate::ids::{PieceId, Rank, WeightId};
use crate::plan::Plan;

pub(super) use draft::{draft, title, Draft};

/// Cuts a piece of `rank` out of the model. Inputs and outputs are in the piece's order; each has
/// exactly the region that the piece lists for it.
///
/// # Errors
/// One line that names the rank, the piece and the node, for a piece that cannot be made; and
/// what `weights` says.
pub fn cut(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    piece: PieceId,
    weights: &dyn Weights,
) -> Result<SubModel> {
    let mut take = |weight, region: &Region| Ok(Arc::new(weights.slice(weight, region)?));
    cut_with(graph, plan, rank, piece, &mut take)
}

/// Like `cut`, with each weight's slice from `take`, which is called exactly once for each entry
/// of `plan::piece_work(…).weights`, in that order.
///
/// # Errors
/// As `cut`, and where a slice has not the type, shape and length asked for.
pub fn cut_with(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    piece: PieceId,
    take: &mut dyn FnMut(WeightId, &Region) -> Result<Arc<Value>>,
) -> Result<SubModel> {
    let draft = draft(graph, plan, rank, piece)?;
    let mut weights = Vec::with_capacity(draft.weights.len());
    for (weight, region) in &draft.asked {
        let value = take(*weight, region)?;
        check_slice(graph, *weight, region, &value).with_context(|| draft.name.clone())?;
        let wanted = draft.weights.iter().enumerate();
        let wanted = wanted.filter(|(_, slice)| slice.weight == *weight && slice.region == *region);
        // A slice that two nodes use is kept once; a bias that stays out is dropped.
        if let Some((index, _)) = wanted.into_iter().next() {
            if weights.iter().all(|&(known, _)| known != index) {
                weights.push((index, value));
            }
        }
    }
    let name = |index: usize| draft.weights[index].name.clone();
    Ok(SubModel {
        name: draft.name.clone(),
        onnx: draft.model.encode_to_vec(),
        weights: weights
            .into_iter()
            .map(|(i, value)| (name(i), value))
            .collect(),
    })
}

/// Checks that a slice is what was asked for.
pub(super) fn check_slice(
    graph: &Graph,
    weight: WeightId,
    region: &Region,
    value: &Value,
) -> Result<()> {
    let known = graph.weight(weight);
    let bytes = region.volume() * known.dtype.size();
    anyhow::ensure!(
        value.dtype == known.dtype && value.shape == region.shape() && value.bytes.len() == bytes,
        "weight {} {region}: found {} {:?} of {} bytes, expected {} {:?} of {bytes}",
        known.name,
        value.dtype,
        value.shape,
        value.bytes.len(),
        known.dtype,
        region.shape()
    );
    Ok(())
}
