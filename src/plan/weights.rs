//! In which order a rank loads its pieces, and which weight slices it needs for them.
//!
//! Pieces over the same slices are loaded one after the other, so that a slice arrives once and
//! its raw elements go soon; the piece with the most work goes first, because the engine packs
//! the slice as that one reads it best, and the others follow.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tally::macs;
use super::{piece_work, Piece, PieceWork, Plan};
use crate::geometry::Region;
use crate::graph::{Graph, NeedError, Op};
use crate::ids::{NodeId, PieceId, Rank, WeightId};

/// How many slices a rank has beyond those of the piece that it loads: they arrive meanwhile.
pub const SLICES_AHEAD: usize = 2;

/// Rows of a packed matrix that lie beside each other.
const PANEL: usize = 32;

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

/// Bytes of the slices as an engine holds them, nearly: each once, whatever the number of pieces.
///
/// A matrix is packed into panels of some rows each, with one element more per row that is read
/// ahead: `(k + 1) · ⌈rows / 32⌉ · 32` elements for rows of `k`. Nothing else of it is kept. What
/// tract leaves as it is (biases, depthwise kernels, factors of a normalisation) is smaller than
/// this says. Panels are as high as an AVX-512 machine has them: measured over the standard
/// architectures, what is held differs from this by a few percent.
pub(super) fn held_bytes(graph: &Graph, loading: &Loading) -> u64 {
    let bytes = loading
        .slices
        .iter()
        .map(|slice| packed_bytes(graph, slice));
    bytes.fold(0, u64::saturating_add)
}

fn packed_bytes(graph: &Graph, (weight, region): &SliceKey) -> u64 {
    let item = graph.weight(*weight).dtype.size();
    let rows = region.0.first().map_or(1, |axis| axis.len());
    let elements = match region.volume().checked_div(rows) {
        Some(depth) if region.rank() > 1 => rows
            .next_multiple_of(PANEL)
            .saturating_mul(depth.saturating_add(1)),
        _ => region.volume(),
    };
    elements.saturating_mul(item) as u64
}

/// Bytes of weights at the worst moment of loading: packed ones so far, raw ones in the engine's
/// hands and on their way. Of a piece's weights the engine first scales the kernels that have a
/// normalisation behind them, all of them before the raw ones go; then it packs one after another,
/// a matrix as it is and a kernel by way of a copy. `receives`: from messages, so that the next
/// slices arrive meanwhile.
pub(super) fn loading_peak(
    graph: &Graph,
    pieces: &[Piece],
    works: &[PieceWork],
    loading: &Loading,
    receives: bool,
) -> u64 {
    let raw_bytes =
        |(weight, region): &SliceKey| (region.volume() * graph.weight(*weight).dtype.size()) as u64;
    let raw: Vec<u64> = loading.slices.iter().map(raw_bytes).collect();
    let places = loading.slices.iter().enumerate();
    let places: BTreeMap<(WeightId, &Region), usize> = places
        .map(|(i, (weight, region))| ((*weight, region), i))
        .collect();
    let mut left = loading.uses.clone();
    let (mut come, mut packed, mut kept, mut peak) = (0, 0u64, 0u64, 0u64);
    for piece in &loading.pieces {
        let (mut own, mut scaled, mut packing, mut new) = (0u64, 0u64, 0u64, 0u64);
        for (node, _, weight, region) in &works[piece.index()].weights {
            let place = places[&(*weight, region)];
            if place == come {
                come += 1;
                kept = kept.saturating_add(raw[place]);
                let size = packed_bytes(graph, &loading.slices[place]);
                new = new.saturating_add(size);
                let copied = if region.rank() > 2 { raw[place] } else { 0 };
                packing = packing.max(size.saturating_add(copied));
            }
            own = own.saturating_add(raw[place]);
            if is_scaled(graph, &pieces[piece.index()], *node) {
                scaled = scaled.saturating_add(raw[place]);
            }
            left[place] -= 1;
            if left[place] == 0 {
                kept -= raw[place];
            }
        }
        let ahead = raw[come..]
            .iter()
            .take(if receives { SLICES_AHEAD } else { 0 });
        let beside = ahead.fold(kept.saturating_add(packed), |sum, raw| {
            sum.saturating_add(*raw)
        });
        let most = beside
            .saturating_add(own)
            .saturating_add(scaled.max(packing));
        peak = peak.max(most);
        packed = packed.saturating_add(new);
    }
    peak
}

/// Whether a convolution's kernel takes in the factors of a normalisation behind it.
fn is_scaled(graph: &Graph, piece: &Piece, id: NodeId) -> bool {
    let node = graph.node(id);
    let mut readers = node
        .outputs
        .iter()
        .flat_map(|&output| &graph.activation(output).consumers);
    matches!(node.op, Op::Conv { .. })
        && readers.any(|reader| {
            matches!(graph.node(*reader).op, Op::PerChannel)
                && piece.nodes.binary_search(reader).is_ok()
        })
}
