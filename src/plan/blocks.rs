//! Where ranks that share space exchange: behind every node, or at the ends of blocks, inside of
//! which every rank computes again what it needs of its neighbours' rows.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{resolve, shown};
use super::layout::{Making, Reduction, StageView, Summing};
use super::space::{Boxes, Kind, Kinds};
use super::PlanError;
use crate::geometry::{Interval, Region};
use crate::graph::{computable, input_needs};
use crate::ids::{ActivationId, NodeId, Rank};
use crate::spec::{Exchange, ExchangeSpec};

/// Who makes what: `own` are the boxes that each rank answers for, `by_shares` the boxes of an
/// activation from outside of the stage.
///
/// # Errors
/// `PlanError` where an exchange is not possible where it is asked for, or a gather is needed and
/// not allowed.
pub fn make(
    stage: &StageView<'_>,
    kinds: &Kinds,
    own: &Boxes,
    by_shares: &dyn Fn(ActivationId) -> Vec<Region>,
    asked: &ExchangeSpec,
) -> Result<Vec<Making>, PlanError> {
    if !asked.gather {
        refuse_gathers(stage, kinds)?;
    }
    let made = match &asked.at {
        Exchange::Each => own.clone(),
        Exchange::Behind(names) => {
            let behind = resolve_ends(stage, kinds, names)?;
            refuse_swallowed(stage, kinds, &behind)?;
            grow(stage, kinds, own, &behind)
        }
    };
    let own_of = |id: ActivationId| match stage.producer(id) {
        Some(node) if kinds.is_cut(stage, node) => own[index(stage, node)].clone(),
        _ => by_shares(id),
    };
    let making = |(&id, boxes): (&NodeId, &Vec<Region>)| match kinds.kind(stage, id) {
        Some(Kind::Cut) => Making::Boxes(ranked(stage, boxes)),
        Some(Kind::Sum) => sum(stage, id, &own_of),
        _ => stage.alone(id, stage.ranks[0]),
    };
    Ok(stage.nodes.iter().zip(&made).map(making).collect())
}

/// The boxes that are not empty, with their ranks.
fn ranked(stage: &StageView<'_>, boxes: &[Region]) -> Vec<(Rank, Region)> {
    let ranks = stage.ranks.iter().copied().zip(boxes.iter().cloned());
    ranks.filter(|(_, region)| !region.is_empty()).collect()
}

/// A sum over space, of what each rank answers for of the input.
fn sum(stage: &StageView<'_>, id: NodeId, own_of: &dyn Fn(ActivationId) -> Vec<Region>) -> Making {
    let input = stage.graph.node(id).activations().next();
    let members = input.map_or(vec![], |input| ranked(stage, &own_of(input)));
    match members.len() {
        0 | 1 => stage.alone(id, stage.ranks[0]),
        _ => Making::Sum(Summing {
            members,
            reduction: Reduction::Root(stage.ranks[0]),
        }),
    }
}

/// What each rank computes where only some nodes' outputs are exchanged: from the stage's end
/// backwards, everything that its own part of the next exchange needs.
fn grow(stage: &StageView<'_>, kinds: &Kinds, own: &Boxes, behind: &BTreeSet<NodeId>) -> Boxes {
    let graph = stage.graph;
    let mut made: Boxes = own.clone();
    for (at, &id) in stage.nodes.iter().enumerate().rev() {
        if !kinds.is_cut(stage, id) || behind.contains(&id) {
            continue;
        }
        let output = graph.node(id).outputs[0];
        let consumers = &graph.activation(output).consumers;
        let cut = |node: &NodeId| kinds.is_cut(stage, *node);
        let ends = graph.outputs.contains(&output) || !consumers.iter().all(cut);
        for rank in 0..stage.ranks.len() {
            let mut region = match ends {
                true => own[at][rank].clone(),
                false => own[at][rank].with_axis(0, Interval::new(0, 0)),
            };
            for &consumer in consumers.iter().filter(|node| cut(node)) {
                let wanted = computable(graph, consumer, &made[index(stage, consumer)][rank]);
                for (_, activation, need) in input_needs(graph, consumer, &wanted) {
                    if activation == output && !wanted.is_empty() {
                        region = region.hull(&need);
                    }
                }
            }
            made[at][rank] = region;
        }
    }
    made
}

