//! A piece as an ONNX graph whose weights are names and regions.

use std::collections::{BTreeMap, HashSet};

use anyhow::{bail, ensure, Context, Result};
use tract_onnx::pb;

use super::nodes::emit;
use super::tensors::{Slice, Tensors};
use crate::geometry::Region;
use crate::graph::{Graph, Op};
use crate::ids::{ActivationId, NodeId, PieceId, Rank, WeightId};
use crate::model::onnx;
use crate::plan::{piece_work, Piece, PieceWork, Plan, Terms};

/// A sub-model without its weights' data.
pub(crate) struct Draft {
    /// For messages: which piece of which rank.
    pub name: String,
    /// The model; its weights are external and named as in `weights`.
    pub model: pb::ModelProto,
    /// The slices that the model uses, each once.
    pub weights: Vec<Slice>,
    /// The slices as `piece_work` lists them.
    pub asked: Vec<(WeightId, Region)>,
}

/// Which of a shared sum's terms a tensor holds, where it holds only some: whether with the first
/// one, which stands for every constant that comes after.
type Partial = BTreeMap<ActivationId, bool>;

/// Makes the graph of a piece.
///
/// # Errors
/// One line that names the rank, the piece and the node.
pub(crate) fn draft(graph: &Graph, plan: &Plan, rank: Rank, id: PieceId) -> Result<Draft> {
    let name = title(graph, plan, rank, id)?;
    let piece = &plan.ranks[rank.index()].pieces[id.index()];
    let context = || name.clone();
    let work = piece_work(graph, plan, rank, piece).with_context(context)?;
    let tensors = build(graph, plan, rank, piece, &work).with_context(context)?;
    let mut proto = tensors.proto;
    proto.name = format!("rank-{rank}-{id}");
    let mut model = onnx::model(proto, graph.opset);
    let domains: HashSet<&str> = domains(graph, piece).collect();
    let mut domains: Vec<&str> = domains.into_iter().collect();
    domains.sort_unstable();
    for domain in domains {
        model.opset_import.push(pb::OperatorSetIdProto {
            domain: domain.into(),
            version: 1,
        });
    }
    let asked = work.weights.into_iter();
    Ok(Draft {
        name,
        model,
        weights: tensors.slices,
        asked: asked
            .map(|(_, _, weight, region)| (weight, region))
            .collect(),
    })
}

/// What a piece is called: `rank 1 piece 0 (conv2_1 … pool3)`.
///
/// # Errors
/// One line, where the plan has no such piece or the piece has nodes of another graph.
pub(crate) fn title(graph: &Graph, plan: &Plan, rank: Rank, id: PieceId) -> Result<String> {
    let own = plan.ranks.get(rank.index());
    let piece = own.and_then(|own| own.pieces.get(id.index()));
    let piece = piece.with_context(|| format!("rank {rank} has no piece {}", id.index()))?;
    let node = |id: &NodeId| {
        let node = graph.nodes.get(id.index());
        node.map_or("?", |node| node.name.as_str())
    };
    let nodes = match &piece.nodes[..] {
        [] => "no nodes".to_string(),
        [only] => node(only).to_string(),
        [first, .., last] => format!("{} … {}", node(first), node(last)),
    };
    Ok(format!("rank {rank} piece {} ({nodes})", id.index()))
}

fn domains<'a>(graph: &'a Graph, piece: &'a Piece) -> impl Iterator<Item = &'a str> {
    let domains = piece.nodes.iter().map(|&id| graph.node(id).domain.as_str());
    domains.filter(|domain| !domain.is_empty() && *domain != "ai.onnx")
}

