//! The frames of a run: on rank 0 with the decoding and the collecting thread beside.

use std::sync::mpsc::{channel, sync_channel};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::account::Subject;
use super::collect::{self, Collected, Collecting};
use super::drive::Driven;
use super::failure::{Failure, INTERRUPTED};
use super::feed::{self, Feeding};
use super::frame::Program;
use super::head::Head;
use super::job::{End, Place, Request};
use super::lead::Lead;
use super::load::Pieces;
use super::run_loop::run_loop;
use super::seat::Seat;
use super::setup::{aside, join, verdict};
use super::trace::Trace;
use crate::comm::Link;

/// How long a failing rank 0 waits for its last outputs to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the loop and, on rank 0, the outputs came to.
#[derive(Default)]
pub struct Ran {
    /// The loop's account.
    pub driven: Driven,
    /// The outputs' account, on rank 0.
    pub collected: Option<Collected>,
    /// What this rank did when, where the request asks for a trace.
    pub intervals: Vec<crate::cost::Interval>,
    /// What ran, on rank 0.
    pub subject: Subject,
    /// Why rank 0 has to end the job; `collected` has what came before, where that is known.
    pub stopped: Option<Failure>,
}

/// Runs the frames.
///
/// # Errors
/// `End` with the reason. On rank 0 a failure after the first frame is in `Ran` instead.
pub fn run(
    link: &mut dyn Link,
    place: &Place<'_>,
    program: &Arc<Program>,
    seat: &Seat,
    pieces: Pieces,
    lead: Option<Lead>,
    request: &Request,
) -> Result<Ran, End> {
    let trace = Arc::new(Trace::new(request.trace.is_some()));
    let watched = (&trace, place.interrupt);
    let rank = link.rank();
    let opened = open_outputs(link, place, lead, request)?;
    // All ranks have just agreed: their clocks start within a message's time of each other.
    let origin = Instant::now();
    let Some((lead, collecting)) = opened else {
        let driven = run_loop(link, program, pieces, None, watched, seat.binder())?;
        return Ok(Ran {
            driven,
            intervals: trace.since(origin, rank),
            ..Ran::default()
        });
    };
    let window = program.plan.window;
    let (to_collector, entries) = channel();
    let (sink, delivered) = sync_channel(window as usize);
    let feeding = Feeding {
        warmup: request.warmup,
        limit: request.frames.unwrap_or(u64::MAX),
        ahead: window as usize,
        keep: request.verify,
    };
    let subject = lead.subject();
    let outputs = lead.graph.outputs.clone();
    let inputs = lead.graph.inputs.clone();
    let (fed, decoding) = feed::start(lead.frames, inputs, feeding, to_collector);
    let collector = collect::start(delivered, entries, collecting);
    let head = Some(Head::new(fed, sink, outputs, window));
    let ran = match run_loop(link, program, pieces, head, watched, seat.binder()) {
        Ok(driven) => close(link, driven, decoding, collector)?,
        Err(failure) => give_up(failure, collector),
    };
    let intervals = trace.since(origin, rank);
    Ok(Ran {
        subject,
        intervals,
        ..ran
    })
}

/// Rank 0 opens what outputs are written to and compared with; all agree on whether that worked.
fn open_outputs(
    link: &mut dyn Link,
    place: &Place<'_>,
    lead: Option<Lead>,
    request: &Request,
) -> Result<Option<(Lead, Collecting)>, End> {
    let own = match lead {
        Some(lead) => {
            let request = request.clone();
            let open = move || {
                let collecting = lead.open_outputs(&request)?;
                Ok(Some((lead, collecting)))
            };
            aside(link, open)?
        }
        None => Ok(None),
    };
    verdict(link, place, own)
}

/// Rank 0 after the last frame: the outputs' account, and whether the two threads did their work.
fn close(
    link: &mut dyn Link,
    driven: Driven,
    decoding: JoinHandle<Result<(), Failure>>,
    collector: JoinHandle<Result<Collected, Failure>>,
) -> Result<Ran, End> {
    let (collected, mut stopped) = match aside(link, move || join(collector))? {
        Ok(collected) => (Some(collected), None),
        Err(failure) => (None, Some(failure)),
    };
    if driven.dropped > 0 {
        let line = format!("told to stop: {} frames given up", driven.dropped);
        stopped = stopped.or(Some(Failure::new(INTERRUPTED, line)));
    } else if !driven.interrupted {
        // The source has ended, or the thread has with a panic.
        stopped = stopped.or(aside(link, move || join(decoding))?.err());
    }
    Ok(Ran {
        driven,
        collected,
        stopped,
        ..Ran::default()
    })
}

/// Rank 0 after a failure: what was delivered before it is written, if that is quick. Where the
/// outputs could not be written, that is the failure.
fn give_up(failure: Failure, collector: JoinHandle<Result<Collected, Failure>>) -> Ran {
    let started = Instant::now();
    while !collector.is_finished() && started.elapsed() < LAST_WORDS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let collected = match collector.is_finished() {
        true => join(collector).map(Some),
        false => Ok(None),
    };
    let (collected, failure) = match collected {
        Ok(collected) => (collected, failure),
        Err(cause) => (None, cause),
    };
    Ran {
        collected,
        stopped: Some(failure),
        ..Ran::default()
    }
}
