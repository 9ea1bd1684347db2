//! What a run came to, on every rank and in all.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::collect::Collected;
use super::failure::{Failure, DEFECT, INTERRUPTED, WRONG_INPUT, WRONG_OUTPUT};
use super::frame::Program;
use super::job::{End, Place, Request};
use super::predict::Predicted;
use super::seat::Seat;
use super::setup::{pump, verdict, Seats, NOTE_LIMIT};
use super::stream::Ran;
use super::times::FrameTimes;
use crate::comm::collective::gather_bytes;
use crate::comm::{Link, Mailbox};
use crate::cost::Interval;
use crate::plan::tally;
use crate::stats::Summary;

/// Most bytes of one rank's intervals: some ten million of them.
const TRACE_LIMIT: u64 = 256 << 20;

/// What one rank did; small enough to travel to rank 0 at the end. Frames are those that count:
/// no warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankReport {
    /// Which rank.
    pub rank: usize,
    /// Name of its machine.
    pub host: String,
    /// Cores that its compute threads are bound to, e.g. `0-3`.
    pub cores: String,
    /// The nodes that it runs, in words, e.g. `conv1_1 … pool2`.
    pub stages: String,
    /// Nodes that it runs, whole or in part.
    pub nodes: usize,
    /// Weights that it holds.
    pub parameters_bytes: u64,
    /// Per frame: waiting for messages; includes waiting for the rank before.
    pub receive_ms: Summary,
    /// Per frame: running pieces, copying and adding.
    pub compute_ms: Summary,
    /// Per frame: from the start of each message to its completion, summed.
    pub send_ms: Summary,
    /// Payload received, mean of all frames.
    pub received_bytes: u64,
    /// Payload sent, mean of all frames.
    pub sent_bytes: u64,
    /// Largest resident memory since the process began, set-up included.
    pub peak_rss_bytes: u64,
    /// From the start of set-up to the end of loading.
    pub setup_ms: f64,
    /// Elements out of bounds in outputs; none where nothing was compared. On rank 0, which
    /// takes all outputs.
    pub wrong: Option<u64>,
}

/// A finished job, on rank 0.
#[derive(Debug)]
pub struct Finished {
    /// The code that all ranks leave with: 0, that of outputs which differ, or that of the
    /// reason to stop.
    pub code: i32,
    /// Whether rank 0 was told to stop early.
    pub interrupted: bool,
    /// Frames in flight at most.
    pub window: u32,
    /// What ran.
    pub subject: Subject,
    /// The outputs.
    pub collected: Collected,
    /// Every rank, in order.
    pub ranks: Vec<RankReport>,
    /// What every rank did when, where the request asks for a trace.
    pub trace: Option<Traced>,
}

/// The intervals of a run, with what they are of.
#[derive(Debug)]
pub struct Traced {
    /// The plan and its graph.
    pub program: Arc<Program>,
    /// Of all ranks.
    pub intervals: Vec<Interval>,
}

/// What ran, for the report.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The model's file, as the spec gives it.
    pub model: String,
    /// BLAKE3 of the spec's text.
    pub spec_hash: [u8; 32],
    /// BLAKE3 of the graph, in which every weight has its own hash.
    pub model_hash: [u8; 32],
    /// BLAKE3 of the plan.
    pub plan_hash: [u8; 32],
    /// Where frames came from, in words.
    pub input: String,
    /// Compute threads of a rank that says nothing else.
    pub threads: usize,
    /// Form of activations on the wire.
    pub wire: String,
    /// What it would take, where a platform file was given.
    pub predicted: Option<Predicted>,
}

/// Brings every rank's report to rank 0 and agrees on the exit code.
///
/// # Errors
/// `End`: the link failed, or rank 0 gave frames up and ends the job.
pub fn finish(
    link: &mut dyn Link,
    place: &Place<'_>,
    program: &Arc<Program>,
    seat: &Seat,
    (ran, setup): (Ran, Duration),
    (seats, request): (&Seats, &Request),
) -> Result<Option<Finished>, End> {
    if let Some(failure) = ran.stopped {
        let hosts = seats.iter().map(|(host, _)| host.clone());
        let Some(collected) = ran.collected else {
            return Err(failure.into());
        };
        let finished = stopped(&failure, program, (collected, ran.subject), hosts);
        return Err(End::Stopped(failure, Box::new(finished)));
    }
    let rank = link.rank();
    let mut own = rank_report(program, seat, &ran.driven.times, request.warmup);
    own.host = seats[rank.index()].0.clone();
    own.setup_ms = setup.as_secs_f64() * 1e3;
    let bytes = postcard::to_stdvec(&own).expect("plain data serialises");
    let reports = {
        let mut mail = Mailbox::new(&mut *link);
        gather_bytes(&mut mail, bytes, NOTE_LIMIT, &mut pump())?
    };
    let trace = gather_trace(link, program, &ran.intervals, request)?;
    let finished = ran.collected.map(|collected| {
        let ranks: Result<Vec<RankReport>, _> = reports
            .iter()
            .map(|bytes| postcard::from_bytes(bytes))
            .collect();
        let mut ranks =
            ranks.map_err(|error| Failure::new(DEFECT, format!("a rank's report: {error}")))?;
        let wrong = collected.comparison.map(|comparison| comparison.wrong);
        ranks[0].wrong = wrong;
        let unread = collected.latencies.is_empty() && collected.bad > 0;
        let code = match (ran.driven.interrupted, unread, wrong.unwrap_or(0)) {
            (true, ..) => INTERRUPTED,
            (false, true, _) => WRONG_INPUT,
            (false, false, 0) => 0,
            (false, false, _) => WRONG_OUTPUT,
        };
        if code == WRONG_INPUT {
            // Which and why was a warning each, and is in `frames.csv`.
            let line = format!("no frame: of {} items none can be read", collected.bad);
            place.say(rank, &Failure::new(code, line));
        }
        let (interrupted, window) = (ran.driven.interrupted, program.plan.window);
        let mut subject = ran.subject;
        subject.plan_hash = program.plan.hash();
        Ok(Finished {
            code,
            interrupted,
            window,
            subject,
            collected,
            ranks,
            trace,
        })
    });
    let finished: Option<Finished> = finished.transpose().map_err(|failure: Failure| failure)?;
    // The exit code travels as a verdict that nobody prints.
    let code = finished.as_ref().map_or(0, |finished| finished.code);
    let own = match code {
        0 => Ok(()),
        code => Err(Failure {
            code,
            message: String::new(),
            silent: true,
            rank: None,
        }),
    };
    match (verdict(link, place, own), finished) {
        (Err(End::Agreed(_)), Some(finished)) => Ok(Some(finished)),
        (Err(end), _) => Err(end),
        (Ok(()), finished) => Ok(finished),
    }
}

