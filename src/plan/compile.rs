//! From a spec to its plan: each stage's split lays out its nodes, turn by turn.

use super::assign::assign;
use super::channels;
use super::emit::emit;
use super::frames;
use super::layout::{Layout, Making, StageView};
use super::space;
use super::{Plan, PlanError, MAX_TAG, MAX_WINDOW};
use crate::graph::Graph;
use crate::ids::{NodeId, Rank};
use crate::spec::{Spec, SplitSpec};

/// More ranks than any job of ours has; bounds what a spec can make us allocate.
const MAX_RANKS: usize = 65536;

/// The plan for a spec.
///
/// Same graph and spec, same plan, byte for byte.
///
/// # Errors
/// `PlanError`: the place in the spec and what would be right.
pub fn compile(graph: &Graph, spec: &Spec) -> Result<Plan, PlanError> {
    check_run(spec)?;
    let owners = assign(graph, spec)?;
    let stages = views(graph, spec, &owners)?;
    let turns = frames::turns(spec)?;
    let layouts = (0..turns.cycle)
        .map(|turn| lay_out(graph, spec, &stages, &turns, turn))
        .collect::<Result<Vec<_>, _>>()?;
    let window = spec.run.in_flight;
    let window = window.unwrap_or_else(|| default_window(graph, &owners, spec, turns.cycle));
    let plan = emit(graph, spec.rank_count(), window, &layouts);
    check_tags(&plan, spec.run.in_flight.is_some())?;
    Ok(plan)
}

/// The plan in which every node runs on its owner.
///
/// `owners` has a rank below `ranks` for every node; `window` is at least 1.
pub fn compile_owners(graph: &Graph, owners: &[Rank], ranks: usize, window: u32) -> Plan {
    let live = live(graph);
    let nodes = graph.node_ids().map(|id| {
        let output = graph.node(id).outputs[0];
        let boxes = vec![(owners[id.index()], graph.whole(output))];
        live[id.index()].then_some(Making::Boxes(boxes))
    });
    let layout = Layout {
        nodes: nodes.collect(),
        eager: vec![false; graph.nodes.len()],
    };
    emit(graph, ranks, window, &[layout])
}

fn check_run(spec: &Spec) -> Result<(), PlanError> {
    if spec.run.wire != "f32" {
        let message = format!("'{}' is not supported by this version", spec.run.wire);
        return Err(PlanError::new("run.wire", message));
    }
    match spec.run.in_flight {
        Some(0) => Err(PlanError::new(
            "run.in_flight",
            "found 0, at least 1 is needed",
        )),
        Some(given) if given > MAX_WINDOW => {
            let message = format!("found {given}, at most {MAX_WINDOW} frames can be in flight");
            Err(PlanError::new("run.in_flight", message))
        }
        _ => Ok(()),
    }
}

/// Every stage with its nodes and ranks.
fn views<'a>(
    graph: &'a Graph,
    spec: &Spec,
    owners: &[usize],
) -> Result<Vec<StageView<'a>>, PlanError> {
    let live = live(graph);
    let view = |(stage, asked): (usize, &crate::spec::StageSpec)| {
        let path = format!("stages[{stage}]");
        let refuse = |message: String| Err(PlanError::new(format!("{path}.ranks"), message));
        match (&asked.ranks[..], &asked.split) {
            ([], _) => return refuse("no rank, 1 is needed".into()),
            ([_, _, ..], None) => {
                let count = asked.ranks.len();
                return refuse(format!("a stage of {count} ranks needs a split"));
            }
            _ => {}
        }
        if let Some(rank) = asked.ranks.iter().find(|rank| **rank >= MAX_RANKS) {
            let most = MAX_RANKS - 1;
            return refuse(format!("rank {rank} is too high, at most {most}"));
        }
        let own = |id: &NodeId| owners[id.index()] == stage && live[id.index()];
        Ok(StageView {
            graph,
            nodes: graph.node_ids().filter(own).collect(),
            ranks: asked.ranks.iter().map(|&rank| Rank::new(rank)).collect(),
            path,
        })
    };
    spec.stages.iter().enumerate().map(view).collect()
}

/// Whether each node reaches an output of the model.
fn live(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.activations.len()];
    for output in &graph.outputs {
        needed[output.index()] = true;
    }
    let mut live = vec![false; graph.nodes.len()];
    for id in graph.node_ids().collect::<Vec<_>>().into_iter().rev() {
        let node = graph.node(id);
        if node.outputs.iter().any(|output| needed[output.index()]) {
            live[id.index()] = true;
            node.activations().for_each(|a| needed[a.index()] = true);
        }
    }
    live
}

/// One turn of the cycle.
fn lay_out(
    graph: &Graph,
    spec: &Spec,
    stages: &[StageView<'_>],
    turns: &frames::Turns,
    turn: usize,
) -> Result<Layout, PlanError> {
    let mut layout = Layout {
        nodes: vec![None; graph.nodes.len()],
        eager: vec![false; graph.nodes.len()],
    };
    for (index, (stage, asked)) in stages.iter().zip(&spec.stages).enumerate() {
        let makings = match &asked.split {
            Some(SplitSpec::Rows(rows)) => space::rows(stage, rows)?,
            Some(SplitSpec::Grid(grid)) => space::grid(stage, grid)?,
            Some(SplitSpec::Channels(channels)) => channels::channels(stage, channels)?,
            Some(SplitSpec::Frames(_)) | None => {
                let rank = turns.rank(index, turn).unwrap_or(stage.ranks[0]);
                let alone = stage.nodes.iter().map(|&id| stage.alone(id, rank));
                alone.collect()
            }
        };
        let eager = match &asked.split {
            Some(SplitSpec::Rows(rows)) => rows.exchange.overlap,
            Some(SplitSpec::Grid(grid)) => grid.exchange.overlap,
            _ => false,
        };
        for (&id, making) in stage.nodes.iter().zip(makings) {
            // A node that one rank makes whole is run once, whoever waits for a part of it.
            let shared = matches!(&making, Making::Boxes(boxes) if boxes.len() > 1);
            layout.nodes[id.index()] = Some(making);
            layout.eager[id.index()] = eager && shared;
        }
    }
    Ok(layout)
}

/// Enough frames in flight to keep a chain of stages busy: its length and one turn of the cycle
/// more; 1 for one stage that has no turns. A chain that comes back to a stage counts it once.
fn default_window(graph: &Graph, stages: &[usize], spec: &Spec, cycle: usize) -> u32 {
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
    let count = spec.stages.len();
    let chain = longest.into_iter().max().unwrap_or(1).min(count);
    match (count, cycle) {
        (1, 1) => 1,
        _ => u32::try_from(chain + cycle).unwrap_or(u32::MAX),
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