fn build<'a>(
    graph: &'a Graph,
    plan: &Plan,
    rank: Rank,
    piece: &Piece,
    work: &PieceWork,
) -> Result<Tensors<'a>> {
    let part = |id| plan.part(rank, id);
    let mut tensors = Tensors::new(graph);
    let mut partial = Partial::new();
    for (id, region) in &piece.inputs {
        let activation = part(*id).activation;
        let info = graph.activation(activation);
        if let Some(node) = info.producer.filter(|node| piece.nodes.contains(node)) {
            let node = &graph.node(node).name;
            bail!(
                "{} is read from outside, and {node} makes it inside",
                info.name
            );
        }
        ensure!(
            graph.whole(activation).contains(region) && !region.is_empty(),
            "input {} {region} is not inside of shape {:?}",
            info.name,
            info.shape
        );
        let mut twins = piece.inputs.iter().map(|&(other, _)| part(other));
        ensure!(
            twins.all(|other| other.activation != activation || other.terms == part(*id).terms),
            "inputs of {} hold different terms of its sum",
            info.name
        );
        if let Terms::Some { members, .. } = &part(*id).terms {
            partial.insert(activation, members.contains(&0));
        }
        let name = tensors.fresh(&info.name);
        let shape = region.shape();
        let value = onnx::value_info(&name, info.dtype, &shape);
        tensors.proto.input.push(value);
        tensors.hold(activation, region, &name);
    }
    let outputs = outputs(&mut tensors, piece, |id| part(id).activation, work)?;
    for &id in &piece.nodes {
        let node = graph.node(id);
        let made = node
            .outputs
            .first()
            .and_then(|output| work.regions.get(output));
        let Some(made) = made.filter(|made| !made.is_empty()) else {
            continue;
        };
        let bias = terms(graph, id, work, &mut partial)
            .with_context(|| format!("node {} ({})", node.name, node.op_type))?;
        emit(&mut tensors, id, made, work, &outputs, bias)
            .with_context(|| format!("node {} ({})", node.name, node.op_type))?;
    }
    finish(&mut tensors, &outputs)?;
    Ok(tensors)
}

/// Notes what the node's outputs hold of a shared sum; returns whether the node adds its bias.
fn terms(graph: &Graph, id: NodeId, work: &PieceWork, partial: &mut Partial) -> Result<bool> {
    let node = graph.node(id);
    let own = work.summands.get(&id).map(|&(_, bias)| bias);
    let reads: Vec<Option<bool>> = node
        .activations()
        .map(|activation| partial.get(&activation).copied())
        .collect();
    let Some(first) = reads.iter().flatten().next().copied().or(own) else {
        return Ok(true);
    };
    // A constant, or a term that another rank also has, would be added more than once.
    let alike = own.is_some() || reads.iter().all(|&read| read == Some(first));
    let nested = own.is_some() && reads.iter().any(Option::is_some);
    let constants = matches!(node.op, Op::Concat { .. }) && node.weights().next().is_some();
    ensure!(
        node.op.is_linear() && alike && !nested && !constants,
        "it reads a part of a sum, and only the whole sum can pass through it"
    );
    for &output in &node.outputs {
        partial.insert(output, first);
    }
    Ok(first)
}

/// An output of the sub-model.
pub(super) struct Output {
    pub activation: ActivationId,
    pub region: Region,
    pub name: String,
    /// Whether the node that makes the activation writes it under this name.
    pub direct: bool,
}

/// Names the outputs: after their activation, as far as no other tensor has that name.
fn outputs(
    tensors: &mut Tensors<'_>,
    piece: &Piece,
    activation_of: impl Fn(crate::ids::PartId) -> ActivationId,
    work: &PieceWork,
) -> Result<Vec<Output>> {
    let graph = tensors.graph;
    let mut outputs: Vec<Output> = Vec::with_capacity(piece.outputs.len());
    for (id, region) in &piece.outputs {
        let activation = activation_of(*id);
        let info = graph.activation(activation);
        ensure!(!region.is_empty(), "output {} {region} is empty", info.name);
        let inside = info
            .producer
            .is_some_and(|node| piece.nodes.contains(&node));
        let direct = inside
            && work.regions.get(&activation) == Some(region)
            && !outputs
                .iter()
                .any(|other| other.direct && other.activation == activation);
        let name = tensors.fresh(&info.name);
        let value = onnx::value_info(&name, info.dtype, &region.shape());
        tensors.proto.output.push(value);
        outputs.push(Output {
            activation,
            region: region.clone(),
            name,
            direct,
        });
    }
    ensure!(!outputs.is_empty(), "it has no output");
    Ok(outputs)
}

/// Fills the outputs that no node writes itself.
fn finish(tensors: &mut Tensors<'_>, outputs: &[Output]) -> Result<()> {
    for output in outputs.iter().filter(|output| !output.direct) {
        let source = tensors.exactly(output.activation, &output.region)?;
        tensors.helper("Identity", &[&source], &output.name, &[]);
    }
    Ok(())
}
