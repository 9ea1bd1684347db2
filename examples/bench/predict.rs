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

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use autodice::platform::Platform;
use serde_json::Value;

use self::cases::{platforms, splits, Lab, Split, MODELS};
pub use self::meter::meter;
use self::meter::{Meter, Probed};
use crate::lab::{median, Probes, Rule, Sample};
use crate::launch::{autodice_run, timed};
use crate::models;
use crate::net::Net;
use crate::record::{Bar, Record};

/// What a run takes, about.
const SECONDS: f64 = 6.0;
const LEAST_FRAMES: usize = 6;
const MOST_FRAMES: usize = 36;
const WARMUP: usize = 2;
/// Runs of a spec whose frames take less than `SECONDS`.
const TURNS: usize = 3;
/// Values of a sample: the memory error that is largest, and each rank's.
const MEMORY: [&str; 5] = [
    "memory_error",
    "memory_error_rank0",
    "memory_error_rank1",
    "memory_error_rank2",
    "memory_error_rank3",
];
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
    notes.extend(samples.iter().map(line));
    let how =
        "autodice-run --profile once for each platform and model (60 s, and it says how long \
        it took), then every spec: `autodice simulate` with as many frames as the run has. Latency \
        with one frame in flight (median), period with the window that the spec gives itself. \
        Probes: a small product of the engine's on each core every 25 ms while the profile \
        (`before`) and the frames of each run (`after`) last, mean CPU times. `corrected` simulates \
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

fn is_wanted(case: &str) -> bool {
    let words = std::env::var("PREDICT").unwrap_or_default();
    let mut each = words.split_whitespace();
    each.all(|word| case.split([' ', ',']).any(|own| own == word))
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
    job.args(["--quiet", "--output"]).arg(&platform);
    let meter = Meter::start()?;
    let started = Instant::now();
    timed(&mut job).context("profile")?;
    let seconds = started.elapsed().as_secs_f64();
    let profiled = means(&meter.end()?, f64::INFINITY);
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

/// A platform of the lab that is up, and what its profile said.
struct Profiled<'a> {
    lab: &'a Lab,
    net: &'a Net,
    platform: &'a Path,
    /// Each core's mean probe during the profile, in ms.
    probes: &'a BTreeMap<usize, f64>,
    profile_s: f64,
    /// For files of a run.
    dir: &'a Path,
}

