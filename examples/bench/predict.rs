//! Predicted against measured: every split of four models over three platforms of the edge lab.
//!
//! Hosts are made once for each platform and profiled once for each model, before its runs; no
//! spec has a constant of its own. The whole takes an hour, so `PREDICT` picks cases: words, of
//! which every one must be in a case's name (`PREDICT='resnet50 100 Mbit/s'`). Samples of earlier
//! calls with the same folder stay, so that the table grows.

mod cases;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use self::cases::{platforms, splits, Lab, Split, MODELS};
use crate::lab::{median, probe, Probes, Rule, Sample};
use crate::launch::{autodice_run, own_program, timed};
use crate::models;
use crate::net::Net;
use crate::record::{Bar, Record};

/// What a run takes, about.
const SECONDS: f64 = 6.0;
const LEAST_FRAMES: usize = 6;
const MOST_FRAMES: usize = 36;
const WARMUP: usize = 2;
/// Times of a core's probes: about a second.
const PROBES: usize = 45;
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
    let mut notes = vec![];
    for lab in platforms() {
        for model in MODELS {
            let wanted: Vec<Split> = splits(model, lab.hosts)
                .into_iter()
                .filter(|split| is_wanted(&case(model, split, &lab)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let model_file = models::file(models, model)?;
            let mut take = |sample: Sample| -> Result<()> {
                println!("{}", line(&sample));
                samples.retain(|old| old.case != sample.case);
                samples.push(sample);
                let text = samples.iter().map(serde_json::to_string);
                let text: Vec<String> = text.collect::<Result<_, _>>()?;
                Ok(std::fs::write(&file, text.join("\n") + "\n")?)
            };
            if let Err(error) = platform(&lab, (model, &model_file), &wanted, &mut take) {
                notes.push(format!("{model}, {}: {error:#}", lab.name));
            }
        }
    }
    notes.extend(samples.iter().map(line));
    let how =
        "autodice-run --profile once for each platform and model (60 s, and it says how long \
        it took), then every spec: `autodice simulate` with as many frames as the run has. Latency \
        with one frame in flight (median), period with the window that the spec gives itself. \
        Probes: fixed work that half computes and half reads memory, in CPU time, on each core, \
        around the profile and around each run; `corrected` multiplies the prediction by the \
        run's probes over the profile's. Nothing is excluded.";
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

fn is_wanted(case: &str) -> bool {
    let words = std::env::var("PREDICT").unwrap_or_default();
    let mut each = words.split_whitespace();
    each.all(|word| case.split([' ', ',']).any(|own| own == word))
}

/// One model on one platform: the profile, then every split.
fn platform(
    lab: &Lab,
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
    job.args(["--quiet", "--output"]).arg(&platform);
    let before = probes()?;
    let started = Instant::now();
    timed(&mut job).context("profile")?;
    let seconds = started.elapsed().as_secs_f64();
    let profiled = mean(&before, &probes()?);
    for split in wanted {
        let spec = dir.path().join("spec.yaml");
        std::fs::write(&spec, split.text(file, &inputs))?;
        let guess = simulated(&spec, &platform, LEAST_FRAMES)?;
        let each = time(&guess, split)? / 1e3;
        let frames = ((SECONDS / each) as usize).clamp(LEAST_FRAMES, MOST_FRAMES);
        // Whole turns of the replicas.
        let frames = frames.next_multiple_of(6);
        let predicted = simulated(&spec, &platform, frames)?;
        let out = dir.path().join("out");
        let _gone = std::fs::remove_dir_all(&out);
        let mut job = net.mpirun_of(lab.hosts)?;
        job.arg(autodice_run()?).arg(&spec);
        job.args([
            "--frames",
            &frames.to_string(),
            "--warmup",
            &WARMUP.to_string(),
        ]);
        job.args(["--quiet", "--output"]).arg(&out);
        let before = probes()?;
        let ran = timed(&mut job);
        let after = probes()?;
        if let Err(error) = ran {
            println!("# {}: {error:#}", case(model, split, lab));
            continue;
        }
        let text = std::fs::read_to_string(out.join("run.json")).context("run.json")?;
        let measured: Value = serde_json::from_str(&text).context("run.json")?;
        let factor = mean(&before, &after)
            .iter()
            .zip(&profiled)
            .map(|(run, profile)| run / profile)
            .sum::<f64>()
            / profiled.len() as f64;
        let (p, m) = (time(&predicted, split)?, time(&measured, split)?);
        let values = [
            ("frames", frames as f64),
            ("predicted_ms", p),
            ("measured_ms", m),
            ("drift", factor),
            ("raw_error", p / m - 1.0),
            ("error", p * factor / m - 1.0),
            ("bytes_differ", bytes_differ(&predicted, &measured)),
            ("memory_error", memory_error(&predicted, &measured)),
            ("profile_s", seconds),
        ];
        let around: Probes = before.into_iter().zip(after).collect();
        take(Sample::new(
            &case(model, split, lab),
            Rule::None,
            around,
            &values,
        ))?;
    }
    Ok(())
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

fn time(report: &Value, split: &Split) -> Result<f64> {
    let value = match split.window {
        Some(1) => &report["latency_ms"]["p50"],
        _ => &report["period_ms"],
    };
    value.as_f64().context("no latency or period")
}

fn simulated(spec: &Path, platform: &Path, frames: usize) -> Result<Value> {
    let mut command = Command::new(autodice_run()?.with_file_name("autodice"));
    command
        .arg("simulate")
        .arg(spec)
        .arg("--platform")
        .arg(platform);
    command.args([
        "--frames",
        &frames.to_string(),
        "--warmup",
        &WARMUP.to_string(),
        "--json",
    ]);
    let (said, _) = timed(&mut command)?;
    serde_json::from_str(&said).context("simulate --json")
}

fn ranks<'a>(report: &'a Value, key: &'a str) -> impl Iterator<Item = f64> + 'a {
    let ranks = report["ranks"].as_array().into_iter().flatten();
    ranks.filter_map(move |rank| rank[key].as_f64())
}

/// Ranks whose payloads are not what was predicted.
fn bytes_differ(predicted: &Value, measured: &Value) -> f64 {
    let of = |key: &'static str| {
        let pairs = ranks(predicted, key).zip(ranks(measured, key));
        pairs.filter(|(p, m)| p != m).count() as f64
    };
    of("sent_bytes") + of("received_bytes")
}

/// The error of the peak memory that is largest, with its sign.
fn memory_error(predicted: &Value, measured: &Value) -> f64 {
    let (p, m) = (
        ranks(predicted, "peak_rss_bytes"),
        ranks(measured, "peak_rss_bytes"),
    );
    let errors = p.zip(m).map(|(p, m)| p / m - 1.0);
    errors.fold(0.0, |worst: f64, error| {
        if error.abs() > worst.abs() {
            error
        } else {
            worst
        }
    })
}

fn line(sample: &Sample) -> String {
    let of = |name: &str| sample.values.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "{}: predicted {:.1} ms, measured {:.1} ms, {:+.1} %, corrected {:+.1} %; \
         bytes {}; memory {:+.1} %",
        sample.case,
        of("predicted_ms"),
        of("measured_ms"),
        of("raw_error") * 100.0,
        of("error") * 100.0,
        if of("bytes_differ") == 0.0 {
            "equal"
        } else {
            "differ"
        },
        of("memory_error") * 100.0,
    )
}

fn bars(samples: &[Sample]) -> Vec<Bar> {
    let all = |name: &str| -> Vec<f64> {
        let own = samples.iter().filter_map(|sample| sample.values.get(name));
        own.map(|value| value.abs()).collect()
    };
    let count = (samples.len(), samples.len());
    let worst = |name: &str| all(name).into_iter().fold(0.0, f64::max);
    let bar = |what: &str, bar: &str, (value, limit): (f64, f64), unit: &str| Bar {
        what: what.into(),
        bar: bar.into(),
        figure: format!("{value:.1}{unit}"),
        met: (!samples.is_empty()).then_some(value <= limit),
        by_all: false,
        count,
    };
    let percent = |value: f64| value * 100.0;
    vec![
        bar(
            "predicted latency or period, median error",
            "≤ 8 %",
            (percent(median(&all("error"))), 8.0),
            " %",
        ),
        bar(
            "the same, worst",
            "≤ 20 %",
            (percent(worst("error")), 20.0),
            " %",
        ),
        bar(
            "ranks whose bytes differ, in any run",
            "0",
            (worst("bytes_differ"), 0.0),
            "",
        ),
        bar(
            "peak memory of a rank, worst error",
            "≤ 10 %",
            (percent(worst("memory_error")), 10.0),
            " %",
        ),
        bar(
            "a profile, the longest",
            "≤ 180 s",
            (worst("profile_s"), 180.0),
            " s",
        ),
    ]
}

fn mean(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect()
}

/// Fixed work on both cores at once, by processes of this program.
fn probes() -> Result<Vec<f64>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let start = |core: usize| {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]);
        command.arg(own_program()?).args(["worker", "probe"]);
        command.stdout(std::process::Stdio::piped());
        command.spawn().context("taskset")
    };
    let running: Vec<_> = (0..cores).map(start).collect::<Result<_>>()?;
    let ended = running.into_iter().map(|child| {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().context("a probe's time")
    });
    ended.collect()
}

/// One process of `probes`: prints the mean of some probes, in ms. Cores change between two speeds
/// several times a second, of which a median would be the one or the other.
///
/// # Errors
/// None that is known.
pub fn probed() -> Result<()> {
    let big = vec![1.0f32; 8 << 20];
    let one = |_| {
        let started = Instant::now();
        let computed = probe();
        // About as long again, of reading.
        let sums = big.chunks_exact(16).fold([0.0f32; 16], |mut sums, chunk| {
            sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
            sums
        });
        std::hint::black_box((computed, sums));
        started.elapsed().as_secs_f64() * 1e3
    };
    let times: Vec<f64> = (0..PROBES).map(one).collect();
    println!("{}", times.iter().sum::<f64>() / PROBES as f64);
    Ok(())
}
