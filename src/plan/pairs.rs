//! Which nodes are split by input channels: pairs of a node split by output channels and one that
//! reads its slices in place (IOP, DeeperThings).

use std::collections::BTreeMap;

use super::assign::{resolve, shown};
use super::layout::StageView;
use super::PlanError;
use crate::graph::{channelwise, Graph, Op};
use crate::ids::NodeId;
use crate::spec::{PairSpec, Pairing, ReduceSpec};

/// The nodes that are split by input channels, with the way their sums are added up.
///
/// # Errors
/// `PlanError` where two nodes cannot be a pair.
pub fn pairs(
    stage: &StageView<'_>,
    asked: &Pairing,
) -> Result<BTreeMap<NodeId, ReduceSpec>, PlanError> {
    match asked {
        Pairing::None => Ok(BTreeMap::new()),
        Pairing::Auto => Ok(automatic(stage)),
        Pairing::List(list) => listed(stage, list),
    }
}

/// Whether a node adds up over its input channels: what can be split by them.
fn sums_channels(graph: &Graph, id: NodeId) -> bool {
    match &graph.node(id).op {
        Op::Conv { groups, .. } => *groups == 1,
        Op::Gemm { .. } => true,
        _ => false,
    }
}

/// In the order of the graph, a node that is not in a pair yet and the next one that adds up over
/// channels, where nothing between them but channel-wise nodes reads or makes anything else.
fn automatic(stage: &StageView<'_>) -> BTreeMap<NodeId, ReduceSpec> {
    let graph = stage.graph;
    let mut found = BTreeMap::new();
    for &first in &stage.nodes {
        if !sums_channels(graph, first) || found.contains_key(&first) {
            continue;
        }
        let mut at = first;
        while let Some(next) = only_reader(stage, at) {
            if sums_channels(graph, next) {
                found.insert(next, ReduceSpec::default());
                break;
            }
            let reads = graph.node(next).activations().count();
            if !channelwise(graph, next) || reads != 1 {
                break;
            }
            at = next;
        }
    }
    found
}

/// The one node that reads what a node makes, where there is one and it is of the stage.
fn only_reader(stage: &StageView<'_>, id: NodeId) -> Option<NodeId> {
    let graph = stage.graph;
    let [output] = graph.node(id).outputs[..] else {
        return None;
    };
    match graph.activation(output).consumers[..] {
        [next] if stage.has(next) && !graph.outputs.contains(&output) => Some(next),
        _ => None,
    }
}

fn listed(
    stage: &StageView<'_>,
    list: &[PairSpec],
) -> Result<BTreeMap<NodeId, ReduceSpec>, PlanError> {
    let mut found = BTreeMap::new();
    let mut first_ones = Vec::new();
    for (i, pair) in list.iter().enumerate() {
        let path = format!("{}.split.pair[{i}]", stage.path);
        let refuse = |message: String| Err(PlanError::new(path.clone(), message));
        let mut nodes = Vec::new();
        for name in &pair.nodes {
            match resolve(stage.graph, &path, name)?.last() {
                Some(&id) if stage.has(id) => nodes.push(id),
                _ => return refuse(format!("node '{}' is not of this stage", shown(name))),
            }
        }
        let (first, second) = match nodes[..] {
            [second] => (None, second),
            [first, second] => (Some(first), second),
            _ => return refuse(format!("{} nodes, a pair has two or one", nodes.len())),
        };
        for id in nodes {
            if !sums_channels(stage.graph, id) {
                let node = stage.graph.node(id);
                return refuse(format!(
                    "node '{}' ({}) does not add up over all input channels: a pair is of Conv \
                     without groups, Gemm or MatMul",
                    shown(&node.origin),
                    node.op_type
                ));
            }
        }
        if let Some(first) = first {
            connect(stage, first, second).map_err(|m| PlanError::new(path.clone(), m))?;
            first_ones.push(first);
        }
        if found.insert(second, pair.reduce).is_some() {
            let name = shown(&stage.graph.node(second).origin);
            return refuse(format!("node '{name}' is split by input channels already"));
        }
    }
    match first_ones
        .into_iter()
        .find(|first| found.contains_key(first))
    {
        None => Ok(found),
        Some(both) => {
            let name = shown(&stage.graph.node(both).origin);
            let message = format!("node '{name}' is the first of a pair and the second of another");
            Err(PlanError::new(
                format!("{}.split.pair", stage.path),
                message,
            ))
        }
    }
}

/// Whether the second node reads the first one's channels through channel-wise nodes only.
fn connect(stage: &StageView<'_>, first: NodeId, second: NodeId) -> Result<(), String> {
    let graph = stage.graph;
    let mut at = second;
    loop {
        let read = graph.node(at).activations().next();
        let name = |id: NodeId| shown(&graph.node(id).origin);
        match read.and_then(|a| stage.producer(a)) {
            Some(before) if before == first => return Ok(()),
            Some(before) if before > first && channelwise(graph, before) => at = before,
            Some(before) if before > first => {
                let between = graph.node(before);
                return Err(format!(
                    "node '{}' ({}) stands between '{}' and '{}' and is not channel-wise",
                    name(before),
                    between.op_type,
                    name(first),
                    name(second)
                ));
            }
            _ => {
                let (first, second) = (name(first), name(second));
                return Err(format!(
                    "node '{second}' does not read what '{first}' makes"
                ));
            }
        }
    }
}
