//! A spec's plan for people: ranks, stages, who makes what, then every step and transfer.

use anyhow::Result;

use super::table::Table;
use super::{gmac, kib, nodes, stages};
use crate::graph::Graph;
use crate::plan::{dump, stages as stages_of, tally, warnings, Makers, Plan, TurnTally};
use crate::spec::Spec;

/// What `show SPEC` prints; `file` is the spec's name in the first line, `plan` is the checked plan
/// of `spec`.
///
/// # Errors
/// One line, where the plan is not of this graph and spec.
pub fn text(file: &str, graph: &Graph, spec: &Spec, plan: &Plan) -> Result<String> {
    let stages = stages_of(graph, spec)?;
    let makers = Makers::of(graph, plan)?;
    let mut text = format!(
        "# spec {file}  model {}  in_flight {}  cycle {}  transfers {}\n",
        spec.model.display(),
        plan.window,
        plan.cycle,
        plan.transfers.len(),
    );
    text += &ranks(graph, plan)?;
    text += "#\n";
    text += &stages::text(graph, spec, plan, &makers, &stages);
    for line in warnings(plan, &stages) {
        text += &format!("# warning: {line}\n");
    }
    // Without a split each node is made whole by its stage's one rank.
    if spec.stages.iter().any(|stage| stage.split.is_some()) {
        text += &nodes::text(graph, spec, &makers, &stages);
    }
    text += "#\n";
    text += &dump(graph, plan);
    Ok(text)
}

/// What every rank holds, and computes and moves for one frame.
fn ranks(graph: &Graph, plan: &Plan) -> Result<String> {
    let header = [
        "rank",
        "pieces",
        "nodes",
        "weights KiB",
        "memory KiB",
        "GMAC",
        "sent KiB",
        "received KiB",
    ];
    let mut table = Table::new(1, &header);
    let tally = tally(graph, plan)?;
    for (index, rank) in tally.ranks.iter().enumerate() {
        let pieces = &plan.ranks[index].pieces;
        let nodes: usize = pieces.iter().map(|piece| piece.nodes.len()).sum();
        let turns = rank.turns.len().max(1) as u64;
        let mean = |of: fn(&TurnTally) -> u64| rank.turns.iter().map(of).sum::<u64>() / turns;
        table.row(vec![
            index.to_string(),
            pieces.len().to_string(),
            nodes.to_string(),
            kib(rank.weight_bytes),
            kib(rank.memory(plan.window)),
            gmac(mean(|turn| turn.macs)),
            kib(mean(|turn| turn.sent_bytes)),
            kib(mean(|turn| turn.received_bytes)),
        ]);
    }
    Ok(table.print())
}
