//! A run of a spec on a platform that was profiled, and what was predicted of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use autodice::platform::Platform;
use serde_json::Value;

use super::cases::{Lab, Split};
use super::meter::Meter;
use super::settle::settle;
use crate::lab::Probes;
use crate::launch::{autodice_run, timed};
use crate::net::Net;

/// What a run takes, about.
pub const SECONDS: f64 = 6.0;
const LEAST_FRAMES: usize = 6;
const MOST_FRAMES: usize = 36;
const WARMUP: usize = 2;
/// Values of a sample: the memory error that is largest, and each rank's.
pub const MEMORY: [&str; 5] = [
    "memory_error",
    "memory_error_rank0",
    "memory_error_rank1",
    "memory_error_rank2",
    "memory_error_rank3",
];

/// A platform of the lab that is up, and what its profile said.
pub struct Profiled<'a> {
    /// Which it is.
    pub lab: &'a Lab,
    /// Its hosts.
    pub net: &'a Net,
    /// The profile.
    pub platform: &'a Path,
    /// Each core's mean probe while nodes were measured, in ms.
    pub probes: &'a BTreeMap<usize, f64>,
    /// How long the profile took.
    pub profile_s: f64,
    /// For files of a run.
    pub dir: &'a Path,
}

/// A run's probes, what it measured, and how many seconds its frames took.
pub type Ran = (Probes, Vec<(&'static str, f64)>, f64);

impl Profiled<'_> {
    /// Predicts and runs a spec of the model `file` once.
    ///
    /// # Errors
    /// Where one of them fails, or leaves no report.
    pub fn run(&self, (file, inputs): (&Path, &Path), split: &Split) -> Result<Ran> {
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
        settle()?;
        let meter = Meter::start()?;
        timed(&mut job)?;
        let during = meter.end()?;
        let text = std::fs::read_to_string(out.join("run.json")).context("run.json")?;
        let measured: Value = serde_json::from_str(&text).context("run.json")?;
        // Loading is another kind of work, and may take as long as the frames.
        let frames_s = (frames + WARMUP) as f64 * time(&measured, split)? / 1e3;
        let during = during
            .iter()
            .map(|(&core, probed)| (core, probed.mean_of_last(frames_s)));
        let during: BTreeMap<usize, f64> = during.collect();
        let own = |(core, during): (&usize, &f64)| (*core, during / self.probes[core]);
        let drifts: BTreeMap<usize, f64> = during.iter().map(own).collect();
        let corrected = self.dir.join("corrected.yaml");
        std::fs::write(&corrected, drifted(self.net, self.platform, &drifts)?)?;
        let corrected = simulated(&spec, &corrected, frames)?;
        let medians = time_of("p50", &corrected, split)? / time_of("p50", &measured, split)?;
        let corrected = time(&corrected, split)?;
        let (p, m) = (time(&predicted, split)?, time(&measured, split)?);
        let mut values = vec![
            ("frames", frames as f64),
            ("predicted_ms", p),
            ("measured_ms", m),
            ("drift", drifts.values().sum::<f64>() / drifts.len() as f64),
            ("corrected_ms", corrected),
            ("raw_error", p / m - 1.0),
            ("error", corrected / m - 1.0),
            ("error_of_medians", medians - 1.0),
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
            &mut speed.beside_us_per_mb,
            &mut speed.beside_short_us_per_mb,
            &mut speed.look_us,
            &mut speed.look_beside_us,
            &mut speed.wake_us,
            &mut speed.wake_us_per_ms,
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

/// The mean latency, or the period. Where replicas of unlike hosts take turns, half of the latencies
/// are of one kind and half of another, and their median is the longest of the shorter half.
fn time(report: &Value, split: &Split) -> Result<f64> {
    time_of("mean", report, split)
}

fn time_of(latency: &str, report: &Value, split: &Split) -> Result<f64> {
    let value = match split.window {
        Some(1) => &report["latency_ms"][latency],
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
