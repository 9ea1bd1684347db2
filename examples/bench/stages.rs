//! Stages on two ranks: what a second rank brings, and what interleaving costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use autodice::comm::threads::{links, Options};
use autodice::comm::Link;
use autodice::engine::{Executable, Tensor};
use autodice::ids::Rank;
use autodice::model::read::{read, Source};
use autodice::plan::Plan;
use serde::{Deserialize, Serialize};

use crate::lab::{is_over, median, Case, Quota, Rule, Sample};
use crate::launch::{print_sample, workers, Transport};
use crate::models;
use crate::ranks::{self, load, numbers, probed, run, told, Keep};
use crate::record::{Bar, Record};

const FRAMES: usize = 12;
const SKIPPED: usize = 3;

/// Two stages on two ranks against one rank.
///
/// # Errors
/// Where the model is missing or a job fails.
pub fn two_stages(folder: &Path, quota: Quota) -> Result<Record> {
    let model = models::file(folder, "resnet50")?;
    let (cut, mut notes) = best_cut(&model)?;
    let text = models::spec(&model, FRAMES, &[(Some(&cut), 0), (None, 1)]);
    let (samples, said) = job("two-stages", &model, &text, quota)?;
    notes.extend(said);
    let case = Case::of(&samples, "two-stages");
    let what = format!("two stages on two ranks against one rank, resnet50 cut at {cut}");
    let gain = |case: &Case<'_>| case.median("gain");
    let bars = vec![Bar::judged(
        (&what, "≥ 1.85×"),
        &case,
        (gain, "×"),
        |r| r >= 1.85,
    )];
    let how = "Two MPI processes on a core each, one thread each, shared memory. In turn: the \
        whole model through the loop on rank 0 alone, on rank 1 alone, then both stages. Gain = \
        throughput of both / mean throughput of the two single ranks. The cut is the candidate \
        with the shortest longer stage, by measured times.";
    Ok(Record {
        part: "two-stages",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// Stages of ranks 0, 1 and 0.
///
/// # Errors
/// Where the model is missing or a job fails.
pub fn interleaved(folder: &Path, quota: Quota) -> Result<Record> {
    let model = models::file(folder, "resnet50")?;
    let graph = read(&model, &[])?.graph;
    let near = |share: f64| {
        let cuts = models::cuts(&graph, share - 0.08, share + 0.08);
        let best = cuts
            .into_iter()
            .min_by(|a, b| f64::total_cmp(&(a.1 - share).abs(), &(b.1 - share).abs()));
        best.context("a node to cut at")
    };
    let (first, second) = (near(0.25)?, near(0.75)?);
    let stages = [(Some(&first.0[..]), 0), (Some(&second.0[..]), 1), (None, 0)];
    let text = models::spec(&model, FRAMES, &stages);
    let (samples, notes) = job("interleaved", &model, &text, quota)?;
    let case = Case::of(&samples, "interleaved");
    let what = format!(
        "stages on ranks 0-1-0, resnet50 cut at {} and {}",
        first.0, second.0
    );
    let share = |case: &Case<'_>| case.median("share");
    let bars = vec![Bar::judged((&what, "≥ 0.9"), &case, (share, ""), |r| {
        r >= 0.9
    })];
    let how = "Two MPI processes on a core each, one thread each, shared memory, default \
        frames in flight. Share = throughput × the busiest rank's mean compute time of a frame.";
    Ok(Record {
        part: "interleaved",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

fn job(kind: &str, model: &Path, text: &str, quota: Quota) -> Result<(Vec<Sample>, Vec<String>)> {
    let arguments = [
        kind.to_string(),
        model.display().to_string(),
        text.to_string(),
        quota.wanted.to_string(),
        quota.limit.as_secs_f64().to_string(),
    ];
    workers(2, Transport::SharedMemory, &[], &arguments)
}

/// The node that leaves the shortest longer stage, by measured times: medians over rounds in which
/// all stages of all candidates run once, so that a core that is slow for a while is so to all.
fn best_cut(model: &Path) -> Result<(String, Vec<String>)> {
    const ROUNDS: usize = 15;
    let source = read(model, &[])?;
    let candidates = models::cuts(&source.graph, 0.36, 0.58);
    let mut stages = Vec::new();
    for (name, _) in &candidates {
        let text = models::spec(model, 1, &[(Some(name), 0), (None, 1)]);
        let plan = models::plan(&source.graph, &text)?;
        for rank in [Rank(0), Rank(1)] {
            let pieces = load(&source.graph, &plan, rank, &source)?;
            stages.push((pieces, piece_inputs(&plan, rank), Vec::new()));
        }
    }
    for _ in 0..ROUNDS {
        for (pieces, inputs, times) in &mut stages {
            times.push(bare_ms(pieces, inputs, 1)?);
        }
    }
    let (mut best, mut notes) = (None, Vec::new());
    for ((name, share), both) in candidates.into_iter().zip(stages.chunks(2)) {
        let [first, second] = [0, 1].map(|stage| median(&both[stage].2));
        notes.push(format!(
            "cut {name}: {:.1} % of MACs, stages of {first:.1} and {second:.1} ms",
            share * 100.0
        ));
        let longer = f64::max(first, second) / (first + second);
        if best.as_ref().is_none_or(|&(other, _)| longer < other) {
            best = Some((longer, name));
        }
    }
    let (longer, name) = best.context("a node to cut at")?;
    notes.push(format!(
        "cut at {name}: at most {:.3}× by these times",
        1.0 / longer
    ));
    Ok((name, notes))
}

fn piece_inputs(plan: &Plan, rank: Rank) -> Vec<Vec<Arc<Tensor>>> {
    let pieces = plan.ranks[rank.index()].pieces.iter();
    let inputs = pieces.map(|piece| {
        piece
            .inputs
            .iter()
            .map(|(_, region)| numbers(&region.shape()))
    });
    inputs.map(Iterator::collect).collect()
}

/// What one rank of either job does.
///
/// # Errors
/// Where the job fails.
pub fn worker(kind: &str, model: &Path, text: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    let source = read(model, &[])?;
    let graph = &source.graph;
    let split = models::plan(graph, text)?;
    let program = models::program(graph, &split, rank);
    let mut pieces = load(graph, &split, rank, &source)?;
    let inputs = piece_inputs(&split, rank);
    let alone = match kind {
        "two-stages" => Some(Alone::new(&source, model)?),
        _ => None,
    };
    let (start, mut samples) = (Instant::now(), Vec::new());
    loop {
        let (both, probes) = probed(&mut link, |link| {
            let (mut alone_ms, mut at_once_ms, mut stage_ms) = (0.0, 0.0, 0.0);
            for turn in [Rank(0), Rank(1)] {
                ranks::meet(link)?;
                match &alone {
                    Some(alone) if turn == rank => alone_ms = alone.period_ms()?,
                    _ => {}
                }
            }
            if let Some(alone) = &alone {
                ranks::meet(link)?;
                at_once_ms = alone.period_ms()?;
                ranks::meet(link)?;
                stage_ms = bare_ms(&mut pieces, &inputs, FRAMES / 2)?;
            }
            ranks::meet(link)?;
            let ran = run(link, &program, &pieces, FRAMES, true)?;
            let period = if rank == Rank(0) {
                ran.period_ms(SKIPPED)
            } else {
                0.0
            };
            Ok(Own {
                alone_ms,
                at_once_ms,
                stage_ms,
                period_ms: period,
                compute_ms: ran.compute_ms(SKIPPED),
                gap_ms: ran.gap_ms(SKIPPED),
            })
        })?;
        if let [zero, one] = &both[..] {
            let sample = sample(kind, probes, zero, one);
            print_sample(&sample)?;
            samples.push(sample);
        }
        let over = rank == Rank(0) && is_over(quota, start, &samples);
        if told(&mut link, over)? {
            break;
        }
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}

/// What one rank measured for one sample, in milliseconds per frame.
#[derive(Serialize, Deserialize)]
struct Own {
    /// The whole model, while the other rank waits.
    alone_ms: f64,
    /// The whole model, while the other rank does the same: no message, only the machine shared.
    at_once_ms: f64,
    /// Its own stage in a bare loop, while the other rank does the same.
    stage_ms: f64,
    /// Both stages through the loop; on rank 0 alone.
    period_ms: f64,
    /// Its Runs in that.
    compute_ms: f64,
    /// Between two of its Runs.
    gap_ms: f64,
}

fn sample(kind: &str, probes: Vec<(f64, f64)>, zero: &Own, one: &Own) -> Sample {
    let mut values = vec![
        ("period_ms", zero.period_ms),
        ("compute0_ms", zero.compute_ms),
        ("compute1_ms", one.compute_ms),
        ("gap0_ms", zero.gap_ms),
        ("gap1_ms", one.gap_ms),
    ];
    if kind == "two-stages" {
        let fps = |zero: f64, one: f64| (1e3 / zero + 1e3 / one) / 2.0;
        let single_fps = fps(zero.alone_ms, one.alone_ms);
        values.extend([
            ("alone0_ms", zero.alone_ms),
            ("alone1_ms", one.alone_ms),
            ("at_once0_ms", zero.at_once_ms),
            ("at_once1_ms", one.at_once_ms),
            ("stage0_ms", zero.stage_ms),
            ("stage1_ms", one.stage_ms),
            (
                "machine_gain",
                2.0 * fps(zero.at_once_ms, one.at_once_ms) / single_fps,
            ),
            (
                "stages_gain",
                1e3 / f64::max(zero.stage_ms, one.stage_ms) / single_fps,
            ),
            ("gain", 1e3 / zero.period_ms / single_fps),
        ]);
        return Sample::new(kind, Rule::DriftAndCores, probes, &values);
    }
    let busiest = f64::max(zero.compute_ms, one.compute_ms);
    values.push(("share", busiest / zero.period_ms));
    Sample::new(kind, Rule::Drift, probes, &values)
}

/// The mean of some runs of all pieces, one behind the other.
fn bare_ms(pieces: &mut [Keep], inputs: &[Vec<Arc<Tensor>>], runs: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..runs {
        for (piece, inputs) in pieces.iter_mut().zip(inputs) {
            piece.run(inputs)?;
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / runs as f64)
}

/// The whole model on this rank alone.
struct Alone {
    program: Arc<autodice::runner::Program>,
    pieces: Vec<Keep>,
}

impl Alone {
    fn new(source: &Source, model: &Path) -> Result<Self> {
        let plan = models::plan(&source.graph, &models::spec(model, 1, &[(None, 0)]))?;
        let program = models::program(&source.graph, &plan, Rank(0));
        let pieces = load(&source.graph, &plan, Rank(0), source)?;
        Ok(Self { program, pieces })
    }

    fn period_ms(&self) -> Result<f64> {
        let mut link = links(1, Options::default()).remove(0);
        let ran = run(&mut link, &self.program, &self.pieces, FRAMES / 2, false)?;
        link.close();
        Ok(ran.period_ms(1))
    }
}
