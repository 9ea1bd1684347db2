//! What a finished run says: a table or JSON on stdout, files beside the outputs.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::report::{
    chrome_trace, run_table, to_json, write_ranks_csv, Accuracy, Hashes, RunReport, Settings,
    Status, Versions,
};
use crate::runner::{Finished, Request, WRONG_OUTPUT};
use crate::stats::Summary;

/// Prints the report, and writes `ranks.csv` and `run.json` where outputs were asked for.
///
/// # Errors
/// One line that names the file.
pub fn tell(finished: &Finished, request: &Request, library: &str, json: bool) -> Result<()> {
    let (report, text) = write(finished, request, library)?;
    match json {
        true => super::print(&format!("{}\n", text.trim_end())),
        false => super::print(&run_table(&report)),
    };
    Ok(())
}

/// Writes `ranks.csv` and `run.json` where outputs were asked for; gives the report, and as JSON.
///
/// # Errors
/// One line that names the file.
pub fn write(finished: &Finished, request: &Request, library: &str) -> Result<(RunReport, String)> {
    let report = of(finished, request, library);
    let text = to_json(&report)?;
    if let Some(folder) = &request.output {
        let ranks = folder.join("ranks.csv");
        let mut file = File::create(&ranks).with_context(|| format!("{}", ranks.display()))?;
        write_ranks_csv(&mut file, &report)?;
        let run = folder.join("run.json");
        std::fs::write(&run, &text).with_context(|| format!("{}", run.display()))?;
    }
    if let (Some(path), Some(traced)) = (&request.trace, &finished.trace) {
        let (program, intervals) = (&traced.program, &traced.intervals);
        let trace = chrome_trace(&program.graph, &program.plan, &report.hosts, intervals);
        std::fs::write(path, trace).with_context(|| format!("{}", path.display()))?;
    }
    Ok((report, text))
}

fn of(finished: &Finished, request: &Request, library: &str) -> RunReport {
    let (subject, collected) = (&finished.subject, &finished.collected);
    let hex = |hash: &[u8; 32]| blake3::Hash::from_bytes(*hash).to_hex().to_string();
    let latencies: Vec<_> = collected
        .latencies
        .iter()
        .map(|latency| latency.as_secs_f64() * 1e3)
        .collect();
    let span = collected.opened.zip(collected.landed.last());
    let seconds = span.map_or(0.0, |(opened, &landed)| (landed - opened).as_secs_f64());
    let frames = collected.latencies.len() as u64;
    let (counted, right) = collected.answers;
    RunReport {
        versions: Versions {
            autodice: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("AUTODICE_COMMIT").map(String::from),
            mpi: Some(library.to_string()).filter(|library| !library.is_empty()),
            engine: "tract 0.23.9".into(),
        },
        spec: request.spec.display().to_string(),
        model: subject.model.clone(),
        hashes: Hashes {
            spec: hex(&subject.spec_hash),
            model: hex(&subject.model_hash),
            plan: hex(&subject.plan_hash),
        },
        hosts: finished
            .ranks
            .iter()
            .map(|rank| rank.host.clone())
            .collect(),
        settings: Settings {
            input: subject.input.clone(),
            warmup: request.warmup,
            in_flight: finished.window,
            threads: subject.threads,
            wire: subject.wire.clone(),
            verify: request.verify,
        },
        status: match (finished.interrupted, finished.code) {
            (true, _) => Status::Interrupted,
            (false, 0 | WRONG_OUTPUT) => Status::Done,
            (false, _) => Status::Failed,
        },
        throughput_fps: if seconds > 0.0 {
            frames as f64 / seconds
        } else {
            0.0
        },
        latency_ms: Summary::of(&latencies).unwrap_or_default(),
        period_ms: period_ms(&collected.landed),
        wrong: collected.comparison.map(|comparison| comparison.wrong),
        max_rel_diff: collected
            .comparison
            .map(|comparison| comparison.max_rel_diff),
        frames,
        bad_frames: collected.bad,
        accuracy: (counted > 0).then_some(Accuracy { right, counted }),
        predicted: subject.predicted.clone(),
        ranks: finished.ranks.clone(),
    }
}

/// Mean time between deliveries; none below two frames.
fn period_ms(landed: &[Instant]) -> Option<f64> {
    let (first, last) = (landed.first()?, landed.last()?);
    let steps = landed.len() - 1;
    (steps > 0).then(|| (*last - *first).as_secs_f64() * 1e3 / steps as f64)
}
