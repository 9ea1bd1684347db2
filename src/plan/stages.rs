//! Stages of one rank each: any assignment of nodes to ranks.
//!
//! An activation travels whole from the rank that makes it to every rank that reads it, once.
//! Rank 0 is source and sink: it has the model's inputs and gets its outputs.

use std::collections::BTreeMap;

use super::assign::assign;
use super::grow::{Flow, Group};
use super::{Plan, PlanBuilder, PlanError, Step, MAX_TAG, MAX_WINDOW};
use crate::graph::Graph;
use crate::ids::{ActivationId, PartId, Rank, TransferId};
use crate::spec::Spec;

/// More ranks than any job of ours has; bounds what a spec can make us allocate.
const MAX_RANKS: usize = 65536;

/// The plan for a spec whose stages have one rank each.
///
/// Same graph and spec, same plan, byte for byte.
///
/// # Errors
/// `PlanError`: the place in the spec and what would be right.
pub fn compile(graph: &Graph, spec: &Spec) -> Result<Plan, PlanError> {
    let ranks = stage_ranks(spec)?;
    if spec.run.wire != "f32" {
        let message = format!("'{}' is not supported by this version", spec.run.wire);
        return Err(PlanError::new("run.wire", message));
    }
    let stages = assign(graph, spec)?;
    let owners: Vec<Rank> = stages.iter().map(|&stage| ranks[stage]).collect();
    let window = match spec.run.in_flight {
        Some(0) => {
            return Err(PlanError::new(
                "run.in_flight",
                "found 0, at least 1 is needed",
            ))
        }
        Some(given) if given > MAX_WINDOW => {
            let message = format!("found {given}, at most {MAX_WINDOW} frames can be in flight");
            return Err(PlanError::new("run.in_flight", message));
        }
        Some(given) => given,
        None => default_window(graph, &stages, spec.stages.len()),
    };
    let plan = compile_owners(graph, &owners, spec.rank_count(), window);
    check_tags(&plan, spec.run.in_flight.is_some())?;
    Ok(plan)
}

/// The plan in which every node runs on its owner.
///
/// `owners` has a rank below `ranks` for every node; `window` is at least 1.
pub fn compile_owners(graph: &Graph, owners: &[Rank], ranks: usize, window: u32) -> Plan {
    let flow = Flow::new(graph, owners);
    let mut compiler = Compiler {
        graph,
        builder: PlanBuilder::new(graph, ranks, window, 1),
        held: BTreeMap::new(),
        awaited: BTreeMap::new(),
        flow: &flow,
    };
    compiler.inputs();
    for group in flow.groups() {
        compiler.group(&group);
    }
    compiler.outputs();
    compiler.builder.release_after_last_use();
    compiler.builder.build()
}

/// The one rank of each stage.
fn stage_ranks(spec: &Spec) -> Result<Vec<Rank>, PlanError> {
    let mut ranks = Vec::new();
    for (stage, asked) in spec.stages.iter().enumerate() {
        let path = format!("stages[{stage}].ranks");
        let (count, by) = (asked.ranks.len(), asked.split.as_ref().map(|s| s.by()));
        match (asked.ranks.as_slice(), by) {
            (_, Some(by)) => {
                let message = format!("'{by}' is not supported by this version");
                return Err(PlanError::new(format!("stages[{stage}].split.by"), message));
            }
            ([], _) => return Err(PlanError::new(path, "no rank, 1 is needed")),
            ([rank], _) if *rank < MAX_RANKS => ranks.push(Rank::new(*rank)),
            ([rank], _) => {
                let message = format!("rank {rank} is too high, at most {}", MAX_RANKS - 1);
                return Err(PlanError::new(path, message));
            }
            _ => {
                let message = format!("a stage of {count} ranks needs a split");
                return Err(PlanError::new(path, message));
            }
        }
    }
    Ok(ranks)
}

/// Enough frames in flight to keep a chain of stages busy: its length and one more; 1 for one
/// stage. A chain that comes back to a stage counts it once.
fn default_window(graph: &Graph, stages: &[usize], count: usize) -> u32 {
    let mut longest = vec![1usize; graph.nodes.len()];
    for id in graph.node_ids() {
        let before = graph.node(id).activations();
        let producers = before.filter_map(|a| graph.activation(a).producer);
        let own = stages[id.index()];
        let chains = producers
            .map(|p| longest[p.index()] + usize::from(stages[p.index()] != own))
            .max();
        longest[id.index()] = chains.unwrap_or(1);
    }
    let chain = longest.into_iter().max().unwrap_or(1).min(count);
    match count {
        1 => 1,
        _ => u32::try_from(chain + 1).unwrap_or(u32::MAX),
    }
}