/// The nodes behind which an exchange is asked for.
fn resolve_ends(
    stage: &StageView<'_>,
    kinds: &Kinds,
    names: &[String],
) -> Result<BTreeSet<NodeId>, PlanError> {
    let mut ends = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        let path = format!("{}.split.exchange[{i}]", stage.path);
        let found = resolve(stage.graph, &path, name)?;
        let cut: Vec<_> = found
            .iter()
            .filter(|&&id| kinds.is_cut(stage, id))
            .collect();
        if cut.is_empty() {
            let name = shown(name);
            let message = match found.iter().any(|&id| stage.has(id)) {
                true => {
                    format!("node '{name}' is not cut in space, nothing is exchanged behind it")
                }
                false => format!("node '{name}' is not of this stage"),
            };
            return Err(PlanError::new(path, message));
        }
        ends.extend(cut);
    }
    Ok(ends)
}

/// A node that needs all of an activation ends the split; where it is cut again behind it, the
/// activation must be one that is exchanged.
fn refuse_swallowed(
    stage: &StageView<'_>,
    kinds: &Kinds,
    behind: &BTreeSet<NodeId>,
) -> Result<(), PlanError> {
    let graph = stage.graph;
    // For every activation made behind such a node, that node and what it reads.
    let mut after: BTreeMap<ActivationId, (NodeId, NodeId)> = BTreeMap::new();
    for &id in &stage.nodes {
        let node = graph.node(id);
        let mut swallowed = node.activations().find_map(|a| after.get(&a).copied());
        if kinds.is_cut(stage, id) {
            if let Some((global, read)) = swallowed {
                let name = |id: NodeId| shown(&graph.node(id).origin);
                let (global, read, again) = (name(global), name(read), name(id));
                let message = format!(
                    "node '{global}' needs all of '{read}' and '{again}' is cut again behind it: \
                     add '{read}' to the list"
                );
                return Err(PlanError::new(
                    format!("{}.split.exchange", stage.path),
                    message,
                ));
            }
        } else {
            let producers = node.activations().filter_map(|a| stage.producer(a));
            let mut open = producers.filter(|p| kinds.is_cut(stage, *p) && !behind.contains(p));
            swallowed = swallowed.or(open.next().map(|read| (id, read)));
        }
        if let Some(found) = swallowed {
            after.extend(node.outputs.iter().map(|&output| (output, found)));
        }
    }
    Ok(())
}

/// Where the spec forbids a gather, a node that cannot be cut is refused.
fn refuse_gathers(stage: &StageView<'_>, kinds: &Kinds) -> Result<(), PlanError> {
    let cut = |a: ActivationId| {
        let producer = stage.producer(a);
        producer.is_none_or(|node| kinds.is_cut(stage, node))
    };
    let gathers = |id: &&NodeId| {
        kinds.kind(stage, **id) == Some(Kind::Alone)
            && stage.graph.node(**id).activations().any(cut)
    };
    let Some(&id) = stage.nodes.iter().find(gathers) else {
        return Ok(());
    };
    let node = stage.graph.node(id);
    let message = format!(
        "node '{}' ({}) cannot be cut in space: end the stage before it, or allow the gather",
        shown(&node.origin),
        node.op_type
    );
    Err(PlanError::new(
        format!("{}.split.gather", stage.path),
        message,
    ))
}

fn index(stage: &StageView<'_>, id: NodeId) -> usize {
    stage.nodes.binary_search(&id).expect("it is of this stage")
}
