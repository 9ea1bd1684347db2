//! One rank through the whole runner against a bare loop of the engine.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{anyhow, Result};
use autodice::comm::threads::{links, Options};
use autodice::comm::Link;
use autodice::engine::tract::load_file;
use autodice::model::read::read;
use autodice::runner::{run_job, Place, Request};

use crate::lab::{collect, median, probe, Case, Quota, Rule, Sample};
use crate::models;
use crate::ranks::{input, take_core};
use crate::record::{Bar, Record};

const HOW: &str = "In one process and on one core at a time, the cores in turn: a bare loop over \
    the model that tract loaded from the file, and a whole job of one rank (`run_job` over a \
    thread link: reading, planning, cutting, loading, feeding from an array, \
    collecting), in turn and in \
    changing order. Medians of the time per frame; the job's is the time between deliveries.";

/// The part.
///
/// # Errors
/// Where a model is missing or does not run.
pub fn single(folder: &Path, quota: Quota) -> Result<Record> {
    let (mut samples, mut bars) = (Vec::new(), Vec::new());
    for (name, frames) in [("resnet50", 6), ("mobilenet_v1", 30)] {
        let model = models::file(folder, name)?;
        samples.extend(in_turn(&model, name, frames, quota)?);
        let case = Case::of(&samples, name);
        let ratio = |case: &Case<'_>| case.median("runner_ms") / case.median("bare_ms");
        let what = format!("one rank against a bare loop, {name}");
        bars.push(Bar::judged(
            (&what, "≤ 1.03"),
            &case,
            (ratio, "×"),
            |r| r <= 1.03,
        ));
    }
    Ok(Record {
        part: "single",
        how: HOW.into(),
        bars,
        samples,
        notes: vec![],
    })
}

fn in_turn(model: &Path, name: &str, frames: usize, quota: Quota) -> Result<Vec<Sample>> {
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("spec.yaml");
    let graph = read(model, &[])?.graph;
    let array = dir.path().join("frames.npy");
    models::write_frames(&graph, frames + 2, &array)?;
    std::fs::write(&spec, models::spec(model, 1, &[(None, 0)]))?;
    let activation = graph.activation(graph.inputs[0]);
    let facts = [(
        activation.name.clone(),
        activation.dtype,
        activation.shape.clone(),
    )];
    let mut bare = load_file(model, &facts, 1)?;
    let frame = [input(&graph, graph.inputs[0])];
    let mut loop_ms = || -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..frames + 2 {
            let start = Instant::now();
            bare.run(&frame)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&times[2..]))
    };
    collect(quota, |number| {
        // A thread that is bound cannot be bound elsewhere: each sample has one of its own.
        let on_a_core = |order: bool, loop_ms: &mut (dyn FnMut() -> Result<f64> + Send)| {
            take_core(number)?;
            let before = probe();
            let (mut bare_ms, mut runner_ms) = (0.0, 0.0);
            for bare in [order, !order] {
                match bare {
                    true => bare_ms = loop_ms()?,
                    false => runner_ms = job_ms(&spec, &array)?,
                }
            }
            let values = [("bare_ms", bare_ms), ("runner_ms", runner_ms)];
            Ok(Sample::new(
                name,
                Rule::Drift,
                vec![(before, probe())],
                &values,
            ))
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| on_a_core(number / 2 % 2 == 0, &mut loop_ms));
            thread.join().map_err(|_| anyhow!("a sample panicked"))?
        })
    })
}

/// The median time between two deliveries of a whole job.
fn job_ms(spec: &Path, frames: &Path) -> Result<f64> {
    let mut link = links(1, Options::default()).remove(0);
    let never = AtomicBool::new(false);
    let place = Place {
        host: "localhost".into(),
        library: String::new(),
        interrupt: &never,
    };
    let request = Request {
        spec: spec.into(),
        input: Some(frames.into()),
        quiet: true,
        ..Request::default()
    };
    let finished = run_job(&mut link, &place, &request).map_err(|end| anyhow!("{end:?}"))?;
    link.close();
    let landed = finished
        .map(|finished| finished.collected.landed)
        .unwrap_or_default();
    let times = landed
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
    // The first frame is behind the start.
    Ok(median(&times.skip(1).collect::<Vec<_>>()))
}
