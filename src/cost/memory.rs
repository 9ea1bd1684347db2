//! Peak memory of a rank's process: what a process has anyway, and weights while they are loaded or
//! frames after that, whichever is more.
//!
//! The constants were fitted to VmHWM under Open MPI 4.1.4 and glibc 2.36, over shared memory and
//! in the edge lab; BENCHMARKS.md says how well that does.

use std::collections::BTreeMap;

use super::messages::EAGER;
use crate::graph::{activation_bytes, Graph};
use crate::ids::Rank;
use crate::plan::{transfer_bytes, Plan, RankTally, Step};
use crate::platform::Platform;

/// A process of autodice-run before its first piece: the program, MPI, tract.
const RUNTIME: u64 = 36_000_000;
/// Rank 0 besides: decoding and collecting.
const LEAD: u64 = 4_500_000;
/// A node of a piece in the engine.
const NODE: u64 = 28_000;
/// What a heap has in holes between the blocks of frames: one part of these in so many, and so much
/// where blocks are of many sizes, because the rank has several pieces.
const HOLES: u64 = 32;
const SEVERAL: u64 = 1_000_000;
/// How many copies MPI has of the longest message to each other rank, as far as it takes a message
/// over at once.
const COPIES: u64 = 2;

/// Bytes of a rank's process at its peak, set-up included; `frames` are those of the parts of all
/// frames in flight, as replayed.
pub(super) fn rank_memory(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    (tally, frames): (&RankTally, u64),
) -> u64 {
    let window = u64::from(plan.window);
    let pieces = plan.ranks[rank.index()].pieces.iter();
    let nodes: usize = pieces.map(|piece| piece.nodes.len()).sum();
    let lead = match rank {
        Rank(0) => {
            let inputs = graph
                .inputs
                .iter()
                .map(|&id| activation_bytes(graph, id) as u64);
            let decoded = inputs.fold(0, u64::saturating_add);
            // Frames decoded ahead, and some that are not written yet.
            LEAD.saturating_add(decoded.saturating_mul(2 * window))
        }
        _ => 0,
    };
    let landings = landing_bytes(graph, plan, rank).saturating_mul(window);
    let several = plan.ranks[rank.index()].pieces.len() > 1;
    let running = [
        landings,
        frames.saturating_add(landings) / HOLES,
        COPIES.saturating_mul(taken_over_bytes(graph, plan, rank)),
        if several { SEVERAL } else { 0 },
        tally.held_bytes,
    ];
    let running = running.into_iter().fold(frames, u64::saturating_add);
    [nodes as u64 * NODE, lead, tally.loading_peak.max(running)]
        .into_iter()
        .fold(RUNTIME, u64::saturating_add)
}

/// Bytes of the longest message to each other rank, as far as MPI takes them over at once.
fn taken_over_bytes(graph: &Graph, plan: &Plan, rank: Rank) -> u64 {
    let mut longest: BTreeMap<Rank, u64> = BTreeMap::new();
    for step in plan.ranks[rank.index()].turns.iter().flatten() {
        if let Step::Send(id) = step {
            let most = longest.entry(plan.transfer(*id).to).or_default();
            *most = transfer_bytes(graph, plan, *id).min(EAGER).max(*most);
        }
    }
    longest.into_values().fold(0, u64::saturating_add)
}

/// Bytes of a slot's landings: one for every message of its frame.
fn landing_bytes(graph: &Graph, plan: &Plan, rank: Rank) -> u64 {
    let turns = plan.ranks[rank.index()].turns.iter();
    let of_turn = turns.map(|steps| {
        let received = steps.iter().filter_map(|step| match step {
            Step::Receive(id) => Some(transfer_bytes(graph, plan, *id)),
            _ => None,
        });
        received.fold(0, u64::saturating_add)
    });
    of_turn.max().unwrap_or(0)
}

/// Bytes that each rank may use: its host's memory, less what the other ranks there need.
pub(super) fn limits(platform: &Platform, places: &[usize], needed: &[u64]) -> Vec<Option<u64>> {
    let machines = platform.machines();
    let mut together = vec![0u64; machines.len()];
    for (&machine, &needed) in places.iter().zip(needed) {
        together[machine] = together[machine].saturating_add(needed);
    }
    let memory: Vec<_> = (0..platform.hosts.len())
        .map(|entry| platform.resolved(entry).memory_mib)
        .collect();
    let limit = |(&machine, &needed): (&usize, &u64)| {
        let all = memory[machines[machine].entry]?.saturating_mul(1 << 20);
        Some(all.saturating_sub(together[machine] - needed))
    };
    places.iter().zip(needed).map(limit).collect()
}
