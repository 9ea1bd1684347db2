//! Bytes of a frame's parts on one rank, step by step.
//!
//! How many frames a rank has begun at once, and where each of them stands, only the replay knows:
//! where halos come late a rank goes on with the next frame, and keeps what it has of this one.

use std::collections::BTreeSet;

use crate::geometry::Region;
use crate::graph::Graph;
use crate::ids::{PartId, Rank};
use crate::plan::{Plan, RankPlan, Step};

/// The bytes of one turn. Landings are not among them: a rank has those of all slots from the
/// beginning, and a part that is received whole is its landing. Nor are inputs, which rank 0 has
/// decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Before each `Op`, and after the last one: a part that is sent whole may be on its way until
    /// the frame closes.
    pub rest: Vec<u64>,
    /// At most while an `Op` is done: with what it writes, the boxes that it copies, and what is
    /// inside of the piece that runs.
    pub most: u64,
}

/// The bytes of every turn of a rank; `inner` are those inside of each of its pieces.
pub(super) fn live_parts(graph: &Graph, plan: &Plan, rank: Rank, inner: &[u64]) -> Vec<Live> {
    let held = &plan.ranks[rank.index()];
    let turns = held.turns.iter();
    turns
        .map(|steps| of_turn(graph, plan, (held, steps), inner))
        .collect()
}

fn of_turn(graph: &Graph, plan: &Plan, (held, steps): (&RankPlan, &[Step]), inner: &[u64]) -> Live {
    let bytes = |id: PartId| {
        let part = &held.parts[id.index()];
        let size = graph.activation(part.activation).dtype.size();
        (part.region.volume() * size) as u64
    };
    let sent: BTreeSet<PartId> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Send(id) => Some(plan.transfer(*id)),
            _ => None,
        })
        .filter(|transfer| held.parts[transfer.from_part.index()].region == transfer.region)
        .map(|transfer| transfer.from_part)
        .collect();
    let (mut live, mut now) = (BTreeSet::new(), 0u64);
    let (mut rest, mut most) = (vec![], 0);
    for step in steps {
        let before = now;
        if let Step::Release(id) = step {
            if !sent.contains(id) && live.remove(id) {
                now -= bytes(*id);
            }
            continue;
        }
        let mut opened = 0u64;
        for id in written(plan, held, step) {
            if live.insert(id) {
                now = now.saturating_add(bytes(id));
                if is_boxed(held, step, id) {
                    opened = opened.saturating_add(bytes(id));
                }
            }
        }
        if let Step::Input(_) = step {
            continue;
        }
        let inside = match step {
            Step::Run(id) => inner[id.index()],
            _ => 0,
        };
        // A part that is written by boxes is made when the Run is over.
        let beside = boxes(graph, plan, held, step);
        rest.push(before);
        let work = (now - opened).saturating_add(beside);
        most = work.saturating_add(inside.max(opened)).max(most);
    }
    rest.push(now);
    Live { rest, most }
}

/// Whether a step writes a part by a box.
fn is_boxed(held: &RankPlan, step: &Step, id: PartId) -> bool {
    let Step::Run(piece) = step else {
        return false;
    };
    let outputs = &held.pieces[piece.index()].outputs;
    let whole = &held.parts[id.index()].region;
    outputs
        .iter()
        .any(|(part, region)| *part == id && region != whole)
}

/// Bytes of the boxes that a step copies out of parts, and of those that it makes and then copies
/// into parts.
fn boxes(graph: &Graph, plan: &Plan, held: &RankPlan, step: &Step) -> u64 {
    let bytes = |id: PartId, region: &Region| {
        let part = &held.parts[id.index()];
        let size = graph.activation(part.activation).dtype.size();
        match *region == part.region {
            true => 0,
            false => (region.volume() * size) as u64,
        }
    };
    match step {
        Step::Run(id) => {
            let piece = &held.pieces[id.index()];
            let ends = piece.inputs.iter().chain(&piece.outputs);
            ends.map(|(id, region)| bytes(*id, region))
                .fold(0, u64::saturating_add)
        }
        Step::Send(id) => {
            let transfer = plan.transfer(*id);
            bytes(transfer.from_part, &transfer.region)
        }
        _ => 0,
    }
}

/// Parts that a step writes besides landings.
fn written(plan: &Plan, held: &RankPlan, step: &Step) -> Vec<PartId> {
    match step {
        Step::Assemble { into: id, .. } | Step::Reduce { into: id, .. } => vec![*id],
        Step::Run(id) => {
            let outputs = held.pieces[id.index()].outputs.iter();
            outputs.map(|output| output.0).collect()
        }
        Step::Receive(id) => {
            let transfer = plan.transfer(*id);
            let whole = held.parts[transfer.to_part.index()].region == transfer.region;
            let boxed = (!whole).then_some(transfer.to_part);
            boxed.into_iter().collect()
        }
        Step::Input(_) | Step::Send(_) | Step::Output(_) | Step::Release(_) => vec![],
    }
}
