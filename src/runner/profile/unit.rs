//! Units of work as pieces: a node with those that are fused behind it, whole or a part of it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};

use super::ladder::{ladder, Along, Level};
use crate::geometry::{Interval, Region};
use crate::graph::{channelwise, computable, cuttable, macs, units, work, Graph, Op};
use crate::ids::{ActivationId, NodeId, PartId, PieceId, Rank, SumId};
use crate::plan::{piece_work, Plan, PlanBuilder};

const ALONE: Rank = Rank(0);
/// The axes of channels and of rows.
const CHANNELS: usize = 1;
const ROWS: usize = 2;

/// A different work of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is, in the platform file's words.
    pub work: String,
    /// The node that leads, and those that are fused behind it; the model's first of the kind.
    pub nodes: Vec<NodeId>,
    /// How many the model has.
    pub count: usize,
}

/// The different works of a model, in the order of their first nodes.
pub fn different(graph: &Graph) -> Vec<Unit> {
    let mut all: Vec<Unit> = vec![];
    let mut known: HashMap<String, usize> = HashMap::new();
    for nodes in units(graph).into_iter().filter(|nodes| !nodes.is_empty()) {
        let work = work(graph, &nodes);
        let at = *known.entry(work.clone()).or_insert(all.len());
        match all.get_mut(at) {
            Some(unit) => unit.count += 1,
            None => all.push(Unit {
                work,
                nodes,
                count: 1,
            }),
        }
    }
    all
}

/// A piece to measure: piece 0 of rank 0 of a plan that has nothing else.
pub struct Sample {
    /// The plan.
    pub plan: Plan,
    /// How many rows or channels are made, or terms added up, by the node that leads.
    pub amount: usize,
}

impl Sample {
    /// The piece's id in the plan.
    pub const PIECE: PieceId = PieceId(0);
    /// The rank that has it.
    pub const RANK: Rank = ALONE;

    /// Bytes of the weights that the piece has.
    ///
    /// # Errors
    /// As `piece_work`.
    pub fn weight_bytes(&self, graph: &Graph) -> Result<usize> {
        let piece = &self.plan.ranks[0].pieces[0];
        let weights = piece_work(graph, &self.plan, ALONE, piece)?.weights;
        let bytes = |(_, _, id, region): &(_, _, _, Region)| {
            region.volume() * graph.weight(*id).dtype.size()
        };
        Ok(weights.iter().map(bytes).sum())
    }
}

/// The piece of a level of a unit; none where the level has nothing of this unit.
///
/// # Errors
/// One line that names the node, where a piece cannot be made.
pub fn sample(graph: &Graph, unit: &Unit, level: Level) -> Result<Option<Sample>> {
    let first = unit.nodes[0];
    let last = *unit.nodes.last().unwrap_or(&first);
    let shape = &graph.activation(graph.node(first).outputs[0]).shape;
    let length = |axis: usize| shape.get(axis).copied().unwrap_or(0);
    let part = |axis: usize, index: usize| ladder(length(axis))[index];
    let sampled = match level {
        Level::Whole => Some(whole(graph, &unit.nodes)),
        Level::Part(Along::Rows, index) if cuttable(graph, first, ROWS) => {
            part(ROWS, index).map(|rows| {
                let start = (length(ROWS) - rows) / 2;
                boxed(
                    graph,
                    unit,
                    last,
                    (ROWS, Interval::new(start, start + rows)),
                )
            })
        }
        Level::Part(Along::Channels, index) if by_channels(graph, first) => part(CHANNELS, index)
            .map(|made| boxed(graph, unit, last, (CHANNELS, Interval::whole(made)))),
        Level::Part(Along::Terms, index) => summed(graph, first)
            .and_then(|terms| ladder(terms)[index])
            .map(|terms| partial(graph, first, terms)),
        Level::Part(..) => None,
    };
    let Some(sampled) = sampled else {
        return Ok(None);
    };
    let sampled = sampled.with_context(|| graph.node(first).name.clone())?;
    let axis = match level {
        Level::Part(Along::Rows, _) => Some(ROWS),
        Level::Part(Along::Channels, _) => Some(CHANNELS),
        _ => None,
    };
    // Where the operator cannot make so little, this is the whole once more.
    let everything = axis.is_some_and(|axis| sampled.amount >= length(axis));
    Ok((!everything).then_some(sampled))
}

