//! Models and specs that the parts run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, Context, Result};
use autodice::graph::{macs, Graph};
use autodice::ids::{NodeId, Rank};
use autodice::model::builder::ModelBuilder;
use autodice::model::read::{read, Source};
use autodice::plan::{check, compile, compile_owners, Plan};
use autodice::runner::Program;
use autodice::spec::yaml;

use crate::ranks::input;

/// A standard model's file in the folder, made by `scripts/bench.sh`.
///
/// # Errors
/// Where it is not there.
pub fn file(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.onnx"));
    if !path.is_file() {
        bail!("{}: missing: scripts/bench.sh makes it", path.display());
    }
    Ok(std::path::absolute(path)?)
}

/// The text of a spec with a stage for each (last node, rank); the last stage needs no node.
pub fn spec(model: &Path, frames: usize, stages: &[(Option<&str>, usize)]) -> String {
    let stage = |(until, rank): &(Option<&str>, usize)| {
        let until = until.map_or(String::new(), |name| format!("until: {name}, "));
        format!("  - {{{until}ranks: [{rank}]}}\n")
    };
    let stages: String = stages.iter().map(stage).collect();
    let model = model.display();
    format!(
        "model: {model}\ninput:\n  frames: {{synthetic: {{count: {frames}, seed: 1}}}}\n\
         stages:\n{stages}"
    )
}

/// Writes `count` frames for a model's only input as an array, which costs little to read:
/// synthetic frames take as long to make as a small model to run.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_frames(graph: &Graph, count: usize, path: &Path) -> Result<()> {
    let frame = input(graph, graph.inputs[0]);
    let rest: Vec<String> = frame.shape()[1..].iter().map(usize::to_string).collect();
    let shape = format!("({count}, {})", rest.join(", "));
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version, length and head together fill a multiple of 64 bytes.
    let pad = 63 - (10 + head.len()) % 64;
    head += &" ".repeat(pad);
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(head.len())?.to_le_bytes());
    bytes.extend(head.as_bytes());
    (0..count).for_each(|_| bytes.extend(frame.bytes()));
    Ok(std::fs::write(path, bytes)?)
}

/// The checked plan of a spec's text.
///
/// # Errors
/// What is wrong with it.
pub fn plan(graph: &Graph, text: &str) -> Result<Plan> {
    let plan = compile(graph, &yaml::parse("spec", text)?)?;
    check(graph, &plan, None)?;
    Ok(plan)
}

/// What a rank runs.
pub fn program(graph: &Graph, plan: &Plan, rank: Rank) -> Arc<Program> {
    let (graph, plan) = (graph.clone(), plan.clone());
    Arc::new(Program { graph, plan, rank })
}

/// Nodes after which a model may be cut, with the share of its multiply-accumulates up to them:
/// behind an activation function, so that no convolution loses what tract folds into it.
pub fn cuts(graph: &Graph, from: f64, to: f64) -> Vec<(String, f64)> {
    let total: u64 = graph.node_ids().map(|id| macs(graph, id)).sum();
    let mut sum = 0;
    let share = |id: NodeId| {
        sum += macs(graph, id);
        (id, sum as f64 / total as f64)
    };
    let shares: Vec<_> = graph.node_ids().map(share).collect();
    let fit = shares
        .into_iter()
        .filter(|(id, share)| graph.node(*id).op_type == "Relu" && (from..=to).contains(share));
    fit.map(|(id, share)| (graph.node(id).origin.clone(), share))
        .collect()
}

/// The name of the last pooling node: what follows it in vgg16 cannot be cut by rows.
///
/// # Errors
/// Where there is none.
pub fn last_pool(graph: &Graph) -> Result<String> {
    let pools = graph.node_ids().map(|id| graph.node(id));
    let last = pools.filter(|node| node.op_type == "MaxPool").last();
    Ok(last.context("a model without a pool")?.origin.clone())
}

/// Three nodes that pass on `bytes` of floats, as stages of rank 0, 1 and 0, one frame at a time:
/// the activation goes there and comes back.
///
/// # Errors
/// Where the model cannot be written.
pub fn echo(bytes: usize) -> Result<(Graph, Plan)> {
    let mut model = ModelBuilder::new("echo", 1);
    let mut x = model.input("x", &[1, 1, 1, bytes / 4]);
    for name in ["there", "turn", "back"] {
        x = model.relu(name, x);
    }
    model.output(x);
    let source = written(&model)?;
    let plan = compile_owners(&source.graph, &[Rank(0), Rank(1), Rank(0)], 2, 1);
    check(&source.graph, &plan, None)?;
    Ok((source.graph, plan))
}

/// A model, by way of a file that is gone again; the source keeps it open for its weights.
///
/// # Errors
/// Where the file cannot be written or read.
pub fn written(model: &ModelBuilder) -> Result<Source> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.onnx");
    model.write(&path)?;
    read(&path, &[])
}
