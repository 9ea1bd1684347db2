//! What each stage of a spec computes and receives in a plan, and which of its ranks get nothing.

use super::assign::assign;
use super::{transfer_bytes, Makers, Plan, PlanError, Step, Terms};
use crate::graph::{macs, Graph};
use crate::ids::{ActivationId, NodeId, Rank, TransferId};
use crate::spec::Spec;

/// A stage: nodes and the ranks that share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its nodes, in the graph's order, also those that no output needs.
    pub nodes: Vec<NodeId>,
    /// Its ranks, in the order of its split.
    pub ranks: Vec<Rank>,
}

/// What all stages compute and receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagesTally {
    /// One for each stage.
    pub stages: Vec<StageTally>,
    /// For each turn the bytes that only hand the model's outputs to rank 0.
    pub output_bytes: Vec<u64>,
}

/// What one stage computes and receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTally {
    /// Multiply-accumulates of its nodes, uncut.
    pub macs: u64,
    /// One for each turn of the cycle.
    pub turns: Vec<StageTurn>,
}

/// What one stage does for one frame, all its ranks together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTurn {
    /// Multiply-accumulates that its ranks compute.
    pub macs: u64,
    /// Bytes received of the model's inputs and of what other stages make.
    pub entry_bytes: u64,
    /// Bytes received of what the stage itself makes, summands included.
    pub inside_bytes: u64,
}

impl StageTally {
    /// The redundancy factor: multiply-accumulates that the ranks compute over those of the uncut
    /// stage, on average over the turns. None where the stage has none.
    pub fn redundancy(&self) -> Option<f64> {
        let computed: f64 = self.turns.iter().map(|turn| turn.macs as f64).sum();
        let uncut = self.macs as f64 * self.turns.len() as f64;
        (uncut > 0.0).then(|| computed / uncut)
    }
}

/// The stages of a spec over a model.
///
/// # Errors
/// `PlanError` as `compile`, where names do not fit the model.
pub fn stages(graph: &Graph, spec: &Spec) -> Result<Vec<Stage>, PlanError> {
    let owners = assign(graph, spec)?;
    let stage = |(index, asked): (usize, &crate::spec::StageSpec)| Stage {
        nodes: graph
            .node_ids()
            .filter(|id| owners[id.index()] == index)
            .collect(),
        ranks: asked.ranks.iter().map(|&rank| Rank::new(rank)).collect(),
    };
    Ok(spec.stages.iter().enumerate().map(stage).collect())
}

/// The ranks of a stage that make nothing of any of its nodes, in no turn.
pub fn idle_ranks(plan: &Plan, stage: &Stage) -> Vec<Rank> {
    let works = |rank: Rank| {
        let mut nodes = plan.ranks[rank.index()]
            .pieces
            .iter()
            .flat_map(|p| &p.nodes);
        nodes.any(|id| stage.nodes.binary_search(id).is_ok())
    };
    let ranks = stage.ranks.iter().copied();
    ranks.filter(|&rank| !works(rank)).collect()
}

/// What may surprise whoever wrote the spec, one line each; `stages` are the plan's.
pub fn warnings(plan: &Plan, stages: &[Stage]) -> Vec<String> {
    let of_stage = |(index, stage): (usize, &Stage)| {
        let idle = idle_ranks(plan, stage).into_iter();
        idle.map(move |rank| format!("rank {rank} gets nothing in stages[{index}]"))
            .collect::<Vec<_>>()
    };
    stages.iter().enumerate().flat_map(of_stage).collect()
}

/// Tallies the stages of a plan that has passed `check`.
///
/// Every message counts once: summands for the stage that adds them up; anything else for the
/// stage that reads it where it arrives, of several for the one that made it, else for the first;
/// what nobody reads there is a model output, or the last of a ring, which counts as its summands.
pub fn stages_tally(graph: &Graph, plan: &Plan, makers: &Makers, stages: &[Stage]) -> StagesTally {
    let mut owners = vec![None; graph.nodes.len()];
    for (index, stage) in stages.iter().enumerate() {
        stage
            .nodes
            .iter()
            .for_each(|id| owners[id.index()] = Some(index));
    }
    let count = makers.turns();
    let mut tally = StagesTally {
        stages: stages
            .iter()
            .map(|stage| stage_macs(graph, makers, stage))
            .collect(),
        output_bytes: vec![0; count],
    };
    for turn in 0..count {
        let steps = plan.ranks.iter().flat_map(|rank| &rank.turns[turn]);
        for step in steps {
            let Step::Send(id) = step else { continue };
            let bytes = transfer_bytes(graph, plan, *id);
            let (activation, readers) = readers(graph, plan, makers, &owners, turn, *id);
            let producer = graph.activation(activation).producer;
            let home = producer.and_then(|node| owners[node.index()]);
            let sum = match goes_to(graph, plan, activation, home, &readers, *id) {
                Some(stage) => {
                    let turn = &mut tally.stages[stage].turns[turn];
                    match Some(stage) == home {
                        true => &mut turn.inside_bytes,
                        false => &mut turn.entry_bytes,
                    }
                }
                None => &mut tally.output_bytes[turn],
            };
            *sum = sum.saturating_add(bytes);
        }
    }
    tally
}

fn stage_macs(graph: &Graph, makers: &Makers, stage: &Stage) -> StageTally {
    let needed = |id: &&NodeId| !makers.of_node(0, **id).is_empty();
    let uncut = stage.nodes.iter().filter(needed).map(|&id| macs(graph, id));
    let turn = |turn| {
        let made = stage.nodes.iter().flat_map(|&id| makers.of_node(turn, id));
        StageTurn {
            macs: made.map(|made| made.macs).fold(0, u64::saturating_add),
            ..StageTurn::default()
        }
    };
    StageTally {
        macs: uncut.fold(0, u64::saturating_add),
        turns: (0..makers.turns()).map(turn).collect(),
    }
}

/// What a message carries, and the stages whose nodes read some of it where it arrives.
fn readers(
    graph: &Graph,
    plan: &Plan,
    makers: &Makers,
    owners: &[Option<usize>],
    turn: usize,
    id: TransferId,
) -> (ActivationId, Vec<usize>) {
    let transfer = plan.transfer(id);
    let activation = plan.part(transfer.from, transfer.from_part).activation;
    let reads = |node: NodeId| {
        let made = makers.of_node(turn, node).iter();
        let mut here = made.filter(|made| made.rank == transfer.to);
        here.any(|made| {
            let mut read = made.reads(graph, node).into_iter();
            read.any(|(a, need)| a == activation && !need.intersect(&transfer.region).is_empty())
        })
    };
    let consumers = graph.activation(activation).consumers.iter();
    let reading = consumers.filter(|&&node| reads(node));
    let stages = reading.filter_map(|node| owners[node.index()]);
    (activation, stages.collect())
}

/// The stage that a message counts for; none where it only hands over an output.
fn goes_to(
    graph: &Graph,
    plan: &Plan,
    activation: ActivationId,
    home: Option<usize>,
    readers: &[usize],
    id: TransferId,
) -> Option<usize> {
    let transfer = plan.transfer(id);
    let target = plan.part(transfer.to, transfer.to_part);
    let partial = target.terms != Terms::All;
    if partial || home.is_some_and(|home| readers.contains(&home)) {
        return home;
    }
    let output = transfer.to == Rank(0) && graph.outputs.contains(&activation);
    match readers.iter().min() {
        Some(&first) => Some(first),
        None if output => None,
        None => home,
    }
}
