//! A whole job on one rank, from the command line to the exit code: set up, run, report.
//!
//! Until the first frame every rank keeps its verdict to itself and all agree on the lowest
//! failing one; from then on a failure ends the job at once. The two doors never mix.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{finish, Finished};
use super::cache::Cache;
use super::failure::Failure;
use super::lead::{prepare, Lead};
use super::load::{load, Origin};
use super::predict::predict;
use super::pulse::{Guard, Pulse};
use super::roles::Roles;
use super::seat::take_seat;
use super::setup::{agree_on_plan, cast, on_lead, share, verdict, Ready, Seats};
use crate::comm::collective::CollectiveError;
use crate::comm::{Link, LinkError};
use crate::heap;
use crate::ids::Rank;

/// The silence that counts as failure until the spec says another.
const WATCHDOG: Duration = Duration::from_secs(30);

/// What the user asked `autodice-run` for. Every process has it from its own command line; only
/// rank 0 acts on the paths, and the others on the spec's folder where there is a split there.
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
    /// The platform file to predict the run by, if there is one; rank 0 alone reads it.
    pub platform: Option<PathBuf>,
    /// Compare every output with the uncut model's.
    pub verify: bool,
    /// Where this rank keeps the weights that it was sent, if it does.
    pub cache: Option<PathBuf>,
    /// Where rank 0 writes what every rank did when, if it is kept.
    pub trace: Option<PathBuf>,
    /// No progress.
    pub quiet: bool,
}

/// Where a rank is, and how it is told to stop.
pub struct Place<'a> {
    /// Name of the machine.
    pub host: String,
    /// The MPI library, for the report.
    pub library: String,
    /// Set when the process was told to stop (SIGTERM, SIGINT).
    pub interrupt: &'a AtomicBool,
}

impl Place<'_> {
    /// Prints why a rank gives up, on one line.
    pub fn say(&self, rank: Rank, failure: &Failure) {
        if !failure.silent {
            let rank = failure.rank.unwrap_or(rank);
            // One write: the lines of many ranks share one stderr.
            let line = format!("rank {rank}@{}: {failure}\n", self.host);
            let _unread = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// How a rank's part of a job ends early.
#[derive(Debug)]
pub enum End {
    /// All ranks know it and leave with this code; the link is to be closed.
    Agreed(i32),
    /// This rank ends the job: it prints the line and aborts.
    Abort(Failure),
    /// Likewise, on rank 0 after the first frame: with what there is of the run.
    Stopped(Failure, Box<Finished>),
}

impl End {
    /// The failure as that of a role: what people read has the spec's numbers.
    fn of(self, role: Rank) -> Self {
        let of = |failure| Failure {
            rank: Some(role),
            ..failure
        };
        match self {
            Self::Agreed(code) => Self::Agreed(code),
            Self::Abort(failure) => Self::Abort(of(failure)),
            Self::Stopped(failure, finished) => Self::Stopped(of(failure), finished),
        }
    }
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

/// Runs the whole job on this rank.
///
/// Returns the report on rank 0 and nothing elsewhere, once all ranks have agreed on the exit
/// code and the link can be closed.
///
/// # Errors
/// `End`: how to leave.
pub fn run_job(
    link: &mut dyn Link,
    place: &Place<'_>,
    request: &Request,
) -> Result<Option<Finished>, End> {
    let started = Instant::now();
    heap::for_loading();
    let mut pulse = Pulse::new(link, WATCHDOG);
    let name = format!("rank {}@{}", pulse.rank(), place.host);
    let files = request.clone();
    let mut lead = on_lead(&mut pulse, place, move || prepare(&files))?;
    let bundle = lead.as_mut().map(Lead::take_bundle).unwrap_or_default();
    let ready = Arc::new(share(&mut pulse, place, bundle)?);
    pulse.set_watchdog(ready.spec.run.watchdog);
    let guard = Guard::start(pulse.ticks(), ready.spec.run.watchdog, name);
    let (cast_as, seats) = cast(&mut pulse, place, &ready)?;
    let finished = {
        let mut link = Roles::new(&mut pulse, &cast_as);
        let role = link.rank();
        let known = (&ready, &seats, started);
        play(&mut link, place, request, known, lead).map_err(|end| end.of(role))?
    };
    pulse.stop_watching();
    drop(guard);
    Ok(finished)
}

/// A rank's part from when it knows its role.
fn play(
    link: &mut dyn Link,
    place: &Place<'_>,
    request: &Request,
    (ready, seats, started): (&Arc<Ready>, &Seats, Instant),
    mut lead: Option<Lead>,
) -> Result<Option<Finished>, End> {
    let program = agree_on_plan(link, place, ready)?;
    predict(link, place, &program, lead.as_mut(), (seats, request))?;
    let seat = take_seat(link, place, &ready.spec, seats)?;
    let cache = request.cache.as_deref().map(Cache::open).transpose();
    let cache = verdict(link, place, cache.map_err(|error| Failure::input(&error)))?;
    let origin = match (&lead, ready.from_folder) {
        (_, true) => Origin::Folder(super::lead::folder_of(&request.spec)),
        (Some(lead), _) => Origin::Model(lead.weights()?),
        (None, _) => Origin::Messages(cache),
    };
    let pieces = load(link, place, &program, origin, seat.engine(), seat.binder())?;
    heap::for_frames();
    let setup = started.elapsed();
    let ran = super::stream::run(link, place, &program, &seat, pieces, lead, request)?;
    finish(link, place, &program, &seat, (ran, setup), (seats, request))
}
