//! The nodes of a model, in the order that cuts between stages follow.

use super::kib;
use super::table::Table;
use crate::graph::{activation_bytes, macs, weight_bytes, Graph};
use crate::ids::{ActivationId, NodeId};

/// The nodes in order: shapes, multiply-accumulates, weights, and what a cut behind each would
/// send.
pub fn text(graph: &Graph) -> String {
    let mut table = Table::new(
        1,
        &[
            "node",
            "operator",
            "output",
            "MMAC",
            "weights KiB",
            "cut KiB",
        ],
    );
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
        table.row(vec![
            node.name.clone(),
            node.op_type.clone(),
            shape.unwrap_or_default(),
            format!("{:.2}", macs(graph, id) as f64 / 1e6),
            kib(weight_bytes(graph, [id]) as u64),
            if last {
                "-  ".into()
            } else {
                format!("{}{mark}", kib(cut as u64))
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
        kib(weights as u64),
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