/// Refuses a window that makes tags too high for some MPI library.
fn check_tags(plan: &Plan, given: bool) -> Result<(), PlanError> {
    let most = plan.transfers.iter().map(|t| t.tag + 1).max().unwrap_or(0);
    let allowed = (MAX_TAG + 1).checked_div(most).unwrap_or(MAX_WINDOW);
    if plan.window <= allowed {
        return Ok(());
    }
    let (found, from) = (plan.window, if given { "found" } else { "the default is" });
    let message = format!(
        "{most} messages between two ranks allow at most {allowed} frames in flight, {from} {found}"
    );
    Err(PlanError::new("run.in_flight", message))
}

struct Compiler<'a> {
    graph: &'a Graph,
    builder: PlanBuilder<'a>,
    /// The part of a rank that holds an activation, or will when its message is there.
    held: BTreeMap<(Rank, ActivationId), PartId>,
    /// Messages that are sent, but not yet received.
    awaited: BTreeMap<(Rank, ActivationId), TransferId>,
    flow: &'a Flow<'a>,
}

impl Compiler<'_> {
    fn inputs(&mut self) {
        for &input in &self.graph.inputs {
            let read = self.flow.readers(input).next().is_some();
            if read || self.graph.outputs.contains(&input) {
                let part = self.builder.input(input);
                self.held.insert((Rank(0), input), part);
                self.send(input);
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let (graph, rank) = (self.graph, group.rank);
        let inside = |id: ActivationId| {
            let producer = graph.activation(id).producer;
            producer.is_some_and(|node| group.nodes.binary_search(&node).is_ok())
        };
        let mut inputs: Vec<PartId> = Vec::new();
        let mut outputs = Vec::new();
        for &id in &group.nodes {
            for activation in graph.node(id).activations().filter(|&a| !inside(a)) {
                let part = self.receive(rank, activation);
                if !inputs.contains(&part) {
                    inputs.push(part);
                }
            }
            for &made in &graph.node(id).outputs {
                let readers = self.flow.readers(made);
                let mut outside = readers.filter(|node| group.nodes.binary_search(node).is_err());
                if graph.outputs.contains(&made) || outside.next().is_some() {
                    outputs.push(made);
                }
            }
        }
        let parts: Vec<PartId> = outputs.iter().map(|&a| self.hold(rank, a)).collect();
        let piece = self.builder.piece(rank, &group.nodes, &inputs, &parts);
        self.builder.run(rank, piece);
        for made in outputs {
            self.send(made);
        }
    }

    /// Rank 0 hands over every output, each once, in the model's order.
    fn outputs(&mut self) {
        let outputs = &self.graph.outputs;
        for (index, &output) in outputs.iter().enumerate() {
            if !outputs[..index].contains(&output) {
                let part = self.receive(Rank(0), output);
                self.builder.step(Rank(0), Step::Output(part));
            }
        }
    }

    fn hold(&mut self, rank: Rank, activation: ActivationId) -> PartId {
        let part = self.builder.whole(rank, activation);
        self.held.insert((rank, activation), part);
        part
    }

    /// Sends an activation from where it is made to every other rank that needs it.
    fn send(&mut self, activation: ActivationId) {
        let from = self.flow.home(activation);
        let from_part = self.held[&(from, activation)];
        for to in self.flow.destinations(activation) {
            let to_part = self.hold(to, activation);
            let region = self.graph.whole(activation);
            let transfer = self
                .builder
                .transfer((from, from_part), (to, to_part), region);
            self.builder.send(transfer);
            self.awaited.insert((to, activation), transfer);
        }
    }

    /// The part that holds an activation, its message received.
    fn receive(&mut self, rank: Rank, activation: ActivationId) -> PartId {
        if let Some(transfer) = self.awaited.remove(&(rank, activation)) {
            self.builder.receive(transfer);
        }
        self.held[&(rank, activation)]
    }
}
