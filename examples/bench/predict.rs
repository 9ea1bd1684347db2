//! Predicted against measured: every split of four models over three platforms of the edge lab.
//!
//! Hosts are made once for each platform and profiled once for each model, before its runs; no
//! spec has a constant of its own. The whole takes an hour, so `PREDICT` picks cases: words, of
//! which every one must be in a case's name (`PREDICT='resnet50 100 Mbit/s'`). Samples of earlier
//! calls with the same folder stay, so that the table grows.
//!
//! Runs of a second or two have what a core just had in that second: where all of a run's frames
//! together take less than a run should, the spec runs again in two later turns, and medians stand
//! for its case.

mod cases;
mod meter;
mod run;
mod settle;
mod table;

use std::path::Path;
use std::time::Instant;

use anyhow::{ensure, Context, Result};

use self::cases::{platforms, splits, Lab, Split, MODELS};
use self::meter::Meter;
pub use self::meter::{meter, product, SHAPE};
use self::run::{Profiled, SECONDS};
use self::settle::settle;
use self::table::{bars, line};
use crate::lab::{Rule, Sample};
use crate::launch::{autodice_run, timed};
use crate::models;
use crate::net::Net;
use crate::record::Record;

/// Runs of a spec whose frames take less than `SECONDS`.
const TURNS: usize = 3;
/// How long a profile may take, about: on a machine of the cloud, longer than neighbours last.
const BUDGET: &str = "100s";
/// Frames of the input file; runs take the first so many.
const INPUTS: usize = 36;

/// The part.
///
/// # Errors
/// Where a model is missing, the lab cannot be made, or a job fails.
pub fn predict(models: &Path, folder: &Path) -> Result<Record> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("predict.jsonl");
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    let read = |line: &str| serde_json::from_str(line).context("predict.jsonl");
    let mut samples: Vec<Sample> = old.lines().map(read).collect::<Result<_>>()?;
    // Of an earlier method.
    samples.retain(|sample| sample.values.contains_key("turn"));
    let mut notes = vec![];
    let mut picked = 0;
    for lab in platforms() {
        for model in MODELS {
            let wanted: Vec<Split> = splits(model, lab.hosts)
                .into_iter()
                .filter(|split| is_wanted(&case(model, split, &lab)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            picked += wanted.len();
            let model_file = models::file(models, model)?;
            let mut take = |sample: Sample| -> Result<()> {
                println!("{}", line(&sample));
                let turn = |sample: &Sample| sample.values.get("turn").copied();
                samples.retain(|old| old.case != sample.case || turn(old) < turn(&sample));
                samples.push(sample);
                let text = samples.iter().map(serde_json::to_string);
                let text: Vec<String> = text.collect::<Result<_, _>>()?;
                Ok(std::fs::write(&file, text.join("\n") + "\n")?)
            };
            if let Err(error) = platform((&lab, folder), (model, &model_file), &wanted, &mut take) {
                notes.push(format!("{model}, {}: {error:#}", lab.name));
            }
        }
    }
    ensure!(
        picked > 0,
        "PREDICT='{}': no case has all of these as whole words, e.g. 'resnet50 100 Mbit/s'",
        picked_words()
    );
    notes.extend(samples.iter().map(line));
    let how =
        "autodice-run --profile once for each platform and model (100 s, and it says how long \
        it took), then every spec: `autodice simulate` with as many frames as the run has. Before the \
        profile and each run the page cache is dropped and memory compacted. Latency \
        with one frame in flight (mean), period with the window that the spec gives itself. \
        Probes: a small product of the engine's on each core every 50 ms while the profile \
        measures nodes (`before`) and the frames of each run (`after`) last, mean CPU times. `corrected` simulates \
        with every host's times multiplied by its core's probes of the run over those of the \
        profile; links stay as they are. A spec whose frames take less than 6 s runs three times, \
        in turn with the others; the errors of a case are the medians of its runs. Nothing is \
        excluded.";
    Ok(Record {
        part: "predict",
        how: how.into(),
        bars: bars(&samples),
        samples,
        notes,
    })
}

fn case(model: &str, split: &Split, lab: &Lab) -> String {
    let what = if split.window == Some(1) {
        "latency"
    } else {
        "period"
    };
    format!("{model} {} {what}, {}", split.name, lab.name)
}

fn picked_words() -> String {
    std::env::var("PREDICT").unwrap_or_default()
}

fn is_wanted(case: &str) -> bool {
    picked_words()
        .split_whitespace()
        .all(|word| case.split([' ', ',']).any(|own| own == word))
}

/// One model on one platform: the profile, then every split.
fn platform(
    (lab, folder): (&Lab, &Path),
    (model, file): (&str, &Path),
    wanted: &[Split],
    take: &mut impl FnMut(Sample) -> Result<()>,
) -> Result<()> {
    let net = Net::up(lab.file, &lab.changes())?;
    let dir = tempfile::tempdir()?;
    let platform = dir.path().join("platform.yaml");
    let inputs = dir.path().join("frames.npy");
    std::fs::write(&inputs, frames_file())?;
    let mut job = net.mpirun_of(lab.hosts)?;
    job.arg(autodice_run()?).arg("--profile").arg(file);
    job.args(["--budget", BUDGET, "--quiet", "--output"])
        .arg(&platform);
    settle()?;
    let meter = Meter::start()?;
    let started = Instant::now();
    timed(&mut job).context("profile")?;
    let seconds = started.elapsed().as_secs_f64();
    let nodes_s = nodes_s(&std::fs::read_to_string(&platform)?)?;
    let profiled = meter.end()?;
    let profiled = profiled
        .iter()
        .map(|(&core, probed)| (core, probed.mean_of_first(nodes_s)))
        .collect();
    let kept = format!("{model}-{}.yaml", lab.name.replace([' ', '/'], "-"));
    std::fs::copy(&platform, folder.join(kept))?;
    let lab = Profiled {
        lab,
        net: &net,
        platform: &platform,
        probes: &profiled,
        profile_s: seconds,
        dir: dir.path(),
    };
    let mut short: Vec<&Split> = wanted.iter().collect();
    for turn in 1..=TURNS {
        let mut again = vec![];
        for split in short {
            let name = case(model, split, lab.lab);
            match lab.run((file, &inputs), split) {
                Ok((probes, mut values, frames_s)) => {
                    values.push(("turn", turn as f64));
                    take(Sample::new(&name, Rule::None, probes, &values))?;
                    if frames_s < SECONDS {
                        again.push(split);
                    }
                }
                Err(error) => println!("# {name}: {error:#}"),
            }
        }
        short = again;
    }
    Ok(())
}

/// How long the slowest host measured nodes: what a probe says while links are measured, full of
/// interrupts, is no part of their times.
fn nodes_s(platform: &str) -> Result<f64> {
    let number = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].parse::<f64>().ok()
    };
    let seconds = platform.split("nodes_s ").skip(1).filter_map(number);
    let longest = seconds.fold(0.0, f64::max);
    anyhow::ensure!(longest > 0.0, "no nodes_s in the platform file");
    Ok(longest)
}

/// Frames that cost next to nothing to read: making synthetic ones takes CPU time of rank 0's host,
/// which is no part of a prediction.
fn frames_file() -> Vec<u8> {
    let shape = [INPUTS, 3, 224, 224];
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape:?}, }}")
        .replace('[', "(")
        .replace(']', ")");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(118u16.to_le_bytes());
    bytes.extend(format!("{dictionary:<117}\n").into_bytes());
    let values = (0..shape.iter().product::<usize>()).map(|i| (i % 251) as f32 / 125.0 - 1.0);
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}
