//! Sub-models on disk: a folder for each rank, which that rank alone reads.
//!
//! ```text
//! DIR/spec.yaml             the spec, written last
//! DIR/rank-<r>/piece-<i>.onnx   sub-models; their weights are external data in
//! DIR/rank-<r>/weights.bin      every slice that the rank uses, once, at a page's start
//! DIR/rank-<r>/graph.bin        facts about the model
//! DIR/rank-<r>/plan.bin         what all ranks do
//! DIR/rank-<r>/rank.json        sizes and hashes of all that; a folder without it is not whole
//! ```

mod open;
mod write;

pub use open::Folder;
pub use write::write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Which form of folders this version writes and reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "rank.json";
const GRAPH: &str = "graph.bin";
const PLAN: &str = "plan.bin";
const WEIGHTS: &str = "weights.bin";
const SPEC: &str = "spec.yaml";

/// What `rank.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// Of the package that wrote the folder.
    version: String,
    rank: u32,
    ranks: u32,
    /// BLAKE3 of the plan, as all ranks must agree on.
    plan_blake3: String,
    /// Every file but the weights' and this one.
    files: Vec<FileEntry>,
    weights: WeightsEntry,
}

/// A small file, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    bytes: u64,
    blake3: String,
}

/// The file of the weights, slice by slice: it may be larger than what is good to read twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightsEntry {
    name: String,
    bytes: u64,
    slices: Vec<SliceEntry>,
}

/// One slice of a weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceEntry {
    offset: u64,
    bytes: u64,
    blake3: String,
}

fn folder_name(rank: usize) -> String {
    format!("rank-{rank}")
}

fn piece_name(piece: usize) -> String {
    format!("piece-{piece}.onnx")
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Whether `name` is `before`, a number, `after`.
fn is_numbered(name: &str, before: &str, after: &str) -> bool {
    let number = name
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The text with the path in front, where there is an error.
fn at<T, E>(path: &std::path::Path, outcome: std::result::Result<T, E>) -> Result<T>
where
    std::result::Result<T, E>: Context<T, E>,
{
    outcome.with_context(|| path.display().to_string())
}