/// A run's probes, what it measured, and how many seconds its frames took.
type Ran = (Probes, Vec<(&'static str, f64)>, f64);

impl Profiled<'_> {
    /// Predicts and runs a spec of the model `file` once.
    fn run(&self, (file, inputs): (&Path, &Path), split: &Split) -> Result<Ran> {
        let spec = self.dir.join("spec.yaml");
        std::fs::write(&spec, split.text(file, inputs))?;
        let guess = simulated(&spec, self.platform, LEAST_FRAMES)?;
        let each = time(&guess, split)? / 1e3;
        let frames = ((SECONDS / each) as usize).clamp(LEAST_FRAMES, MOST_FRAMES);
        // Whole turns of two, three and four replicas, or their bytes per frame are not the plan's.
        let frames = frames.next_multiple_of(12);
        let predicted = simulated(&spec, self.platform, frames)?;
        let out = self.dir.join("out");
        let _gone = std::fs::remove_dir_all(&out);
        let mut job = self.net.mpirun_of(self.lab.hosts)?;
        job.arg(autodice_run()?).arg(&spec);
        job.args(["--frames", &frames.to_string()]);
        job.args(["--warmup", &WARMUP.to_string()]);
        job.args(["--quiet", "--output"]).arg(&out);
        let meter = Meter::start()?;
        timed(&mut job)?;
        let during = meter.end()?;
        let text = std::fs::read_to_string(out.join("run.json")).context("run.json")?;
        let measured: Value = serde_json::from_str(&text).context("run.json")?;
        // Loading is another kind of work, and may take as long as the frames.
        let frames_s = (frames + WARMUP) as f64 * time(&measured, split)? / 1e3;
        let during = means(&during, frames_s);
        let own = |(core, during): (&usize, &f64)| (*core, during / self.probes[core]);
        let drifts: BTreeMap<usize, f64> = during.iter().map(own).collect();
        let corrected = self.dir.join("corrected.yaml");
        std::fs::write(&corrected, drifted(self.net, self.platform, &drifts)?)?;
        let corrected = time(&simulated(&spec, &corrected, frames)?, split)?;
        let (p, m) = (time(&predicted, split)?, time(&measured, split)?);
        let mut values = vec![
            ("frames", frames as f64),
            ("predicted_ms", p),
            ("measured_ms", m),
            ("drift", drifts.values().sum::<f64>() / drifts.len() as f64),
            ("corrected_ms", corrected),
            ("raw_error", p / m - 1.0),
            ("error", corrected / m - 1.0),
            ("bytes_differ", bytes_differ(&predicted, &measured)),
            ("profile_s", self.profile_s),
        ];
        let errors = memory_errors(&predicted, &measured);
        values.extend(MEMORY.into_iter().zip(errors));
        let profiled = self.probes.values().copied();
        let probes = profiled.zip(during.into_values()).collect();
        Ok((probes, values, frames_s))
    }
}

/// The mean of each core's probes in the last so many seconds.
fn means(probed: &BTreeMap<usize, Probed>, seconds: f64) -> BTreeMap<usize, f64> {
    let mean = |(&core, probed): (&usize, &Probed)| (core, probed.mean_of_last(seconds));
    probed.iter().map(mean).collect()
}

/// The platform file with every host's times multiplied by the drift of its core.
fn drifted(net: &Net, platform: &Path, drifts: &BTreeMap<usize, f64>) -> Result<String> {
    let text = std::fs::read_to_string(platform)?;
    let mut platform = Platform::parse("platform.yaml", &text)?;
    for host in &mut platform.hosts {
        let core = net.core_of(&host.name)?;
        let drift = drifts.get(&core).context("a core without probes")?;
        let speed = &mut host.speed;
        for rate in [&mut speed.gmac_per_s, &mut speed.gb_per_s] {
            *rate = rate.map(|rate| rate / drift);
        }
        for us in [
            &mut speed.run_us,
            &mut speed.message_us,
            &mut speed.message_us_per_mb,
        ] {
            *us = us.map(|us| us * drift);
        }
        for timing in &mut host.times {
            timing.us *= drift;
            let tables = [&mut timing.rows, &mut timing.channels, &mut timing.terms];
            let entries = tables.into_iter().flat_map(|table| &mut table.0);
            entries.for_each(|(_, us)| *us *= drift);
        }
    }
    Ok(platform.to_yaml())
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

/// The errors of the ranks' peak memory, before them the one that is largest, with their signs.
fn memory_errors(predicted: &Value, measured: &Value) -> Vec<f64> {
    let (p, m) = (
        ranks(predicted, "peak_rss_bytes"),
        ranks(measured, "peak_rss_bytes"),
    );
    let errors: Vec<f64> = p.zip(m).map(|(p, m)| p / m - 1.0).collect();
    let worst = errors
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()));
    worst.into_iter().chain(errors).collect()
}

fn line(sample: &Sample) -> String {
    let of = |name: &str| sample.values.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "{}: run {}, predicted {:.1} ms, measured {:.1} ms, {:+.1} %, corrected {:+.1} %; \
         bytes {}; memory {:+.1} %",
        sample.case,
        of("turn"),
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
    let mut cases: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        cases.entry(&sample.case).or_default().push(sample);
    }
    // The size of each case's median.
    let each = |name: &str| -> Vec<f64> {
        let own = |runs: &Vec<&Sample>| {
            let values = runs.iter().filter_map(|run| run.values.get(name).copied());
            let values: Vec<f64> = values.collect();
            (!values.is_empty()).then(|| median(&values).abs())
        };
        cases.values().filter_map(own).collect()
    };
    let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let worst = |name: &str| largest(each(name));
    let single = |name: &str| {
        let own = samples.iter().filter_map(|sample| sample.values.get(name));
        largest(own.map(|value| value.abs()).collect())
    };
    let count = (cases.len(), cases.len());
    let bar = |what: &str, bar: &str, (value, limit): (f64, f64), unit: &str| Bar {
        what: what.into(),
        bar: bar.into(),
        figure: format!("{value:.1}{unit}"),
        met: (!samples.is_empty()).then_some(value <= limit),
        by_all: false,
        count,
    };
    let percent = |value: f64| value * 100.0;
    let memory = MEMORY[1..].iter().map(|name| worst(name));
    vec![
        bar(
            "predicted latency or period, median error",
            "≤ 8 %",
            (percent(median(&each("error"))), 8.0),
            " %",
        ),
        bar(
            "the same, worst",
            "≤ 20 %",
            (percent(worst("error")), 20.0),
            " %",
        ),
        bar(
            "the same, worst of single runs",
            "",
            (percent(single("error")), f64::INFINITY),
            " %",
        ),
        bar(
            "ranks whose bytes differ, in any run",
            "0",
            (single("bytes_differ"), 0.0),
            "",
        ),
        bar(
            "peak memory of a rank, worst error",
            "≤ 10 %",
            (percent(memory.fold(0.0, f64::max)), 10.0),
            " %",
        ),
        bar(
            "a profile, the longest",
            "≤ 180 s",
            (single("profile_s"), 180.0),
            " s",
        ),
    ]
}
