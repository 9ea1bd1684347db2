//! What is in memory inside of a piece while it runs.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::box_bytes;
use super::{Piece, PieceWork, Plan};
use crate::graph::{fused_behind, Graph, Op};
use crate::ids::{ActivationId, NodeId, Rank};

/// Of what a convolution of one tap reads, the engine packs a copy where that has fewer bytes.
const PACKED: u64 = 4 << 20;

/// Bytes that live at once inside of a piece, at most. Activations that it makes and does not hand
/// out live from their node to the last one that reads them, but for those that a node fused behind
/// theirs makes over in place; while a convolution runs, there is a copy of what it reads as well.
pub(super) fn inner_bytes(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    piece: &Piece,
    work: &PieceWork,
) -> u64 {
    let handed = piece.outputs.iter();
    let handed = handed.map(|&(id, _)| plan.part(rank, id).activation);
    let here = |node: &NodeId| piece.nodes.binary_search(node).is_ok();
    // What a fused node makes lies where its leader's output was.
    let place = |mut a: ActivationId| {
        while let Some(before) = graph.activation(a).producer.filter(here) {
            match fused_behind(graph, graph.node(before)).filter(here) {
                Some(leader) => a = graph.node(leader).outputs[0],
                None => break,
            }
        }
        a
    };
    let own = |a: &ActivationId| graph.activation(*a).producer.as_ref().is_some_and(here);
    let handed: BTreeSet<ActivationId> = handed.map(place).collect();
    let mut last_read: BTreeMap<ActivationId, usize> = BTreeMap::new();
    for (index, &id) in piece.nodes.iter().enumerate() {
        let read = graph.node(id).activations().filter(own);
        last_read.extend(read.map(|a| (place(a), index)));
    }
    let bytes = |a: &ActivationId| {
        let region = work.regions.get(a);
        region.map_or(0, |region| box_bytes(graph, *a, region))
    };
    let (mut now, mut peak) = (0u64, 0u64);
    for (index, &id) in piece.nodes.iter().enumerate() {
        let made = graph.node(id).outputs.iter();
        let inner = |a: &&ActivationId| {
            place(**a) == **a && !handed.contains(*a) && last_read.contains_key(*a)
        };
        let made: u64 = made.filter(inner).map(bytes).sum();
        now = now.saturating_add(made);
        peak = peak.max(now.saturating_add(copied_bytes(graph, id, work)));
        let read: BTreeSet<ActivationId> = graph
            .node(id)
            .activations()
            .filter(own)
            .map(place)
            .collect();
        let done = |a: &&ActivationId| !handed.contains(*a) && last_read[*a] == index;
        let done: u64 = read.iter().filter(done).map(bytes).sum();
        now = now.saturating_sub(done);
    }
    peak
}

/// Bytes of the copy that the engine makes of what a convolution reads: with its padding, where it
/// has any; packed, where it has one tap. A depthwise convolution reads in place.
fn copied_bytes(graph: &Graph, id: NodeId, work: &PieceWork) -> u64 {
    let Op::Conv { windows, groups } = &graph.node(id).op else {
        return 0;
    };
    let input = graph.node(id).activations().next();
    let (Some(input), Some(made)) = (input, work.made(graph, id)) else {
        return 0;
    };
    let read = work.first_read(graph, id, made);
    let whole = graph.whole(input);
    if *groups > 1 && whole.0.get(1).map(|axis| axis.len()) == Some(*groups) {
        return 0;
    }
    let bytes = box_bytes(graph, input, &read);
    let axes = windows.iter().zip(made.0.iter().zip(&whole.0).skip(2));
    let (mut has, mut needs) = (1u64, 1u64);
    for (window, (made, whole)) in axes {
        let need = window.need(*made, whole.len());
        let read = need.interval.len() as u64;
        has = has.saturating_mul(read);
        needs = needs.saturating_mul(read + (need.pad_before + need.pad_after) as u64);
    }
    let taps: usize = windows.iter().map(|window| window.kernel).product();
    match (taps, needs > has) {
        (_, true) => (bytes / has.max(1)).saturating_mul(needs),
        (1, false) if bytes < PACKED => bytes,
        _ => 0,
    }
}
