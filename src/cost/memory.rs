//! Peak memory of a rank's process: what a process has anyway, and weights while they are loaded or
//! frames after that, whichever is more.
//!
//! The constants were fitted to VmHWM under Open MPI 4.1.4 and glibc 2.36, over shared memory and
//! in the edge lab; BENCHMARKS.md says how well that does.

use std::collections::{BTreeMap, HashSet};
use std::mem::discriminant;

use super::messages::EAGER;
use crate::graph::{activation_bytes, Graph, Op};
use crate::ids::{NodeId, Rank};
use crate::plan::{transfer_bytes, Piece, Plan, RankTally, Step};
use crate::platform::Platform;

/// A process of autodice-run before its first piece: MPI, and what it has mapped in of the program
/// and of tract whatever the model.
const RUNTIME: u64 = 33_000_000;
/// What is mapped in for another kind of operator.
const KIND: u64 = 600_000;
/// A node of a piece in the engine, and while the piece that it is in is made.
const NODE: u64 = 24_000;
const PLANNED: u64 = 8_000;
/// Rank 0 besides: its threads for reading and writing, and what it keeps of a node of the model.
const LEAD: u64 = 500_000;
const KNOWN: u64 = 8_000;
/// Frames on rank 0 besides a window decoded ahead and a window in flight: one that waits to be
/// ahead, the values that it was made of, and one that is through and not dropped.
const DECODED: u64 = 3;
/// What a heap has in holes between the blocks of frames: one part of these in so many.
const HOLES: u64 = 10;
/// How many times the longest message to each other rank is kept, as far as MPI takes a message
/// over at once: by MPI, and in holes where messages come and go between blocks.
const COPIES: u64 = 3;

/// Bytes of a rank's process at its peak, set-up included; `frames` are those of the parts of all
/// frames in flight.
pub(super) fn rank_memory(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    (tally, frames): (&RankTally, u64),
) -> u64 {
    let window = u64::from(plan.window);
    let pieces = &plan.ranks[rank.index()].pieces;
    let nodes = pieces.iter().map(|piece| piece.nodes.len() as u64);
    let largest = nodes.clone().max().unwrap_or(0);
    let loading = tally.loading_peak.saturating_add(largest * PLANNED);
    let running = [
        frames,
        frames / HOLES,
        landing_bytes(graph, plan, rank).saturating_mul(window),
        COPIES.saturating_mul(taken_over_bytes(graph, plan, rank)),
        tally.held_bytes,
    ];
    let running = running.into_iter().fold(0, u64::saturating_add);
    let lead = match rank {
        Rank(0) => lead_bytes(graph, window),
        _ => 0,
    };
    let own = nodes.sum::<u64>() * NODE + kinds(graph, pieces) * KIND;
    [own, lead, loading.max(running)]
        .into_iter()
        .fold(RUNTIME, u64::saturating_add)
}

/// What rank 0 has and no other rank.
fn lead_bytes(graph: &Graph, window: u64) -> u64 {
    let inputs = graph.inputs.iter();
    let decoded = inputs.map(|&id| activation_bytes(graph, id) as u64);
    let decoded = decoded.fold(0, u64::saturating_add);
    LEAD.saturating_add(graph.nodes.len() as u64 * KNOWN)
        .saturating_add(decoded.saturating_mul(2 * window + DECODED))
}

/// How many kinds of operators pieces have; convolutions in groups are one of their own.
fn kinds(graph: &Graph, pieces: &[Piece]) -> u64 {
    let kind = |&id: &NodeId| {
        let op = &graph.node(id).op;
        let grouped = matches!(op, Op::Conv { groups, .. } if *groups > 1);
        (discriminant(op), grouped)
    };
    let nodes = pieces.iter().flat_map(|piece| &piece.nodes);
    nodes.map(kind).collect::<HashSet<_>>().len() as u64
}

/// Bytes of the longest message of a frame to each other rank, as far as MPI takes them over at
/// once, in the turn that has most of them.
fn taken_over_bytes(graph: &Graph, plan: &Plan, rank: Rank) -> u64 {
    let turns = plan.ranks[rank.index()].turns.iter();
    let of_turn = turns.map(|steps| {
        let mut longest: BTreeMap<Rank, u64> = BTreeMap::new();
        for step in steps {
            if let Step::Send(id) = step {
                let most = longest.entry(plan.transfer(*id).to).or_default();
                *most = transfer_bytes(graph, plan, *id).min(EAGER).max(*most);
            }
        }
        longest.into_values().fold(0, u64::saturating_add)
    });
    of_turn.max().unwrap_or(0)
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
