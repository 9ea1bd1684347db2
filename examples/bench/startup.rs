//! From a changed spec to the first frame, against one process that loads the whole model.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use autodice::engine::tract::load_file;
use autodice::model::read::read;

use crate::lab::{collect, probe, Case, Quota, Rule, Sample};
use crate::launch::{autodice_run, mpirun, own_program, timed};
use crate::models;
use crate::ranks;
use crate::record::{Bar, Record};

/// The part.
///
/// # Errors
/// Where the model is missing or a job fails.
pub fn startup(folder: &Path, quota: Quota) -> Result<Record> {
    let model = models::file(folder, "vgg16")?;
    let dir = tempfile::tempdir()?;
    let specs = ["pool2", "relu3_2", "pool3"].map(|cut| {
        let path = dir.path().join(format!("{cut}.yaml"));
        let text = models::spec(&model, 1, &[(Some(cut), 0), (None, 1)]);
        std::fs::write(&path, text).map(|()| path)
    });
    let specs = specs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (own, run) = (own_program()?, autodice_run()?);
    let facts = read(&model, &[])?.graph;
    let facts = facts.activation(facts.inputs[0]).clone();
    let shape: Vec<String> = facts.shape.iter().map(usize::to_string).collect();
    let samples = collect(quota, |number| {
        let before = probe();
        let whole = timed(
            Command::new(&own)
                .args(["worker", "load"])
                .arg(&model)
                .args([&facts.name, &shape.join("x")]),
        )?;
        let job = timed(
            mpirun(2)
                .arg(&run)
                .arg(&specs[number % specs.len()])
                .arg("--quiet"),
        )?;
        let empty = timed(mpirun(2).arg(&own).args(["worker", "nothing"]))?;
        let values = [
            ("whole_s", whole.1),
            ("job_s", job.1),
            ("mpirun_s", empty.1),
            ("job_without_mpirun_s", job.1 - empty.1),
            ("ratio", (job.1 - empty.1) / whole.1),
        ];
        Ok(Sample::new(
            "vgg16",
            Rule::Drift,
            vec![(before, probe())],
            &values,
        ))
    })?;
    let case = Case::of(&samples, "vgg16");
    let notes = ["whole_s", "job_s", "mpirun_s", "job_without_mpirun_s"]
        .map(|name| format!("{name}: median {:.2}", case.median(name)));
    let ratio = |case: &Case<'_>| case.median("job_without_mpirun_s") / case.median("whole_s");
    let what = "from a changed spec to the first frame, vgg16 on two ranks, against loading whole";
    let bars = vec![Bar::judged((what, "≤ 1"), &case, (ratio, "×"), |r| {
        r <= 1.0
    })];
    let how = "Wall time from start to end of `mpirun -n 2 autodice-run` on a spec of one frame \
        that differs from the one before, the end of MPI included, less that of a job of two \
        ranks that only start and end MPI; against a process that has tract load the whole model \
        from its file and run one frame. The file is in the page cache. One thread each.";
    let notes = notes.into_iter().collect();
    Ok(Record {
        part: "startup",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// A process that loads the whole model and runs it once.
///
/// # Errors
/// Where it cannot.
pub fn load_whole(model: &Path, name: &str, shape: &str) -> Result<()> {
    let shape: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let facts = [(name.to_string(), autodice::graph::Dtype::F32, shape.clone())];
    let mut whole = load_file(model, &facts, 1)?;
    let frame = autodice::engine::Tensor::zeros(autodice::graph::Dtype::F32, &shape);
    whole.run(&[frame.into()])?;
    Ok(())
}

/// A rank that only starts and ends MPI.
///
/// # Errors
/// Where it cannot.
pub fn nothing() -> Result<()> {
    let (shared, world) = ranks::start()?;
    drop(shared);
    ranks::end(&world);
    Ok(())
}
