//! `autodice show`: a model's nodes, or a spec's plan.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::graph::{activation_bytes, macs, weight_bytes, Graph};
use crate::ids::{ActivationId, NodeId};
use crate::model::read::read;
use crate::plan::{check, compile, dump, tally, TurnTally};
use crate::runner::{folder_of, read_spec};

/// Shows a model (`.onnx`) or a spec (anything else).
pub fn main(path: &Path, shapes: &[(String, usize)]) -> ExitCode {
    let is_model = path
        .extension()
        .is_some_and(|extension| extension == "onnx");
    let shown = match is_model {
        true => read(path, shapes).map(|source| model(&source.graph)),
        false => spec(path, shapes),
    };
    match shown {
        Ok(text) => super::print(&text),
        Err(error) => super::wrong(&error),
    }
}

/// The nodes in order: shapes, multiply-accumulates, weights, and what a cut behind each would
/// send.
fn model(graph: &Graph) -> String {
    let mut table = Table::new(&[
        "node",
        "operator",
        "output",
        "MMAC",
        "weights KiB",
        "cut KiB",
    ]);
    let cuts = cut_bytes(graph);
    let mut cheapest = usize::MAX;
    for id in graph.node_ids() {
        let node = graph.node(id);
        let output = node.outputs.first().map(|&output| graph.activation(output));
        let shape = output.map(|output| format!("{} {:?}", output.dtype, output.shape));
        let cut = cuts[id.index()];
        let last = id.index() + 1 == graph.nodes.len();
        // Cheap: no cut before it sends as little.
        let mark = if cut < cheapest { " *" } else { "  " };
        cheapest = cheapest.min(cut);
        table.row(&[
            node.name.clone(),
            node.op_type.clone(),
            shape.unwrap_or_default(),
            format!("{:.2}", macs(graph, id) as f64 / 1e6),
            kib(weight_bytes(graph, [id])),
            if last {
                "-  ".into()
            } else {
                format!("{}{mark}", kib(cut))
            },
        ]);
    }
    let total: u64 = graph.node_ids().map(|id| macs(graph, id)).sum();
    let weights = weight_bytes(graph, graph.node_ids());
    format!(
        "# model {}  opset {}  nodes {}  {:.3} GMAC  weights {} KiB\n{}\
         # cut: what a cut behind the node sends; * less than at any cut before\n",
        graph.name,
        graph.opset,
        graph.nodes.len(),
        total as f64 / 1e9,
        kib(weights),
        table.print()
    )
}

/// For each node the bytes of the activations that cross a cut behind it.
fn cut_bytes(graph: &Graph) -> Vec<usize> {
    let position = |node: Option<NodeId>| node.map_or(0, |node| node.index() + 1);
    let mut cuts = vec![0; graph.nodes.len()];
    for index in 0..graph.activations.len() {
        let id = ActivationId::new(index);
        let activation = graph.activation(id);
        let first = position(activation.producer);
        let last = activation
            .consumers
            .iter()
            .map(|node| node.index())
            .max()
            .unwrap_or(0);
        // A cut behind node k (k + 1 nodes) is crossed where first <= k + 1 - 1 < last.
        for cut in cuts.iter_mut().take(last).skip(first.saturating_sub(1)) {
            *cut += activation_bytes(graph, id);
        }
    }
    cuts
}

/// The plan: stages, ranks, memory, every transfer.
fn spec(path: &Path, shapes: &[(String, usize)]) -> Result<String> {
    let (file, _, spec) = read_spec(path).map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let base = folder_of(path);
    let shapes: Vec<_> = shapes.iter().chain(&spec.shapes).cloned().collect();
    let source = read(&base.join(&spec.model), &shapes)?;
    let graph = &source.graph;
    let plan = compile(graph, &spec).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    check(graph, &plan, None)?;
    let mut table = Table::new(&[
        "rank",
        "pieces",
        "nodes",
        "weights KiB",
        "memory KiB",
        "GMAC",
        "sent KiB",
        "received KiB",
    ]);
    let tally = tally(graph, &plan)?;
    for (index, rank) in tally.ranks.iter().enumerate() {
        let pieces = &plan.ranks[index].pieces;
        let nodes: usize = pieces.iter().map(|piece| piece.nodes.len()).sum();
        let turns = rank.turns.len().max(1) as u64;
        let mean = |of: fn(&TurnTally) -> u64| rank.turns.iter().map(of).sum::<u64>() / turns;
        table.row(&[
            index.to_string(),
            pieces.len().to_string(),
            nodes.to_string(),
            kib(rank.weight_bytes as usize),
            kib(rank.memory(plan.window) as usize),
            format!("{:.3}", mean(|turn| turn.macs) as f64 / 1e9),
            kib(mean(|turn| turn.sent_bytes) as usize),
            kib(mean(|turn| turn.received_bytes) as usize),
        ]);
    }
    Ok(format!(
        "# spec {file}  model {}  in_flight {}  transfers {}\n{}#\n{}",
        spec.model.display(),
        plan.window,
        plan.transfers.len(),
        table.print(),
        dump(graph, &plan),
    ))
}

fn kib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

/// A table for people: the first column to the left, the others to the right.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|title| title.to_string()).collect()],
        }
    }

    fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    fn print(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max();
        let widths: Vec<_> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let line = |(index, row): (usize, &Vec<String>)| {
            let first = format!("{:<width$}", row[0], width = widths[0]);
            let rest = row.iter().zip(&widths).skip(1);
            let rest: String = rest
                .map(|(cell, &width)| format!("  {cell:>width$}"))
                .collect();
            let mark = if index == 0 { "# " } else { "  " };
            format!("{mark}{first}{rest}\n")
        };
        self.rows.iter().enumerate().map(line).collect()
    }
}
