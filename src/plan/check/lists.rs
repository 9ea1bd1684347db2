//! Every id is in range, and every sum, part and message is one by itself.

use std::collections::BTreeSet;

use super::super::{Codec, Plan, Sum, Terms, Transfer, MAX_TAG, MAX_WINDOW};
use super::{named, CheckError};
use crate::geometry::Region;
use crate::graph::{Graph, Op, Operand};
use crate::ids::{PartId, PieceId, Rank, SumId, TransferId};

/// Longer cycles are refused.
const MAX_CYCLE: u32 = 64;

pub fn check(graph: &Graph, plan: &Plan) -> Result<(), CheckError> {
    let refuse = |message: String| Err(CheckError::Plan(message));
    if plan.ranks.is_empty() {
        return refuse("no rank, at least 1 is needed".into());
    }
    if !(1..=MAX_WINDOW).contains(&plan.window) {
        let window = plan.window;
        return refuse(format!(
            "a window of {window}, 1 to {MAX_WINDOW} is possible"
        ));
    }
    if !(1..=MAX_CYCLE).contains(&plan.cycle) {
        return refuse(format!(
            "a cycle of {}, 1 to {MAX_CYCLE} is possible",
            plan.cycle
        ));
    }
    for (index, sum) in plan.sums.iter().enumerate() {
        let sum_id = SumId::new(index);
        check_sum(graph, sum).map_err(|message| CheckError::Sum {
            sum: sum_id,
            message,
        })?;
    }
    for (index, rank) in plan.ranks.iter().enumerate() {
        if rank.turns.len() != plan.cycle as usize {
            let (turns, cycle) = (rank.turns.len(), plan.cycle);
            return refuse(format!(
                "rank {index} has {turns} turns, the cycle is {cycle}"
            ));
        }
        check_rank(graph, plan, Rank::new(index))?;
    }
    let mut tags = BTreeSet::new();
    for (index, transfer) in plan.transfers.iter().enumerate() {
        let id = TransferId::new(index);
        check_transfer(graph, plan, transfer)
            .and_then(
                |()| match tags.insert((transfer.from, transfer.to, transfer.tag)) {
                    true => Ok(()),
                    false => {
                        let Transfer { from, to, tag, .. } = transfer;
                        Err(format!(
                            "another message from rank {from} to rank {to} has tag {tag}"
                        ))
                    }
                },
            )
            .map_err(|message| CheckError::Transfer {
                transfer: id,
                message,
            })?;
    }
    Ok(())
}

/// The members are disjoint boxes of the summed axes and together the whole first input.
fn check_sum(graph: &Graph, sum: &Sum) -> Result<(), String> {
    if sum.node.index() >= graph.nodes.len() {
        return Err(format!("{} of {} nodes", sum.node, graph.nodes.len()));
    }
    let node = graph.node(sum.node);
    let Some(Operand::Activation(input)) = node.inputs.first() else {
        return Err(format!("node '{}' reads no activation first", node.name));
    };
    let whole = graph.whole(*input);
    let summed = match node.op {
        Op::Conv { groups: 1, .. } | Op::ConvTranspose { groups: 1, .. } | Op::Gemm { .. } => {
            1..whole.rank().min(2)
        }
        Op::GlobalSum => 2..whole.rank(),
        _ => return Err(format!("node '{}' is no sum", node.name)),
    };
    let mut volume = 0usize;
    for (index, member) in sum.members.iter().enumerate() {
        let inside = member.rank() == whole.rank() && whole.contains(member);
        if !inside || member.is_empty() {
            return Err(format!("member {member} is no box of {whole}"));
        }
        for axis in (0..whole.rank()).filter(|axis| !summed.contains(axis)) {
            if member.0[axis] != whole.0[axis] {
                return Err(format!(
                    "member {member} is cut along axis {axis}, which is kept"
                ));
            }
        }
        for other in &sum.members[..index] {
            if !other.intersect(member).is_empty() {
                return Err(format!("members {other} and {member} overlap"));
            }
        }
        volume += member.volume();
    }
    match volume == whole.volume() {
        true => Ok(()),
        false => Err(format!("the members are not all of {whole}")),
    }
}

