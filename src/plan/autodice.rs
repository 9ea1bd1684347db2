//! A plan as AutoDiCE's communication tables: `sender.json` and `receiver.json`.

use std::collections::BTreeMap;

use super::Plan;
use crate::graph::{autodice_form, Graph};
use crate::ids::{ActivationId, Rank};

/// What each rank sends to whom, and gets from whom, in the form that AutoDiCE prints.
///
/// `keys` has a name for each rank of the plan, in rank order. The texts are
/// `{"lenovo_cpu0": {"fc6_2": [1]}, "lenovo_cpu1": {}}` and
/// `{"lenovo_cpu0": {}, "lenovo_cpu1": {"fc6_2": [0]}}`: tensors by the order of their producers
/// with `/` as `_`, ranks ascending. Tables hold stage to stage only: a model's input, and an
/// output on its way to a rank 0 that does not read it, are left out.
///
/// # Panics
/// Where there are not as many keys as ranks.
pub fn sender_receiver(graph: &Graph, plan: &Plan, keys: &[String]) -> (String, String) {
    assert_eq!(keys.len(), plan.ranks.len(), "a key for each rank");
    let mut sent: Vec<Table> = vec![Table::new(); keys.len()];
    let mut received: Vec<Table> = vec![Table::new(); keys.len()];
    for transfer in &plan.transfers {
        let activation = plan.part(transfer.from, transfer.from_part).activation;
        let Some(producer) = graph.activation(activation).producer else {
            continue;
        };
        if reads(graph, plan, transfer.to, activation) {
            let place = (producer.0, activation.0);
            let name = || autodice_form(&graph.activation(activation).name);
            for (table, other) in [
                (&mut sent[transfer.from.index()], transfer.to),
                (&mut received[transfer.to.index()], transfer.from),
            ] {
                let (_, ranks) = table.entry(place).or_insert_with(|| (name(), vec![]));
                ranks.push(other.0);
            }
        }
    }
    (to_json(keys, sent), to_json(keys, received))
}

/// For each tensor, by its producer, its name and the other ranks.
type Table = BTreeMap<(u32, u32), (String, Vec<u32>)>;

/// Whether a rank runs a node that reads this activation.
fn reads(graph: &Graph, plan: &Plan, rank: Rank, activation: ActivationId) -> bool {
    let consumers = &graph.activation(activation).consumers;
    let pieces = &plan.ranks[rank.index()].pieces;
    let mut nodes = pieces.iter().flat_map(|piece| &piece.nodes);
    nodes.any(|node| consumers.contains(node))
}

fn to_json(keys: &[String], tables: Vec<Table>) -> String {
    let row = |(key, table): (&String, Table)| {
        let entry = |(name, mut ranks): (String, Vec<u32>)| {
            ranks.sort_unstable();
            ranks.dedup();
            let ranks: Vec<_> = ranks.iter().map(u32::to_string).collect();
            format!("{}: [{}]", quoted(&name), ranks.join(", "))
        };
        let entries: Vec<_> = table.into_values().map(entry).collect();
        format!("{}: {{{}}}", quoted(key), entries.join(", "))
    };
    let rows: Vec<_> = keys.iter().zip(tables).map(row).collect();
    format!("{{{}}}", rows.join(", "))
}

/// Text in JSON's quotes, in ASCII as Python's `json` writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}
