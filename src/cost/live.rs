//! Bytes of a frame's parts on one rank, step by step.
//!
//! How many frames a rank has begun at once, and where each of them stands, only the replay knows:
//! where halos come late a rank goes on with the next frame, and keeps what it has of this one.

use std::collections::BTreeSet;

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
    /// While each `Op` is done: with what it writes, and what is inside of the piece that runs.
    pub work: Vec<u64>,
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
    let (mut rest, mut work) = (vec![], vec![]);
    for step in steps {
        let before = now;
        if let Step::Release(id) = step {
            if !sent.contains(id) && live.remove(id) {
                now -= bytes(*id);
            }
            continue;
        }
        for id in written(plan, held, step) {
            if live.insert(id) {
                now = now.saturating_add(bytes(id));
            }
        }
        if let Step::Input(_) = step {
            continue;
        }
        let inside = match step {
            Step::Run(id) => inner[id.index()],
            _ => 0,
        };
        rest.push(before);
        work.push(now.saturating_add(inside));
    }
    rest.push(now);
    Live { rest, work }
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