fn check_rank(graph: &Graph, plan: &Plan, rank: Rank) -> Result<(), CheckError> {
    let held = &plan.ranks[rank.index()];
    for (index, part) in held.parts.iter().enumerate() {
        let id = PartId::new(index);
        let refuse = |message| {
            Err(CheckError::Part {
                rank,
                part: id,
                message,
            })
        };
        if part.activation.index() >= graph.activations.len() {
            let count = graph.activations.len();
            return refuse(format!("{} of {count} activations", part.activation));
        }
        let whole = graph.whole(part.activation);
        if !is_box(&part.region, &whole) {
            let name = named(graph, id, part);
            return refuse(format!("{} is no box of {name} {whole}", part.region));
        }
        if let Err(message) = check_terms(plan, &part.terms) {
            return refuse(message);
        }
    }
    for (index, piece) in held.pieces.iter().enumerate() {
        let refuse = |message| {
            Err(CheckError::Piece {
                rank,
                piece: PieceId::new(index),
                message,
            })
        };
        let ascending = piece.nodes.windows(2).all(|pair| pair[0] < pair[1]);
        let in_range = piece
            .nodes
            .last()
            .is_some_and(|n| n.index() < graph.nodes.len());
        if !ascending || !in_range {
            return refuse("its nodes are not nodes in the graph's order".into());
        }
        if piece.outputs.is_empty() {
            return refuse("it writes nothing".into());
        }
        for (id, region) in piece.inputs.iter().chain(&piece.outputs) {
            let Some(part) = held.parts.get(id.index()) else {
                return refuse(format!("{id} of {} parts", held.parts.len()));
            };
            if !is_box(region, &part.region) {
                let name = named(graph, *id, part);
                return refuse(format!("{region} is no box of {name} {}", part.region));
            }
        }
    }
    Ok(())
}

fn check_terms(plan: &Plan, terms: &Terms) -> Result<(), String> {
    let Terms::Some { sum, members } = terms else {
        return Ok(());
    };
    let Some(found) = plan.sums.get(sum.index()) else {
        return Err(format!("{sum} of {} sums", plan.sums.len()));
    };
    let count = found.members.len();
    let ascending = members.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = members.last().is_some_and(|&m| (m as usize) < count);
    match ascending && in_range && members.len() < count {
        true => Ok(()),
        false => Err(format!(
            "{members:?} are not some of the {count} members of {sum}"
        )),
    }
}

fn check_transfer(graph: &Graph, plan: &Plan, transfer: &Transfer) -> Result<(), String> {
    let Transfer {
        from,
        from_part,
        to,
        to_part,
        region,
        tag,
        codec,
    } = transfer;
    if from == to {
        return Err(format!("rank {from} sends it to itself"));
    }
    let part = |rank: Rank, id: PartId| {
        let ranks = &plan.ranks;
        let held = ranks
            .get(rank.index())
            .ok_or_else(|| format!("rank {rank} of {}", ranks.len()))?;
        held.parts
            .get(id.index())
            .ok_or_else(|| format!("rank {rank}: {id} of {} parts", held.parts.len()))
    };
    let (source, target) = (part(*from, *from_part)?, part(*to, *to_part)?);
    if source.activation != target.activation {
        let (source, target) = (
            named(graph, *from_part, source),
            named(graph, *to_part, target),
        );
        return Err(format!("it reads {source} and writes {target}"));
    }
    if source.terms != target.terms {
        return Err(format!(
            "it reads terms {:?} and writes {:?}",
            source.terms, target.terms
        ));
    }
    for (rank, id, part) in [(from, from_part, source), (to, to_part, target)] {
        if !is_box(region, &part.region) {
            let name = named(graph, *id, part);
            return Err(format!(
                "{region} is no box of rank {rank} {name} {}",
                part.region
            ));
        }
    }
    let highest = (u64::from(*tag) + 1) * u64::from(plan.window) - 1;
    if highest > u64::from(MAX_TAG) {
        let window = plan.window;
        return Err(format!(
            "tag {tag} with {window} frames in flight makes {highest}, \
             at most {MAX_TAG} is possible"
        ));
    }
    match codec {
        Codec::Raw => Ok(()),
    }
}

/// Whether `region` is a box inside of `outer` with at least one element.
fn is_box(region: &Region, outer: &Region) -> bool {
    region.rank() == outer.rank() && !region.is_empty() && outer.contains(region)
}
