//! A whole job on one rank, from the command line to the exit code: set up, run, report.
//!
//! Until the first frame every rank keeps its verdict to itself and all agree on the lowest
//! failing one; from then on a failure ends the job at once. The two doors never mix.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, DEFECT, WRONG_INPUT};
use super::frame::Program;
use super::idle::Idle;
use super::pulse::{Guard, Pulse};
use super::roles::Roles;
use crate::comm::collective::{agree, agree_hash, broadcast_bytes, gather_bytes, CollectiveError};
use crate::comm::{Link, LinkError, Mailbox};
use crate::graph::{check_graph, Graph};
use crate::ids::Rank;
use crate::plan::{check, compile};
use crate::platform::match_roles;
use crate::spec::{yaml, Spec};

/// Changes with every change of what ranks say to each other.
const WIRE: u32 = 1;
/// Most bytes of spec and graph that a rank takes in.
const BUNDLE_LIMIT: u64 = 64 << 20;
/// Most bytes of one rank's name or report.
const NOTE_LIMIT: u64 = 1 << 20;

/// How a rank's part of a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All ranks know it and leave with this code; the link is to be closed.
    Agreed(i32),
    /// This rank ends the job: it prints the line and aborts.
    Abort(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Abort(failure)
    }
}

impl From<CollectiveError> for End {
    fn from(error: CollectiveError) -> Self {
        match error {
            CollectiveError::Link(error) => error.into(),
            other => Failure::running(other.to_string()).into(),
        }
    }
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Failure::from(error).into()
    }
}

/// What the user asked `autodice-run` for. Every process has it from its own command line; only
/// rank 0 acts on the paths.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The spec's file.
    pub spec: PathBuf,
    /// Overrides the spec's `input.frames`.
    pub input: Option<PathBuf>,
    /// Where outputs are written.
    pub output: Option<PathBuf>,
    /// Lengths of symbolic dimensions, before those of the spec.
    pub shapes: Vec<(String, usize)>,
    /// Most frames to run.
    pub frames: Option<u64>,
    /// Frames before the first that counts.
    pub warmup: u64,
    /// Compare every output with the uncut model's.
    pub verify: bool,
    /// No progress.
    pub quiet: bool,
}

/// What rank 0 tells the others. Its first field says whether the rest can be read.
#[derive(Serialize, Deserialize)]
struct Bundle {
    spec_file: String,
    spec_text: String,
    graph: Graph,
    from_folder: bool,
}

/// What a rank knows once it has read the bundle.
struct Ready {
    spec: Spec,
    graph: Graph,
    from_folder: bool,
}

/// The versions that must agree before anything else is read.
fn greeting() -> Vec<u8> {
    let mut bytes = WIRE.to_le_bytes().to_vec();
    bytes.extend(env!("CARGO_PKG_VERSION").as_bytes());
    bytes
}

fn read_bundle(bytes: &[u8]) -> Result<Ready, Failure> {
    let greeting = greeting();
    let Some(rest) = bytes.strip_prefix(&greeting[..]) else {
        let own = env!("CARGO_PKG_VERSION");
        let line = format!("rank 0 runs another version than {own} (wire {WIRE}): install one");
        return Err(Failure::new(WRONG_INPUT, line));
    };
    let defect = |error: String| Failure::new(DEFECT, format!("rank 0's message: {error}"));
    let bundle: Bundle = postcard::from_bytes(rest).map_err(|error| defect(error.to_string()))?;
    check_graph(&bundle.graph).map_err(|error| defect(error.to_string()))?;
    let spec = yaml::parse(&bundle.spec_file, &bundle.spec_text)
        .map_err(|error| Failure::new(WRONG_INPUT, error.to_string()))?;
    Ok(Ready { spec, graph: bundle.graph, from_folder: bundle.from_folder })
}
