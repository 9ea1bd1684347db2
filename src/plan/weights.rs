//! In which order a rank loads its pieces, and which weight slices it needs for them.
//!
//! Pieces over the same slices are loaded one after the other, so that a slice arrives once and
//! its raw elements go soon; the piece with the most work goes first, because the engine packs
//! the slice as that one reads it best, and the others follow.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tally::macs;
use super::{piece_work, PieceWork, Plan};
use crate::geometry::Region;
use crate::graph::{Graph, NeedError};
use crate::ids::{PieceId, Rank, WeightId};

/// How many slices a rank has beyond those of the piece that it loads: they arrive meanwhile.
pub const SLICES_AHEAD: usize = 2;

/// A weight's slice: which weight, and which box of it.
pub type SliceKey = (WeightId, Region);

/// What a rank loads, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Every piece of the rank, once.
    pub pieces: Vec<PieceId>,
    /// Every slice that they use, once, by first use.
    pub slices: Vec<SliceKey>,
    /// How often each of the slices is asked for.
    pub uses: Vec<usize>,
}

/// Works out what `rank` loads.
///
/// # Errors
/// `NeedError` where a piece's output does not fit its activation.
pub fn loading(graph: &Graph, plan: &Plan, rank: Rank) -> Result<Loading, NeedError> {
    let pieces = &plan.ranks[rank.index()].pieces;
    let works = pieces.iter().map(|p| piece_work(graph, plan, rank, p));
    let works = works.collect::<Result<Vec<_>, _>>()?;
    Ok(loading_of(graph, plan, rank, &works))
}

/// Works out what `rank` loads, its pieces' work being known.
pub(super) fn loading_of(graph: &Graph, plan: &Plan, rank: Rank, works: &[PieceWork]) -> Loading {
    let held = &plan.ranks[rank.index()].pieces;
    let mut owners: BTreeMap<(WeightId, &Region), usize> = BTreeMap::new();
    let mut order = Vec::with_capacity(works.len());
    for (index, work) in works.iter().enumerate() {
        let mut group = index;
        for (_, _, weight, region) in &work.weights {
            group = group.min(*owners.entry((*weight, region)).or_insert(index));
        }
        let work = macs(graph, &held[index], work);
        order.push((group, Reverse(work), index));
    }
    order.sort_unstable();
    let mut loading = Loading::default();
    let mut known: BTreeMap<(WeightId, &Region), usize> = BTreeMap::new();
    for (.., index) in order {
        loading.pieces.push(PieceId::new(index));
        for (_, _, weight, region) in &works[index].weights {
            let next = loading.slices.len();
            let place = *known.entry((*weight, region)).or_insert(next);
            if place == next {
                loading.slices.push((*weight, region.clone()));
                loading.uses.push(0);
            }
            loading.uses[place] += 1;
        }
    }
    loading
}

/// Bytes of raw slices that are in memory at once while they are loaded, at most: those of the
/// piece in the engine's hands, those that have come and a later piece asks for too, and those
/// that arrive meanwhile.
pub(super) fn raw_bytes(graph: &Graph, works: &[PieceWork], loading: &Loading) -> u64 {
    let bytes: Vec<u64> = loading
        .slices
        .iter()
        .map(|(weight, region)| (region.volume() * graph.weight(*weight).dtype.size()) as u64)
        .collect();
    let places = loading.slices.iter().enumerate();
    let places: BTreeMap<(WeightId, &Region), usize> = places
        .map(|(i, (weight, region))| ((*weight, region), i))
        .collect();
    let mut left = loading.uses.clone();
    let (mut come, mut kept, mut peak) = (0, 0u64, 0u64);
    for piece in &loading.pieces {
        let asked = works[piece.index()].weights.iter();
        let asked = asked.map(|(_, _, weight, region)| places[&(*weight, region)]);
        let mut own = 0u64;
        for place in asked {
            if place == come {
                come += 1;
                kept = kept.saturating_add(bytes[place]);
            }
            own = own.saturating_add(bytes[place]);
            left[place] -= 1;
            if left[place] == 0 {
                kept -= bytes[place];
            }
        }
        let ahead = bytes[come..].iter().take(SLICES_AHEAD).copied();
        peak = peak.max(ahead.fold(own.saturating_add(kept), u64::saturating_add));
    }
    peak
}
