//! A plan as text, for golden files and for people.

use std::fmt::Write;

use super::{tally, transfer_bytes, Piece, Plan, Step, Terms};
use crate::graph::Graph;
use crate::ids::{NodeId, PartId, Rank, TransferId};

/// The whole plan, one line for each part, piece, step and message. The same plan gives the same
/// text.
///
/// `plan` must have passed `check`; regions that do not fit give an empty tally.
pub fn dump(graph: &Graph, plan: &Plan) -> String {
    let mut text = String::new();
    write_plan(graph, plan, &mut text).expect("text grows in memory");
    text
}

fn write_plan(graph: &Graph, plan: &Plan, text: &mut String) -> std::fmt::Result {
    let tally = tally(graph, plan).ok();
    let (ranks, window, cycle) = (plan.ranks.len(), plan.window, plan.cycle);
    writeln!(
        text,
        "plan of '{}': ranks {ranks}, window {window}, cycle {cycle}",
        graph.name
    )?;
    for (index, sum) in plan.sums.iter().enumerate() {
        let members: Vec<String> = sum.members.iter().map(|m| m.to_string()).collect();
        let node = &graph.node(sum.node).name;
        writeln!(text, "sum s{index} of {node}: {}", members.join(" + "))?;
    }
    for (index, held) in plan.ranks.iter().enumerate() {
        let rank = Rank::new(index);
        writeln!(text, "\nrank {rank}")?;
        if let Some(tally) = tally.as_ref().map(|tally| &tally.ranks[index]) {
            writeln!(
                text,
                "  bytes: weights {}, parts {}, messages {}, inside pieces {}",
                tally.weight_bytes,
                tally.part_bytes,
                tally.message_bytes,
                tally.most_inner_bytes()
            )?;
        }
        for (id, part) in held.parts.iter().enumerate() {
            let name = &graph.activation(part.activation).name;
            write!(text, "  part p{id}: {name} {}", part.region)?;
            if let Terms::Some { sum, members } = &part.terms {
                write!(text, " terms {members:?} of {sum}")?;
            }
            writeln!(text)?;
        }
        for (id, piece) in held.pieces.iter().enumerate() {
            let macs = tally
                .as_ref()
                .map_or(0, |tally| tally.ranks[index].piece_macs[id]);
            write_piece(
                graph,
                plan,
                rank,
                piece,
                text,
                &format!("piece{id}: macs {macs}"),
            )?;
        }
        for (turn, steps) in held.turns.iter().enumerate() {
            for (place, step) in steps.iter().enumerate() {
                let name = step_name(plan, rank, step);
                writeln!(text, "  turn {turn} step {place}: {name}")?;
            }
        }
    }
    writeln!(text)?;
    for (index, transfer) in plan.transfers.iter().enumerate() {
        let bytes = transfer_bytes(graph, plan, TransferId::new(index));
        let part = plan.part(transfer.from, transfer.from_part);
        writeln!(
            text,
            "transfer t{index}: rank {} {} -> rank {} {}, {} {}, tag {}, bytes {bytes}",
            transfer.from,
            transfer.from_part,
            transfer.to,
            transfer.to_part,
            graph.activation(part.activation).name,
            transfer.region,
            transfer.tag
        )?;
    }
    Ok(())
}

fn write_piece(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    piece: &Piece,
    text: &mut String,
    title: &str,
) -> std::fmt::Result {
    let name = |id: &NodeId| graph.node(*id).name.as_str();
    let nodes: Vec<&str> = piece.nodes.iter().map(name).collect();
    writeln!(text, "  {title}, nodes {}", nodes.join(" "))?;
    for (verb, boxes) in [("reads", &piece.inputs), ("writes", &piece.outputs)] {
        for (id, region) in boxes {
            let name = &graph.activation(plan.part(rank, *id).activation).name;
            writeln!(text, "    {verb} {region} of {id} ({name})")?;
        }
    }
    Ok(())
}

/// One step in words. Ids out of range are shown as they are.
pub fn step_name(plan: &Plan, rank: Rank, step: &Step) -> String {
    let list = |ids: &[PartId]| {
        let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
        ids.join(" ")
    };
    let other = |id: &TransferId, side: fn(&super::Transfer) -> (Rank, PartId)| {
        plan.transfers.get(id.index()).map(side)
    };
    match step {
        Step::Input(part) => format!("input {part}"),
        Step::Receive(id) => {
            let part = other(id, |t| (t.from, t.to_part));
            part.map_or(format!("receive {id}"), |(from, part)| {
                format!("receive {id} from rank {from} into {part}")
            })
        }
        Step::Assemble { from, into } => format!("assemble {} into {into}", list(from)),
        Step::Run(piece) => {
            let held = plan.ranks.get(rank.index());
            let piece_found = held.and_then(|held| held.pieces.get(piece.index()));
            let ids = |boxes: &[(PartId, _)]| list(&boxes.iter().map(|b| b.0).collect::<Vec<_>>());
            piece_found.map_or(format!("run {piece}"), |found| {
                format!(
                    "run {piece}: {} -> {}",
                    ids(&found.inputs),
                    ids(&found.outputs)
                )
            })
        }
        Step::Reduce { from, into, .. } => format!("add {} into {into}", list(from)),
        Step::Send(id) => {
            let part = other(id, |t| (t.to, t.from_part));
            part.map_or(format!("send {id}"), |(to, part)| {
                format!("send {id} to rank {to} from {part}")
            })
        }
        Step::Output(part) => format!("output {part}"),
        Step::Release(part) => format!("release {part}"),
    }
}