/// Brings every rank's intervals to rank 0, where they were asked for.
fn gather_trace(
    link: &mut dyn Link,
    program: &Arc<Program>,
    own: &[Interval],
    request: &Request,
) -> Result<Option<Traced>, End> {
    if request.trace.is_none() {
        return Ok(None);
    }
    let bytes = postcard::to_stdvec(own).expect("plain data serialises");
    let mut mail = Mailbox::new(&mut *link);
    let gathered = gather_bytes(&mut mail, bytes, TRACE_LIMIT, &mut pump())?;
    let mut intervals: Vec<Interval> = vec![];
    for bytes in &gathered {
        let of_rank: Vec<Interval> = postcard::from_bytes(bytes)
            .map_err(|error| Failure::new(DEFECT, format!("a rank's trace: {error}")))?;
        intervals.extend(of_rank);
    }
    Ok(Some(Traced {
        program: Arc::clone(program),
        intervals,
    }))
}

/// What is known of a job that rank 0 ends in the middle: nothing of the other ranks.
fn stopped(
    failure: &Failure,
    program: &Program,
    (collected, mut subject): (Collected, Subject),
    hosts: impl Iterator<Item = String>,
) -> Finished {
    subject.plan_hash = program.plan.hash();
    let report = |(rank, host)| RankReport {
        rank,
        host,
        ..RankReport::default()
    };
    Finished {
        code: failure.code,
        interrupted: failure.code == INTERRUPTED,
        window: program.plan.window,
        subject,
        collected,
        ranks: hosts.enumerate().map(report).collect(),
        trace: None,
    }
}

fn rank_report(
    program: &Program,
    seat: &Seat,
    times: &[(u64, FrameTimes)],
    warmup: u64,
) -> RankReport {
    let counted: Vec<_> = times
        .iter()
        .filter(|(sequence, _)| *sequence >= warmup)
        .map(|(_, times)| times)
        .collect();
    let summary = |of: fn(&FrameTimes) -> Duration| {
        let samples: Vec<_> = counted
            .iter()
            .map(|times| of(times).as_secs_f64() * 1e3)
            .collect();
        Summary::of(&samples).unwrap_or_default()
    };
    let mean = |of: fn(&FrameTimes) -> u64| {
        counted.iter().map(|times| of(times)).sum::<u64>() / counted.len().max(1) as u64
    };
    let mut nodes: Vec<_> = program
        .own()
        .pieces
        .iter()
        .flat_map(|piece| piece.nodes.iter().copied())
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    let name = |at: Option<&crate::ids::NodeId>| {
        at.map_or("-", |&id| &program.graph.node(id).origin)
            .to_string()
    };
    let stages = match nodes.len() {
        0 | 1 => name(nodes.first()),
        _ => format!("{} … {}", name(nodes.first()), name(nodes.last())),
    };
    let weights = tally(&program.graph, &program.plan)
        .map_or(0, |tally| tally.ranks[program.rank.index()].weight_bytes);
    RankReport {
        rank: program.rank.index(),
        host: String::new(),
        cores: seat.cores.to_string(),
        stages,
        nodes: nodes.len(),
        parameters_bytes: weights,
        receive_ms: summary(|times| times.receive),
        compute_ms: summary(|times| times.compute),
        send_ms: summary(|times| times.send),
        received_bytes: mean(|times| times.received_bytes),
        sent_bytes: mean(|times| times.sent_bytes),
        peak_rss_bytes: peak_rss().unwrap_or(0),
        setup_ms: 0.0,
        wrong: None,
    }
}

/// The process's largest resident memory so far, in bytes; none where the system does not say.
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