/// Nodes as one piece that makes all of what others read of them.
///
/// # Errors
/// As `PlanBuilder::piece_needing`.
pub fn whole(graph: &Graph, nodes: &[NodeId]) -> Result<Sample> {
    let made: Vec<ActivationId> = nodes
        .iter()
        .flat_map(|&id| graph.node(id).outputs.iter().copied())
        .collect();
    let read_outside = |id: &ActivationId| {
        let consumers = &graph.activation(*id).consumers;
        graph.outputs.contains(id) || consumers.iter().any(|node| !nodes.contains(node))
    };
    let mut outputs: Vec<_> = made.iter().copied().filter(read_outside).collect();
    if outputs.is_empty() {
        outputs.extend(made.last());
    }
    let outputs: Vec<_> = outputs.iter().map(|&id| (id, graph.whole(id))).collect();
    build(graph, nodes, None, &outputs, |_| 0)
}

fn by_channels(graph: &Graph, id: NodeId) -> bool {
    macs(graph, id) > 0 || channelwise(graph, id)
}

/// Over how many input channels a node adds up, where that sum can be shared.
fn summed(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = graph.node(id);
    if !matches!(node.op, Op::Conv { groups: 1, .. } | Op::Gemm { .. }) {
        return None;
    }
    let input = node.activations().next()?;
    graph.activation(input).shape.get(CHANNELS).copied()
}

/// A unit over some interval of one axis of its output.
fn boxed(
    graph: &Graph,
    unit: &Unit,
    last: NodeId,
    (axis, interval): (usize, Interval),
) -> Result<Sample> {
    let output = graph.node(last).outputs[0];
    let region = graph.whole(output).with_axis(axis, interval);
    let region = computable(graph, last, &region);
    let first = graph.node(unit.nodes[0]).outputs[0];
    build(graph, &unit.nodes, None, &[(output, region)], |made| {
        made.get(&first).map_or(0, |region| region.0[axis].len())
    })
}

/// The node that leads, alone, over the first so many of its terms: what carries the bias.
fn partial(graph: &Graph, first: NodeId, terms: usize) -> Result<Sample> {
    let output = graph.node(first).outputs[0];
    let whole = graph.whole(output);
    build(graph, &[first], Some(terms), &[(output, whole)], |_| terms)
}

/// A sum over a node's first input that is shared between its first `terms` channels and the rest.
fn sum(builder: &mut PlanBuilder<'_>, graph: &Graph, node: NodeId, terms: usize) -> Result<SumId> {
    let input = graph.node(node).activations().next();
    let whole = graph.whole(input.context("a sum over nothing")?);
    let all = whole.0[CHANNELS];
    let sides = [Interval::new(0, terms), Interval::new(terms, all.end)];
    let members = sides.map(|side| whole.with_axis(CHANNELS, side));
    Ok(builder.sum(node, members.to_vec()))
}

fn build(
    graph: &Graph,
    nodes: &[NodeId],
    terms: Option<usize>,
    outputs: &[(ActivationId, Region)],
    amount: impl Fn(&BTreeMap<ActivationId, Region>) -> usize,
) -> Result<Sample> {
    let mut builder = PlanBuilder::new(graph, 1, 1, 1);
    let sum = match terms {
        Some(terms) => Some(sum(&mut builder, graph, nodes[0], terms)?),
        None => None,
    };
    let mut boxes: Vec<(PartId, Region)> = vec![];
    for (id, region) in outputs {
        let part = match sum {
            Some(sum) => builder.partial(ALONE, *id, region.clone(), sum, &[0]),
            None => builder.part(ALONE, *id, region.clone()),
        };
        boxes.push((part, region.clone()));
    }
    let mut inputs: Vec<ActivationId> = vec![];
    for id in nodes.iter().flat_map(|&id| graph.node(id).activations()) {
        let inside = graph.activation(id).producer;
        if !inside.is_some_and(|node| nodes.contains(&node)) && !inputs.contains(&id) {
            inputs.push(id);
        }
    }
    let inputs: Vec<_> = inputs.iter().map(|&id| builder.whole(ALONE, id)).collect();
    builder.piece_needing(ALONE, nodes, &inputs, boxes)?;
    let plan = builder.build();
    let work = piece_work(graph, &plan, ALONE, &plan.ranks[0].pieces[0])?;
    let amount = amount(&work.regions);
    Ok(Sample { plan, amount })
}
