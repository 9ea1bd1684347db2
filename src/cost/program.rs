//! A rank's steps with their times: what the replay walks.

use std::collections::{BTreeMap, HashSet};

use super::tables::{Speedometer, Units};
use super::waking::Waking;
use super::{CostError, Works};
use crate::geometry::Region;
use crate::graph::{activation_bytes, Graph};
use crate::ids::{PartId, PieceId, Rank, TransferId};
use crate::plan::{transfer_bytes, Plan, RankPlan, Step};
use crate::platform::{Host, Platform, Quota, LOOK_BESIDE_US, LOOK_US, SHORT_BYTES};

/// µs of CPU for a frame with little in it: rank 0's reading and writing threads wake up, call and
/// sort scores. As measured on hosts of 0.2 core.
const FRAME_US: f64 = 150.0;
/// How often the bytes of an input are read or written until it is a tensor: taken from a file
/// into new memory, then copied into a tensor's.
const FRAME_MOVES: u64 = 6;

/// How often the bytes of a box are read or written that is copied out of a part, into memory that
/// is zeroed before, and into a part; what that part takes to be made comes on top.
const BOX_OUT: u64 = 3;
const BOX_IN: u64 = 2;

/// A step as the clocks see it. Times are µs of the compute thread; none where the main thread
/// does the step in no time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Waits for a message, then copies its box into a larger part.
    Receive(TransferId, Option<f64>),
    /// Runs a piece.
    Run(PieceId, f64),
    /// Assembles or adds.
    Copy(f64),
    /// Copies a box of a larger part, or hands a part over that was written by boxes; then the
    /// message starts.
    Send(TransferId, Option<f64>),
    /// A model output.
    Output,
}

/// What all ranks do, with times.
#[derive(Clone)]
pub struct Programs {
    /// For each rank, for each turn.
    pub ops: Vec<Vec<Vec<Op>>>,
    /// Payload of each transfer.
    pub bytes: Vec<u64>,
    /// For each rank: main thread's µs of a message, and for each byte of it.
    pub message_us: Vec<(f64, f64)>,
    /// For each rank: µs of a look at messages, and of one beside a Run.
    pub looks_us: Vec<(f64, f64)>,
    /// For each rank: what a wait makes the steps behind it take longer.
    pub waking: Vec<Waking>,
    /// For each rank: µs that a Run loses to each byte of its messages that moves beside it, of the
    /// first `SHORT_BYTES` of a message and of the rest.
    pub beside_us: Vec<(f64, f64)>,
    /// For each rank: its host's quota of CPU time, and the compute threads that share it.
    pub quotas: Vec<(Option<Quota>, usize)>,
    /// Ranks that compute on one core, each rank once.
    pub cores: Vec<Vec<usize>>,
    /// For each rank: which of them is its.
    pub core_of: Vec<usize>,
    /// Under a quota, µs of CPU of rank 0's other threads for each frame.
    pub frame_us: f64,
    /// For each rank: whether messages take their time from Runs.
    pub one_thread: Vec<bool>,
}

/// Puts times to a plan's steps.
///
/// # Errors
/// `CostError::Unknown` where the platform does not say how fast a host is.
pub fn programs(
    graph: &Graph,
    plan: &Plan,
    works: &Works,
    platform: &Platform,
    places: &[usize],
) -> Result<Programs, CostError> {
    let units = Units::of(graph);
    let machines = platform.machines();
    let entries: Vec<usize> = places.iter().map(|&m| machines[m].entry).collect();
    let hosts: BTreeMap<usize, Host> = entries
        .iter()
        .map(|&entry| (entry, platform.resolved(entry)))
        .collect();
    let speeds: BTreeMap<usize, Speedometer> = hosts
        .iter()
        .map(|(&entry, host)| (entry, Speedometer::of(host, &units)))
        .collect();
    let mut ops = Vec::with_capacity(plan.ranks.len());
    for (index, held) in plan.ranks.iter().enumerate() {
        let speed = &speeds[&entries[index]];
        let mut runs = Vec::with_capacity(held.pieces.len());
        for (piece, work) in held.pieces.iter().zip(&works.0[index]) {
            let boxes = boxed(graph, held, piece);
            let us = speed.run_us(graph, &units, &piece.nodes, work)?;
            runs.push(us + speed.bytes_us(boxes)?);
        }
        let walk = |turn: &Vec<Step>| {
            Walk {
                graph,
                plan,
                rank: Rank::new(index),
                speed,
                runs: &runs,
                open: HashSet::new(),
                written: HashSet::new(),
            }
            .ops(turn)
        };
        ops.push(held.turns.iter().map(walk).collect::<Result<_, _>>()?);
    }
    let transfers = (0..plan.transfers.len()).map(TransferId::new);
    let of_ranks: Vec<&Host> = entries.iter().map(|entry| &hosts[entry]).collect();
    let (cores, core_of) = cores(&of_ranks);
    Ok(Programs {
        ops,
        bytes: transfers
            .map(|id| transfer_bytes(graph, plan, id))
            .collect(),
        message_us: each(&of_ranks, message_us),
        looks_us: each(&of_ranks, looks_us),
        waking: each(&of_ranks, Waking::of),
        beside_us: each(&of_ranks, beside_us),
        quotas: each(&of_ranks, |host| (host.quota, threads(host))),
        cores,
        core_of,
        frame_us: frame_us(graph, &speeds[&entries[0]]),
        one_thread: each(&of_ranks, |host| host.threads.unwrap_or(1) == 1),
    })
}

