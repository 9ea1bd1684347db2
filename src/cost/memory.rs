//! Peak memory of a rank's process: what a process has anyway, and weights while they are loaded or
//! frames after that, whichever is more.
//!
//! The constants were fitted to VmHWM under Open MPI 4.1.4 and glibc 2.36, over shared memory and
//! in the edge lab; BENCHMARKS.md says how well that does.

use std::collections::BTreeSet;

use crate::graph::{activation_bytes, Graph};
use crate::ids::{PartId, Rank};
use crate::plan::{transfer_bytes, Plan, RankTally, Step};
use crate::platform::Platform;

/// A process of autodice-run before its first piece: the program, MPI, tract.
const RUNTIME: u64 = 36_500_000;
/// Rank 0 besides: decoding and collecting.
const LEAD: u64 = 4_500_000;
/// A node of a piece in the engine.
const NODE: u64 = 27_000;
/// What a heap has in holes between its blocks while frames run: one part in so many.
const HOLES: u64 = 20;

/// Bytes of a rank's process at its peak, set-up included.
pub fn rank_memory(graph: &Graph, plan: &Plan, rank: Rank, tally: &RankTally) -> u64 {
    let window = u64::from(plan.window);
    let turns = 0..plan.cycle as usize;
    let frames = turns
        .map(|turn| frames_bytes(graph, plan, rank, (turn, &tally.inner_bytes)))
        .max();
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
    let blocks = tally.held_bytes.saturating_add(frames.unwrap_or(0));
    let running = blocks.saturating_add(blocks / HOLES);
    [nodes as u64 * NODE, lead, tally.loading_peak.max(running)]
        .into_iter()
        .fold(RUNTIME, u64::saturating_add)
}

/// Bytes of all frames in flight: a landing for every message of each; one frame where it holds
/// most, with what is inside of the piece that runs there (`inner`, by piece); of another one,
/// parts that are still on their way out.
fn frames_bytes(graph: &Graph, plan: &Plan, rank: Rank, (turn, inner): (usize, &[u64])) -> u64 {
    let held = &plan.ranks[rank.index()];
    let bytes = |id: PartId| {
        let part = &held.parts[id.index()];
        let size = graph.activation(part.activation).dtype.size();
        (part.region.volume() * size) as u64
    };
    let (mut landings, mut sent) = (0u64, BTreeSet::new());
    for step in &held.turns[turn] {
        match step {
            Step::Receive(id) => landings += transfer_bytes(graph, plan, *id),
            Step::Send(id) => {
                let transfer = plan.transfer(*id);
                if held.parts[transfer.from_part.index()].region == transfer.region {
                    sent.insert(transfer.from_part);
                }
            }
            _ => {}
        }
    }
    let mut live = BTreeSet::new();
    let (mut now, mut peak) = (0u64, 0u64);
    for step in &held.turns[turn] {
        let written: Vec<PartId> = match step {
            Step::Input(id) | Step::Assemble { into: id, .. } | Step::Reduce { into: id, .. } => {
                vec![*id]
            }
            Step::Run(id) => {
                let outputs = held.pieces[id.index()].outputs.iter();
                outputs.map(|output| output.0).collect()
            }
            // Whole parts are their landing.
            Step::Receive(id) => {
                let (part, region) = (plan.transfer(*id).to_part, &plan.transfer(*id).region);
                let whole = held.parts[part.index()].region == *region;
                if whole {
                    vec![]
                } else {
                    vec![part]
                }
            }
            Step::Release(id) if !sent.contains(id) && live.remove(id) => {
                now -= bytes(*id);
                continue;
            }
            _ => continue,
        };
        for id in written {
            if live.insert(id) {
                now = now.saturating_add(bytes(id));
            }
        }
        let inside = match step {
            Step::Run(id) => inner[id.index()],
            _ => 0,
        };
        peak = peak.max(now.saturating_add(inside));
    }
    let leaving = sent
        .iter()
        .filter(|id| live.contains(id))
        .map(|&id| bytes(id));
    let others = u64::from(plan.window > 1);
    landings
        .saturating_mul(u64::from(plan.window))
        .saturating_add(peak)
        .saturating_add(leaving.fold(0, u64::saturating_add).saturating_mul(others))
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
