//! What a plan costs on a platform: the runner's frame protocol replayed on clocks.
//!
//! Reads plans only and knows no strategy by name. Each rank has the clocks that the runner has:
//! one compute thread that does the steps of the oldest frame that can go on, a Run at a time
//! (`compute.rs`), and a main thread that moves messages beside it (`messages.rs`, `replay.rs`).
//! Under a quota CPU time is counted (`bucket.rs`), and hosts may share a core (`core.rs`).
//! Messages share ports, trunks and the radio channel (`flows.rs`). How long a Run takes comes from
//! the platform's tables (`tables.rs`). What the frames in flight hold meanwhile (`live.rs`,
//! `flight.rs`) is a part of a rank's memory (`memory.rs`).
//!
//! What is left out: the handover between the two threads and, without a quota, reading and writing
//! on rank 0 and the sleep of an idle main thread; a profile's α has a part of these in it.

mod binds;
mod bucket;
mod compute;
mod core;
mod energy;
mod error;
mod flight;
mod flows;
mod head;
mod links;
mod live;
mod memory;
mod messages;
mod program;
mod rank;
mod replay;
mod tables;
mod waking;
mod work;

pub use binds::{Bound, Place};
pub use error::CostError;
pub use program::{programs, Op, Programs};
pub use work::{Work, Works};

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::ids::{PieceId, Rank, TransferId};
use crate::plan::{tally_of, Plan};
use crate::platform::Platform;
use crate::stats::Summary;

/// How much to replay.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Frames that count, at least 1.
    pub frames: u64,
    /// Frames before them that do not.
    pub warmup: u64,
    /// Whether to keep every interval.
    pub intervals: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            frames: 10,
            warmup: 0,
            intervals: false,
        }
    }
}

/// What a plan costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// For each frame that counts, in order.
    pub frames: Vec<FrameCost>,
    /// For each rank.
    pub ranks: Vec<RankCost>,
    /// Everything that is in use, the busiest first; never empty.
    pub bounds: Vec<Bound>,
    /// What every rank did when, in the order of their ends; empty where nobody asked.
    pub intervals: Vec<Interval>,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameCost {
    /// When rank 0 opened it, in µs from the first opening.
    pub opened_us: f64,
    /// When its last output landed at rank 0.
    pub landed_us: f64,
}

impl FrameCost {
    /// From opening to last output, in µs.
    pub fn latency_us(&self) -> f64 {
        self.landed_us - self.opened_us
    }
}

/// One rank.
#[derive(Clone, Debug, PartialEq)]
pub struct RankCost {
    /// The host that it runs on.
    pub host: String,
    /// For each frame: running pieces, copying and adding, in µs.
    pub compute_us: Summary,
    /// For each frame: standing before a message that is not here yet.
    pub wait_us: Summary,
    /// For each frame: from the start of each message to its completion, summed.
    pub transfer_us: Summary,
    /// Share of the time that its compute thread works: of the period, or of the one frame.
    pub busy: f64,
    /// Payload that it sends for a frame, mean over the cycle.
    pub sent_bytes: u64,
    /// Payload that it receives for a frame, mean over the cycle.
    pub received_bytes: u64,
    /// Peak resident memory, set-up included.
    pub memory_bytes: u64,
    /// Memory that its host has for it: less what the other ranks there need; none where the
    /// platform does not say.
    pub memory_limit_bytes: Option<u64>,
    /// Its share of its host's joules, for a frame; none where the platform has no watts.
    pub joules: Option<f64>,
}

/// What an interval was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Running a piece.
    Run(PieceId),
    /// Assembling, adding, packing or unpacking.
    Copy,
    /// A message under way, from its start to the sender's buffer being free.
    Send(TransferId),
    /// A message expected and then here.
    Receive(TransferId),
}

/// One interval of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Whose.
    pub rank: Rank,
    /// What.
    pub kind: Kind,
    /// The frame's sequence number.
    pub sequence: u64,
    /// From when, in µs from the first opening.
    pub start_us: f64,
    /// Until when.
    pub end_us: f64,
}

impl Cost {
    /// Latencies in µs.
    pub fn latency_us(&self) -> Summary {
        let latencies: Vec<f64> = self.frames.iter().map(FrameCost::latency_us).collect();
        Summary::of(&latencies).unwrap_or_default()
    }