fn each<T>(hosts: &[&Host], of: impl Fn(&Host) -> T) -> Vec<T> {
    hosts.iter().map(|host| of(host)).collect()
}

fn message_us(host: &Host) -> (f64, f64) {
    let speed = host.speed;
    let each_byte = speed.message_us_per_mb.unwrap_or(0.0) / 1e6;
    (speed.message_us.unwrap_or(0.0), each_byte)
}

fn beside_us(host: &Host) -> (f64, f64) {
    let speed = host.speed;
    let long = speed.beside_us_per_mb.unwrap_or(0.0);
    let short = speed.beside_short_us_per_mb.unwrap_or(long);
    (short / 1e6, long / 1e6)
}

fn looks_us(host: &Host) -> (f64, f64) {
    let speed = host.speed;
    let look_us = speed.look_us.unwrap_or(LOOK_US);
    (look_us, speed.look_beside_us.unwrap_or(LOOK_BESIDE_US))
}

/// Compute threads of all its ranks.
fn threads(host: &Host) -> usize {
    host.slots.unwrap_or(1) * host.threads.unwrap_or(1)
}

impl Programs {
    /// µs that a rank's Run loses to each byte of a message of so many that moves beside it.
    pub(super) fn beside_byte_us(&self, rank: usize, bytes: u64) -> f64 {
        let (short, long) = self.beside_us[rank];
        let first = bytes.min(SHORT_BYTES);
        (first as f64 * short + (bytes - first) as f64 * long) / bytes.max(1) as f64
    }

    /// The ranks on a rank's core, itself among them.
    pub(super) fn mates(&self, rank: usize) -> &[usize] {
        &self.cores[self.core_of[rank]]
    }
}

/// Who computes on one core: where a host has one compute thread, and times are CPU time.
fn cores(hosts: &[&Host]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cores: Vec<Vec<usize>> = vec![];
    let mut core_of = vec![];
    for (rank, host) in hosts.iter().enumerate() {
        let name = host
            .core
            .as_deref()
            .filter(|_| threads(host) == 1 && host.quota.is_some());
        let own = cores.len();
        let core = name.map_or(own, |name| *named.entry(name).or_insert(own));
        if core == own {
            cores.push(vec![]);
        }
        cores[core].push(rank);
        core_of.push(core);
    }
    (cores, core_of)
}

/// µs of CPU of rank 0's other threads for each frame: one reads it, one writes its line.
fn frame_us(graph: &Graph, speed: &Speedometer) -> f64 {
    let inputs = graph.inputs.iter();
    let bytes = inputs.map(|&id| activation_bytes(graph, id) as u64);
    let moved = FRAME_MOVES.saturating_mul(bytes.fold(0, u64::saturating_add));
    FRAME_US + speed.bytes_us(moved).unwrap_or(0.0)
}

/// Bytes read and written because a piece reads or writes boxes of larger parts.
fn boxed(graph: &Graph, held: &RankPlan, piece: &crate::plan::Piece) -> u64 {
    let moved = |ends: &[(PartId, Region)], times: u64| {
        let boxes = ends.iter().map(|(id, region)| {
            let part = &held.parts[id.index()];
            let bytes = region.volume() * graph.activation(part.activation).dtype.size();
            match part.region == *region {
                true => 0,
                false => times.saturating_mul(bytes as u64),
            }
        });
        boxes.fold(0, u64::saturating_add)
    };
    moved(&piece.inputs, BOX_OUT).saturating_add(moved(&piece.outputs, BOX_IN))
}

