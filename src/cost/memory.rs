//! Peak memory of a rank: what its plan's tally says, and what a process has besides.

use crate::graph::{activation_bytes, Graph};
use crate::ids::Rank;
use crate::plan::{Plan, RankTally};
use crate::platform::Platform;

/// A process of autodice-run before its first piece: the program, MPI, tract.
const RUNTIME: u64 = 21_000_000;
/// Rank 0 besides: it reads the model and runs tract's analysis.
const LEAD: u64 = 21_000_000;
/// Frames that rank 0 has decoded ahead, or not yet written.
const DECODED: u64 = 4;

/// Bytes of a rank's process at its peak, set-up included.
///
/// Loading and running do not peak at the same time: what loading takes besides the weights is
/// free again when the first frame opens.
pub fn rank_memory(graph: &Graph, plan: &Plan, rank: Rank, tally: &RankTally) -> u64 {
    let frame = tally.part_bytes.saturating_add(tally.message_bytes);
    let frames = frame.saturating_mul(u64::from(plan.window));
    let running = frames.saturating_add(tally.inner_bytes);
    let own = tally
        .held_bytes
        .saturating_add(running.max(tally.load_bytes));
    let lead = match rank {
        Rank(0) => {
            let inputs = graph
                .inputs
                .iter()
                .map(|&id| activation_bytes(graph, id) as u64);
            LEAD + DECODED * inputs.fold(0, u64::saturating_add)
        }
        _ => 0,
    };
    own.saturating_add(RUNTIME).saturating_add(lead)
}

/// Bytes that each rank may use: its host's memory, shared alike by the ranks there.
pub(super) fn limits(platform: &Platform, places: &[usize]) -> Vec<Option<u64>> {
    let machines = platform.machines();
    let mut ranks_of = vec![0u64; machines.len()];
    places.iter().for_each(|&machine| ranks_of[machine] += 1);
    let memory: Vec<_> = (0..platform.hosts.len())
        .map(|entry| platform.resolved(entry).memory_mib)
        .collect();
    let limit = |&machine: &usize| {
        let mib = memory[machines[machine].entry]?;
        Some(mib.saturating_mul(1 << 20) / ranks_of[machine])
    };
    places.iter().map(limit).collect()
}
