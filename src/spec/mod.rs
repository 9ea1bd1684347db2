//! What the user asked for: the spec file as values, before it meets a model.
//!
//! A spec names nodes, never positions. Paths are relative to the spec's file.

pub mod autodice;
pub mod yaml;

mod mapping;
mod names;
mod read;
mod read_pair;
mod read_split;
mod read_stages;
mod shares;
mod split;
mod write;
mod write_split;

pub use split::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, SplitSpec, ZoneRows, ZoneSpec,
};

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// A spec that cannot be used: one line with the place in the document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct SpecError {
    /// The file as the user named it.
    pub file: String,
    /// Where in the document, e.g. `stages[0].ranks`; empty for the whole of it.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for SpecError {
    /// `specs/a.yaml: stages[0].ranks: no rank, expected a list of ranks, e.g. [0, 1]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            path,
            message,
        } = self;
        match path.as_str() {
            "" => write!(f, "{file}: {message}"),
            _ => write!(f, "{file}: {path}: {message}"),
        }
    }
}

/// Names that `engine:` takes.
pub const ENGINES: [&str; 1] = ["tract"];

/// Names that `wire:` takes.
pub const WIRES: [&str; 1] = ["f32"];

/// Names that `split: {by: …}` takes.
pub const SPLITS: [&str; 4] = ["rows", "grid", "channels", "frames"];

/// A whole spec file.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// `model:` the ONNX file, relative to the spec. Must be given.
    pub model: PathBuf,
    /// `shapes:` lengths of symbolic dimensions by name, e.g. `{height: 224}`, as `--shape` gives
    /// them; at least 1.
    pub shapes: Vec<(String, usize)>,
    /// `input:` where frames come from; may be given by `--input` instead.
    pub input: Option<InputSpec>,
    /// `labels:` a file with one class name a line, for the top-k of outputs.
    pub labels: Option<PathBuf>,
    /// `ranks:` a place and settings of its own for each rank, in rank order; none, or as many
    /// entries as the stages name ranks.
    pub ranks: Vec<RankSpec>,
    /// `stages:` at least one. Together they name every rank from 0 on without a gap.
    pub stages: Vec<StageSpec>,
    /// `run:` settings of the run.
    pub run: RunSpec,
}

/// `input:`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// `frames:` where they come from.
    pub frames: FramesSpec,
    /// `image:` how an image becomes a tensor.
    pub image: ImageSpec,
    /// `truth:` a CSV file with the columns `file` and `label`, for the accuracy.
    pub truth: Option<PathBuf>,
}

/// `frames:`.
#[derive(Clone, Debug, PartialEq)]
pub enum FramesSpec {
    /// A file, a folder, or a pattern with `*`: images, `.npy`, `.npz` or `.pb`.
    Path(PathBuf),
    /// `{synthetic: {count, seed}}`: normal-distributed numbers.
    Synthetic {
        /// `count:` how many frames, at least 1.
        count: u64,
        /// `seed:` of the generator; 1 where it is left out.
        seed: u64,
    },
}

/// `image:`. Without it, images must have the model's size and become 0…255.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageSpec {
    /// `size: WxH`, width first; images of another size are resized. Default: the model's.
    pub size: Option<(usize, usize)>,
    /// `layout: rgb | bgr | grey`. Default: by the model's channels, rgb for 3, grey for 1.
    pub layout: Option<Layout>,
    /// `mean:` subtracted, on the 0…255 scale; one number for each channel, or one for all.
    pub mean: Vec<f32>,
    /// `std:` divided by, after the mean; one number for each channel, or one for all.
    pub std: Vec<f32>,
}

/// Order of an image's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel of luma.
    Grey,
}

/// One entry of `ranks:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankSpec {
    /// `host:` name of the machine that plays this role. Default: any machine.
    pub host: Option<String>,
    /// `cores:` cores to bind to, inside of the launcher's mask: `0-3`, `"0-3,5"` (quoted inside
    /// of braces) or `[0, 1, 4]`, each below 4096 and once. Default: the launcher's mask.
    pub cores: Option<Vec<usize>>,
    /// `threads:` compute threads, 1 to 1024. Default: `run.threads`.
    pub threads: Option<usize>,
    /// `engine:` which engine: tract. Default: `run.engine`.
    pub engine: Option<String>,
    /// `memory_mb:` limit in MB that `check` proves. Default: no limit.
    pub memory_mb: Option<u64>,
}

/// One entry of `stages:`.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpec {
    /// Which nodes.
    pub nodes: StageNodes,
    /// `ranks:` who runs them, e.g. `[0]`, in the order of the split; indices of spec ranks below
    /// 4096, each once.
    pub ranks: Vec<usize>,
    /// `split:` how they share them, e.g. `{by: rows}`; must be given where there are several
    /// ranks.
    pub split: Option<SplitSpec>,
}

/// Which nodes a stage has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageNodes {
    /// `until:` every node not yet taken, up to and including this one in the order of `show`.
    Until(String),
    /// `nodes:` exactly these.
    List(Vec<String>),
    /// Neither: every node not yet taken (the last stage).
    Rest,
}

/// `run:`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// `threads:` compute threads of every rank that does not say otherwise, 1 to 1024.
    /// Default: 1.
    pub threads: usize,
    /// `in_flight:` frames in flight, 1 to 32767. Default: the longest chain of stages + cycle; 1
    /// where there is one stage and no cycle.
    pub in_flight: Option<u32>,
    /// `engine:` of every rank that does not say otherwise: tract, the default.
    pub engine: String,
    /// `wire:` form of activations on the wire: f32, the default, is exact.
    pub wire: String,
    /// `watchdog:` silence of a rank that counts as failure, e.g. `30s` or `500ms`, at most a day.
    /// Default: 30s.
    pub watchdog: Duration,
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            threads: 1,
            in_flight: None,
            engine: "tract".into(),
            wire: "f32".into(),
            watchdog: Duration::from_secs(30),
        }
    }
}

impl Spec {
    /// How many ranks the spec asks for: one more than the highest that a stage or `ranks:` names.
    pub fn rank_count(&self) -> usize {
        let named = self
            .stages
            .iter()
            .flat_map(|stage| &stage.ranks)
            .map(|rank| rank + 1);
        named.max().unwrap_or(1).max(self.ranks.len())
    }
}
