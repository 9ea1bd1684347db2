//! Peak memory of every rank, set-up included, against what its plan says.

use std::path::Path;

use anyhow::{Context, Result};
use autodice::ids::Rank;
use autodice::model::read::read;
use autodice::plan::tally;

use crate::lab::{Case, Rule, Sample};
use crate::launch::{autodice_run, mpirun, timed};
use crate::models;
use crate::record::{Bar, Record};

const MB: f64 = 1e6;
/// What a process has besides weights and activations: the program, MPI, tract.
const ALLOWANCE: f64 = 64.0 * MB;
const REPEATS: usize = 3;
const STAGES: [&[(Option<&str>, usize)]; 2] = [
    &[(Some("pool3"), 0), (None, 1)],
    &[
        (Some("pool2"), 0),
        (Some("relu3_3"), 1),
        (Some("pool5"), 2),
        (None, 3),
    ],
];

/// The part.
///
/// # Errors
/// Where a model is missing or a job fails.
pub fn memory(folder: &Path) -> Result<Record> {
    let (mut samples, mut bars) = (Vec::new(), Vec::new());
    let dir = tempfile::tempdir()?;
    for name in ["vgg16", "vgg16_external"] {
        let model = models::file(folder, name)?;
        let graph = read(&model, &[])?.graph;
        for stages in STAGES {
            let text = models::spec(&model, 8, stages);
            let plan = models::plan(&graph, &text)?;
            let spec = dir.path().join("spec.yaml");
            std::fs::write(&spec, &text)?;
            let tally = tally(&graph, &plan)?;
            for _ in 0..REPEATS {
                let peaks = peaks(&spec, dir.path(), stages.len())?;
                for (rank, peak) in peaks.into_iter().enumerate() {
                    let memory = tally.ranks[rank].memory(plan.window) as f64;
                    let values = [
                        ("peak_mb", peak / MB),
                        ("weights_mb", tally.ranks[rank].weight_bytes as f64 / MB),
                        ("allowed_mb", (memory + ALLOWANCE) / MB),
                        ("over_mb", (peak - memory - ALLOWANCE) / MB),
                    ];
                    let case = case_name(name, stages.len(), rank);
                    samples.push(Sample::new(&case, Rule::None, vec![], &values));
                }
            }
            for rank in (0..stages.len()).map(Rank::new) {
                let name = case_name(name, stages.len(), rank.index());
                let case = Case::of(&samples, &name);
                let (peak, allowed) = (case.largest("peak_mb"), case.largest("allowed_mb"));
                bars.push(Bar {
                    what: format!("peak RSS, {name}"),
                    bar: format!("≤ {allowed:.0} MB"),
                    figure: format!("{peak:.0} MB"),
                    met: Some(peak <= allowed),
                    by_all: false,
                    count: case.count,
                });
            }
        }
    }
    let how = "`autodice-run` on 8 frames, shared memory, without --verify; VmHWM of each rank \
        at its end, the largest of three jobs. Allowed: weights while they are loaded, or \
        as packed with parts and messages of all frames in flight and the largest piece's inner \
        activations, whichever is more, as the plan's tally has them, and 64 MB. 1 MB = 10^6 bytes.";
    Ok(Record {
        part: "memory",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}

fn case_name(model: &str, ranks: usize, rank: usize) -> String {
    format!("{model} on {ranks} ranks, rank {rank}")
}

/// Runs a spec's job; the ranks' peaks in bytes, as a job's report has them.
///
/// # Errors
/// Where the job fails, or its report lacks them.
pub fn peaks(spec: &Path, dir: &Path, ranks: usize) -> Result<Vec<f64>> {
    let out = dir.join("out");
    let _gone = std::fs::remove_dir_all(&out);
    let mut job = mpirun(ranks);
    job.arg(autodice_run()?)
        .arg(spec)
        .args(["--quiet", "--output"])
        .arg(&out);
    timed(&mut job)?;
    let text = std::fs::read_to_string(out.join("run.json")).context("run.json")?;
    let report: serde_json::Value = serde_json::from_str(&text).context("run.json")?;
    let ranks = report["ranks"].as_array().context("run.json: ranks")?;
    let peak = |rank: &serde_json::Value| rank["peak_rss_bytes"].as_f64();
    ranks
        .iter()
        .map(|rank| peak(rank).context("run.json: peak_rss_bytes"))
        .collect()
}
