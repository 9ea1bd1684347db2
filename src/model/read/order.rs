//! Which of the file's nodes are needed, in what order, and by what name.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{bail, ensure, Result};
use tract_onnx::pb;

use super::scan::Skeleton;

/// The name of every node: its own, or its first output where that is empty or repeated; made
/// unique where that is taken too.
pub fn node_names(nodes: &[&pb::NodeProto]) -> Vec<String> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for node in nodes {
        *count.entry(&node.name).or_default() += 1;
    }
    let own = |node: &pb::NodeProto| !node.name.is_empty() && count[&node.name[..]] == 1;
    let mut taken = Names::default();
    for node in nodes.iter().filter(|node| own(node)) {
        taken.take(&node.name);
    }
    let name = |node: &&pb::NodeProto| {
        if own(node) {
            return node.name.clone();
        }
        let output = node.output.iter().find(|output| !output.is_empty());
        let base = output.unwrap_or(&node.op_type);
        taken.unique(base)
    };
    nodes.iter().map(name).collect()
}

/// Names that are taken.
#[derive(Default)]
pub struct Names {
    taken: HashSet<String>,
    /// The number to try next for a name that is taken: many nodes may ask for the same one.
    next: HashMap<String, usize>,
}

impl Names {
    /// Takes a name that the file gives.
    pub fn take(&mut self, name: &str) {
        self.taken.insert(name.to_string());
    }

    /// `base`, or `base#2` and so on where that is taken; it is taken afterwards.
    pub fn unique(&mut self, base: &str) -> String {
        if self.taken.insert(base.to_string()) {
            return base.to_string();
        }
        let next = self.next.entry(base.to_string()).or_insert(2);
        loop {
            let name = format!("{base}#{next}");
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// The nodes that an output needs, as places in the file's list, producers first and otherwise
/// in the file's order.
///
/// # Errors
/// A tensor made twice, one that nothing makes, or a circle.
pub fn needed(skeleton: &Skeleton, names: &[String]) -> Result<Vec<usize>> {
    let nodes = &skeleton.nodes;
    let mut maker: HashMap<&str, usize> = HashMap::new();
    let given: HashSet<&str> = skeleton
        .inputs
        .iter()
        .map(|input| &input.name[..])
        .chain(skeleton.tensors.keys().map(|name| &name[..]))
        .collect();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.proto.output.iter().filter(|o| !o.is_empty()) {
            let twice = maker.insert(output, index).is_some() || given.contains(&output[..]);
            ensure!(
                !twice,
                "node {} ({}): makes tensor {output}, which is made elsewhere too",
                names[index],
                node.proto.op_type
            );
        }
    }
    let mut live = vec![false; nodes.len()];
    let mut stack: Vec<usize> = vec![];
    for output in &skeleton.outputs {
        match maker.get(&output[..]) {
            Some(&index) => stack.push(index),
            None if given.contains(&output[..]) => {}
            None => bail!("output {output}: no node makes it"),
        }
    }
    while let Some(index) = stack.pop() {
        if std::mem::replace(&mut live[index], true) {
            continue;
        }
        let node = &nodes[index].proto;
        for input in node.input.iter().filter(|i| !i.is_empty()) {
            match maker.get(&input[..]) {
                Some(&producer) => stack.push(producer),
                None if given.contains(&input[..]) => {}
                None => bail!(
                    "node {} ({}): reads tensor {input}, which nothing makes",
                    names[index],
                    node.op_type
                ),
            }
        }
    }
    sort(skeleton, names, &live, &maker)
}

fn sort(
    skeleton: &Skeleton,
    names: &[String],
    live: &[bool],
    maker: &HashMap<&str, usize>,
) -> Result<Vec<usize>> {
    let nodes = &skeleton.nodes;
    let mut readers: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    let mut missing = vec![0usize; nodes.len()];
    for index in (0..nodes.len()).filter(|&index| live[index]) {
        for input in &nodes[index].proto.input {
            if let Some(&producer) = maker.get(&input[..]) {
                readers[producer].push(index);
                missing[index] += 1;
            }
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len())
        .filter(|&index| live[index] && missing[index] == 0)
        .collect();
    let mut order = vec![];
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &reader in &readers[index] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    let stuck = (0..nodes.len()).find(|&index| live[index] && missing[index] > 0);
    match stuck {
        Some(index) => bail!(
            "node {} ({}): needs its own output (a circle)",
            names[index],
            nodes[index].proto.op_type
        ),
        None => Ok(order),
    }
}
