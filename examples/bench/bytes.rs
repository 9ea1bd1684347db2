//! Bytes of activations that MPI itself counts for a frame, against what the literature says.

use std::path::Path;

use anyhow::{ensure, Result};
use autodice::comm::world::World;
use autodice::model::read::read;

use crate::byte_forms::{moved, planned_bytes, run_counted, stage, write_spec, FORMS};
use crate::lab::{Rule, Sample};
use crate::launch::{mpirun, own_program, timed};
use crate::models;
use crate::record::{Bar, Record};

/// Test vector V3: what two ranks exchange between the layers of vgg16, fp32.
const V3: u64 = 1_060_864;

/// The part.
///
/// # Errors
/// Where a model is missing or a job fails.
pub fn bytes(folder: &Path) -> Result<Record> {
    let (mut samples, mut bars) = (vec![], vec![]);
    let mut case = |what: String, wanted: u64, found: u64| {
        let values = [("wanted", wanted as f64), ("found", found as f64)];
        samples.push(Sample::new(&what, Rule::None, vec![], &values));
        bars.push(Bar {
            what: format!("bytes of a frame, {what}"),
            bar: format!("= {wanted}"),
            figure: found.to_string(),
            met: Some(found == wanted),
            by_all: false,
            count: (1, 1),
        });
    };
    let model = models::file(folder, "vgg16")?;
    let graph = read(&model, &[])?.graph;
    let pool = models::last_pool(&graph)?;
    let body = stage(2, "by: rows").replacen('{', &format!("{{until: {pool}, "), 1);
    let inside = count(&model, &format!("{body}, {{ranks: [0]}}"), 2)?;
    case(
        "vgg16 by rows on 2 ranks, between the layers (V3)".into(),
        V3,
        inside,
    );
    for ranks in [2, 3, 4] {
        for form in &FORMS {
            let dir = tempfile::tempdir()?;
            let spec = form.write(dir.path(), ranks)?;
            let found = counted(&spec, &dir.path().join("model.onnx"), ranks, false)?;
            let what = format!("{} on {ranks} ranks, all messages", form.name);
            case(what, form.bytes(ranks), found);
        }
    }
    let how = "A job of three frames, whose ranks run as in autodice-run; afterwards each rank's \
        veneer over MPI says how many payload bytes of activations it gave to MPI for each other \
        rank, and how many MPI delivered. Both equal the plan's for every pair of ranks, or the \
        part fails. Of vgg16's, what the plan has for the input and for the gathering of the last \
        pool is taken off; the small forms count all, with the input on rank 0 and the output \
        wanted there.";
    Ok(Record {
        part: "bytes",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}

/// Of a spec made of these stages: what travels between the nodes of the first.
fn count(model: &Path, stages: &str, ranks: usize) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let spec = write_spec(dir.path(), model, stages)?;
    counted(&spec, model, ranks, true)
}

/// Runs a spec; the bytes of a frame, less those of the model's input and of the last pool where
/// that is asked for.
fn counted(spec: &Path, model: &Path, ranks: usize, inside: bool) -> Result<u64> {
    timed(
        mpirun(ranks)
            .arg(own_program()?)
            .args(["worker", "bytes"])
            .arg(spec),
    )?;
    let graph = read(model, &[])?.graph;
    let plan = models::plan(&graph, &std::fs::read_to_string(spec)?)?;
    let dir = spec.parent().unwrap_or(Path::new("."));
    let moved = moved(&graph, &plan, dir)?;
    ensure!(
        moved.pairs_alike == moved.pairs,
        "{}: MPI counts other bytes than the plan has for {} of {} pairs of ranks",
        spec.display(),
        moved.pairs - moved.pairs_alike,
        moved.pairs
    );
    if !inside {
        return Ok(moved.bytes);
    }
    let pool = models::last_pool(&graph)?;
    let pool = graph.node_ids().find(|&id| graph.node(id).origin == pool);
    let ends = graph.inputs.iter().copied();
    let ends = ends.chain(pool.map(|id| graph.node(id).outputs[0]));
    let ends: u64 = ends.map(|id| planned_bytes(&graph, &plan, id)).sum();
    Ok(moved.bytes - ends)
}

/// One rank of a counted job.
///
/// # Errors
/// Where the job fails.
pub fn worker(spec: &Path) -> Result<()> {
    run_counted(World::init()?, spec)
}
