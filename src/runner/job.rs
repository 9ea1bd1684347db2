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

/// Where a rank is, and how it is told to stop.
pub struct Place<'a> {
    /// Name of the machine.
    pub host: String,
    /// Set when the process was told to stop (SIGTERM, SIGINT).
    pub interrupt: &'a AtomicBool,
}

/// Runs the whole job on this rank.
///
/// Returns the report on rank 0 and nothing elsewhere, once all ranks have agreed on the exit
/// code.
///
/// # Errors
/// `End`: how to leave.
pub fn run_job(
    link: &mut dyn Link,
    place: &Place<'_>,
    request: &Request,
) -> Result<Option<Finished>, End> {
    let mut pulse = Pulse::new(link, DEFAULT_WATCHDOG);
    let (ready, lead) = share_spec(&mut pulse, place, request)?;
    pulse.set_watchdog(ready.spec.run.watchdog);
    let _guard = Guard::start(pulse.ticks(), ready.spec.run.watchdog, place.host.clone());
    let (roles, hosts) = cast(&mut pulse, place, &ready.spec)?;
    let mut roles = Roles::new(&mut pulse, &roles);
    let program = agree_on_plan(&mut roles, &ready)?;
    let seat = take_seat(&mut roles, &ready.spec, &program)?;
    let pieces = load(&mut roles, place, request, &ready, &program, &seat, lead.as_ref())?;
    let ran = run(&mut roles, place, request, &program, &seat, pieces, lead)?;
    let finished = finish(&mut roles, &program, &seat, ran, &hosts)?;
    pulse.stop_watching();
    Ok(finished)
}
