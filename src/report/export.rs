//! A run as JSON and CSV, for programs.
//!
//! Numbers are written so that reading gives the same number back, with a point in any locale.

use std::io::Write;

use anyhow::{Context, Result};

use super::{RankReport, RunReport};
use crate::stats::Summary;

/// The text of `run.json`; `--json` prints the same. What is not finite becomes `null`.
///
/// # Errors
/// None that a report can cause; the encoder's are passed on.
pub fn to_json(report: &RunReport) -> Result<String> {
    let text = serde_json::to_string_pretty(report).context("run.json")?;
    Ok(text + "\n")
}

/// Writes `ranks.csv`: a row for each rank, with the run's own facts in its first columns, so
/// that the files of many runs can be put together.
///
/// # Errors
/// What the writer says.
pub fn write_ranks_csv(writer: &mut dyn Write, report: &RunReport) -> Result<()> {
    let mut csv = csv::Writer::from_writer(writer);
    let facts = run_facts(report);
    let blank = rank_facts(&RankReport::default());
    csv.write_record(facts.iter().chain(&blank).map(|cell| cell.0))?;
    for rank in &report.ranks {
        let cells = facts.iter().cloned().chain(rank_facts(rank));
        csv.write_record(cells.map(|cell| cell.1))?;
    }
    csv.flush()?;
    Ok(())
}

fn run_facts(report: &RunReport) -> Vec<(&'static str, String)> {
    let commit = report.versions.commit.clone();
    let status = serde_json::to_value(report.status);
    let status = status.ok().and_then(|s| s.as_str().map(String::from));
    vec![
        ("version", report.versions.autodice.clone()),
        ("commit", commit.unwrap_or_default()),
        ("spec", report.spec.clone()),
        ("spec_hash", report.hashes.spec.clone()),
        ("model", report.model.clone()),
        ("model_hash", report.hashes.model.clone()),
        ("status", status.unwrap_or_default()),
        ("frames", report.frames.to_string()),
        ("in_flight", report.settings.in_flight.to_string()),
        ("throughput_fps", format!("{:?}", report.throughput_fps)),
        ("latency_p50_ms", format!("{:?}", report.latency_ms.p50)),
    ]
}

fn rank_facts(rank: &RankReport) -> Vec<(&'static str, String)> {
    let mut cells = vec![
        ("rank", rank.rank.to_string()),
        ("host", rank.host.clone()),
        ("cores", rank.cores.clone()),
        ("stages", rank.stages.clone()),
        ("nodes", rank.nodes.to_string()),
        ("parameters_bytes", rank.parameters_bytes.to_string()),
    ];
    let mut times = |names: [&'static str; 3], summary: &Summary| {
        let values = [summary.p50, summary.p95, summary.max];
        cells.extend(
            names
                .into_iter()
                .zip(values.map(|value| format!("{value:?}"))),
        );
    };
    times(
        ["receive_p50_ms", "receive_p95_ms", "receive_max_ms"],
        &rank.receive_ms,
    );
    times(
        ["compute_p50_ms", "compute_p95_ms", "compute_max_ms"],
        &rank.compute_ms,
    );
    times(["send_p50_ms", "send_p95_ms", "send_max_ms"], &rank.send_ms);
    let wrong = rank.wrong.map(|wrong| wrong.to_string());
    cells.extend([
        ("received_bytes", rank.received_bytes.to_string()),
        ("sent_bytes", rank.sent_bytes.to_string()),
        ("peak_rss_bytes", rank.peak_rss_bytes.to_string()),
        ("wrong", wrong.unwrap_or_default()),
    ]);
    cells
}