/// Walks the steps of one turn and knows which parts are written by boxes, as the runner's store
/// does.
struct Walk<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    rank: Rank,
    speed: &'a Speedometer<'a>,
    runs: &'a [f64],
    /// Written by boxes and not yet read whole.
    open: HashSet<PartId>,
    /// Written at all.
    written: HashSet<PartId>,
}

impl Walk<'_> {
    fn ops(mut self, steps: &[Step]) -> Result<Vec<Op>, CostError> {
        let mut ops = Vec::with_capacity(steps.len());
        for step in steps {
            ops.extend(self.op(step)?);
        }
        Ok(ops)
    }

    fn op(&mut self, step: &Step) -> Result<Option<Op>, CostError> {
        let held = &self.plan.ranks[self.rank.index()];
        Ok(Some(match step {
            Step::Input(_) | Step::Release(_) => return Ok(None),
            Step::Output(id) => {
                self.open.remove(id);
                Op::Output
            }
            Step::Run(id) => {
                let mut us = self.runs[id.index()];
                for (part, region) in &held.pieces[id.index()].inputs {
                    if held.parts[part.index()].region == *region {
                        self.open.remove(part);
                    }
                }
                for (part, region) in &held.pieces[id.index()].outputs {
                    if held.parts[part.index()].region != *region {
                        us += self.box_into(*part)?;
                    }
                }
                Op::Run(*id, us)
            }
            Step::Assemble { from, into } => {
                let to = &held.parts[into.index()];
                let mut bytes = 0;
                for part in from {
                    let common = held.parts[part.index()].region.intersect(&to.region);
                    bytes += BOX_IN * self.bytes(*into, common.volume());
                    self.open.remove(part);
                }
                Op::Copy(self.speed.bytes_us(bytes)? + self.box_into(*into)?)
            }
            Step::Reduce { from, into, .. } => {
                let whole = held.parts[into.index()].region.volume();
                // Each addition reads two and writes one; boxes are copied out before.
                let boxes = from.iter().filter(|part| {
                    held.parts[part.index()].region != held.parts[into.index()].region
                });
                let added = 3 * from.len().saturating_sub(1) as u64;
                let times = BOX_OUT + added + BOX_OUT * boxes.count() as u64;
                Op::Copy(self.speed.bytes_us(self.bytes(*into, whole) * times)?)
            }
            Step::Receive(id) => {
                let transfer = self.plan.transfer(*id);
                let part = transfer.to_part;
                match held.parts[part.index()].region == transfer.region {
                    true => Op::Receive(*id, None),
                    false => {
                        let bytes = BOX_IN * self.bytes(part, transfer.region.volume());
                        let us = self.speed.bytes_us(bytes)? + self.box_into(part)?;
                        Op::Receive(*id, Some(us))
                    }
                }
            }
            Step::Send(id) => {
                let transfer = self.plan.transfer(*id);
                let part = transfer.from_part;
                let whole = held.parts[part.index()].region == transfer.region;
                let open = self.open.contains(&part);
                if whole {
                    self.open.remove(&part);
                }
                match (whole, open) {
                    (true, false) => Op::Send(*id, None),
                    (true, true) => Op::Send(*id, Some(0.0)),
                    _ => {
                        let bytes = BOX_OUT * self.bytes(part, transfer.region.volume());
                        Op::Send(*id, Some(self.speed.bytes_us(bytes)?))
                    }
                }
            }
        }))
    }

    fn bytes(&self, part: PartId, elements: usize) -> u64 {
        let activation = self.plan.part(self.rank, part).activation;
        (elements * self.graph.activation(activation).dtype.size()) as u64
    }

    /// µs besides the copy itself of a box written into a part: the first one zeroes the part.
    fn box_into(&mut self, part: PartId) -> Result<f64, CostError> {
        self.open.insert(part);
        match self.written.insert(part) {
            true => {
                let whole = self.plan.part(self.rank, part).region.volume();
                self.speed.bytes_us(self.bytes(part, whole))
            }
            false => Ok(0.0),
        }
    }
}