    /// Mean time between deliveries in µs; none below two frames.
    pub fn period_us(&self) -> Option<f64> {
        let (first, last) = (self.frames.first()?, self.frames.last()?);
        let steps = self.frames.len() - 1;
        (steps > 0).then(|| (last.landed_us - first.landed_us) / steps as f64)
    }

    /// Frames a second: those that count over the time from the first of them to the last output.
    pub fn throughput_fps(&self) -> f64 {
        match (self.frames.first(), self.frames.last()) {
            (Some(first), Some(last)) if last.landed_us > first.opened_us => {
                self.frames.len() as f64 * 1e6 / (last.landed_us - first.opened_us)
            }
            _ => 0.0,
        }
    }

    /// Whether every rank finds the memory that it needs on its host.
    ///
    /// # Errors
    /// `CostError::Memory` of the first rank that does not.
    pub fn fits(&self) -> Result<(), CostError> {
        self.misfits().next().map_or(Ok(()), Err)
    }

    /// A `CostError::Memory` for each rank that needs more memory than its host has for it.
    pub fn misfits(&self) -> impl Iterator<Item = CostError> + '_ {
        self.ranks.iter().enumerate().filter_map(|(index, rank)| {
            let limit = rank.memory_limit_bytes?;
            (rank.memory_bytes > limit).then(|| CostError::Memory {
                rank: Rank::new(index),
                host: rank.host.clone(),
                needed: rank.memory_bytes,
                limit,
            })
        })
    }

    /// Joules of all hosts for a frame; none where one of them is not known.
    pub fn joules(&self) -> Option<f64> {
        self.ranks.iter().map(|rank| rank.joules).sum()
    }
}

/// Predicts what `plan`, which has passed `check`, costs. `places` gives every rank's machine
/// ([`Platform::places`]).
///
/// # Errors
/// `CostError`, one line that names the host where the platform does not say how fast it is.
pub fn cost(
    graph: &Graph,
    plan: &Plan,
    platform: &Platform,
    places: &[usize],
    asked: Asked,
) -> Result<Cost, CostError> {
    let works = Works::of(graph, plan)?;
    let tally = tally_of(graph, plan, &works.0);
    let programs = programs(graph, plan, &works, platform, places)?;
    let mut links = links::Links::of(platform, places)?;
    let own = tally.ranks.iter().enumerate();
    let lives = own.map(|(i, own)| live::live_parts(graph, plan, Rank::new(i), &own.inner_bytes));
    let lives: Vec<_> = lives.collect();
    let replayed = replay::replay(plan, (&programs, &lives), &mut links, asked)?;
    let held = flight::flight_bytes(plan, (&programs, &lives), &mut links, asked)?;
    let machines = platform.machines();
    let turns = u64::from(plan.cycle.max(1));
    let joules = energy::joules(platform, places, &replayed);
    let own = tally.ranks.iter().enumerate();
    let needed: Vec<u64> = own
        .map(|(i, own)| memory::rank_memory(graph, plan, Rank::new(i), (own, held[i])))
        .collect();
    let limits = memory::limits(platform, places, &needed);
    let ranks = tally.ranks.iter().enumerate().map(|(index, own)| {
        let mean = |of: fn(&crate::plan::TurnTally) -> u64| {
            own.turns.iter().map(of).fold(0, u64::saturating_add) / turns
        };
        let times = &replayed.ranks[index];
        let of = |samples: &[f64]| Summary::of(samples).unwrap_or_default();
        RankCost {
            host: machines[places[index]].name.clone(),
            compute_us: of(&times.compute_us),
            wait_us: of(&times.wait_us),
            transfer_us: of(&times.transfer_us),
            busy: replayed.share(times.busy_us),
            sent_bytes: mean(|turn| turn.sent_bytes),
            received_bytes: mean(|turn| turn.received_bytes),
            memory_bytes: needed[index],
            memory_limit_bytes: limits[index],
            joules: joules[index],
        }
    });
    Ok(Cost {
        ranks: ranks.collect(),
        bounds: binds::bounds(&machines, &replayed, &links),
        frames: replayed.frames,
        intervals: replayed.intervals,
    })
}
