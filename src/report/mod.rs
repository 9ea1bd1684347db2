//! Tables, CSV and JSON of a run: plain data, and the text made of it.
//!
//! Programs read the JSON and the CSV; the table is for people.

mod accuracy;
mod beside;
mod export;
mod predicted;
mod table;
#[cfg(test)]
mod tests;
mod timeline;
mod trace;

pub use crate::runner::{Predicted, RankReport};
use crate::stats::Summary;
pub use accuracy::Accuracy;
pub use export::{to_json, write_ranks_csv};
pub use predicted::{cost_json, cost_lines, cost_table};
pub use table::{footer_lines, header_lines, rank_table, run_table};
pub use timeline::timeline_svg;
pub use trace::chrome_trace;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All frames ran.
    Done,
    /// Told to stop; the frames delivered until then are in the output.
    Interrupted,
    /// A rank failed.
    Failed,
}

/// What ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This package's version.
    pub autodice: String,
    /// The commit it was built from, where known.
    pub commit: Option<String>,
    /// The MPI library, e.g. `Open MPI 4.1.4`; none where ranks are threads.
    pub mpi: Option<String>,
    /// The engine and its version, e.g. `tract 0.23.9`.
    pub engine: String,
}

/// BLAKE3 hashes, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// Of the spec's text.
    pub spec: String,
    /// Of the model.
    pub model: String,
    /// Of the plan.
    pub plan: String,
}

/// How it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where frames came from, in words.
    pub input: String,
    /// Frames before those that count.
    pub warmup: u64,
    /// Frames in flight.
    pub in_flight: u32,
    /// Compute threads of a rank that says nothing else.
    pub threads: usize,
    /// Form of activations on the wire.
    pub wire: String,
    /// Whether outputs were compared with the uncut model's.
    pub verify: bool,
}

/// A whole run, as `run.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// What ran.
    pub versions: Versions,
    /// The spec's path, as given.
    pub spec: String,
    /// The model's path, as given.
    pub model: String,
    /// Hashes of what ran.
    pub hashes: Hashes,
    /// Each rank's machine, by rank.
    pub hosts: Vec<String>,
    /// How it ran.
    pub settings: Settings,
    /// How it ended.
    pub status: Status,
    /// Frames delivered per second, from the first opened to the last delivered.
    pub throughput_fps: f64,
    /// From a frame opened to its last output at rank 0.
    pub latency_ms: Summary,
    /// Mean time between deliveries; none below two frames.
    pub period_ms: Option<f64>,
    /// Elements out of bounds in all outputs; none where nothing was compared.
    pub wrong: Option<u64>,
    /// Largest |y − ref| as a share of max|ref|; none where nothing was compared.
    pub max_rel_diff: Option<f64>,
    /// Frames delivered, without warm-ups.
    pub frames: u64,
    /// Items of the input that could not be read.
    pub bad_frames: u64,
    /// Right classes, where the true ones are known.
    pub accuracy: Option<Accuracy>,
    /// What it would take by the platform file, where one was given.
    pub predicted: Option<Predicted>,
    /// Every rank, in order.
    pub ranks: Vec<RankReport>,
}
