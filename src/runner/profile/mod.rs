//! `--profile`: measures what a plan costs here, once, for every plan to come.
//!
//! Set up as a run is: rank 0 reads the model and broadcasts its facts. Then all ranks at once
//! time every different work of the model with their own engine (`nodes`), while they watch how
//! fast their cores are (`gauge`), pairs of hosts their links (`links`), and rank 0 writes the
//! platform file (`file`). Everything is bounded by the budget: what is short of time is measured
//! coarser (`ladder`), and the file says so.

mod beside;
mod clock;
mod constants;
mod file;
mod fit;
mod gauge;
mod ladder;
mod lead;
mod links;
mod little;
mod log;
mod looks;
mod nodes;
mod overhead;
mod pass;

mod schedule;
mod stopwatch;
mod talk;
mod teller;
mod unit;
mod waking;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::constants::Constants;
use self::lead::{meet, prepare, share, tell, Common};
use self::log::RankTimes;
use self::nodes::{Bench, Signals};
use self::teller::Teller;
use super::failure::{Failure, DEFECT};
use super::job::{End, Place};
use super::pulse::{Guard, Pulse};
use super::seat::{sit, Seat};
use super::setup::{aside, join, on_lead, pump, spawn, verdict};
use crate::comm::collective::agree;
use crate::comm::{Link, Mailbox};
use crate::ids::Rank;
use crate::platform::Platform;

const WATCHDOG: Duration = Duration::from_secs(30);
/// The share of the budget that is for nodes; the rest is for links, where there are any.
const FOR_NODES: f64 = 0.7;

/// What the user asked for. Every process has it from its own command line; rank 0 acts on it,
/// the others on `threads` alone.
#[derive(Clone, Debug, Default)]
pub struct ProfileRequest {
    /// The model's file.
    pub model: PathBuf,
    /// The platform file to write; what it says by hand stays.
    pub output: PathBuf,
    /// About how long to measure.
    pub budget: Duration,
    /// Compute threads of this rank. Default: what the platform file says of its host, or 1.
    pub threads: Option<usize>,
    /// Lengths of symbolic dimensions.
    pub shapes: Vec<(String, usize)>,
    /// No progress.
    pub quiet: bool,
}

/// What rank 0 has in the end.
#[derive(Debug)]
pub struct Profiled {
    /// What was written.
    pub platform: Platform,
    /// The hosts that were measured, in the order of their first ranks.
    pub hosts: Vec<String>,
}

/// Measures this rank's part; rank 0 writes the file and returns what is in it.
///
/// # Errors
/// `End`: how to leave.
pub fn run_profile(
    link: &mut dyn Link,
    place: &Place<'_>,
    request: &ProfileRequest,
) -> Result<Option<Profiled>, End> {
    let started = Instant::now();
    // Pieces run as in a job, once each has been loaded.
    crate::heap::for_frames();
    let mut pulse = Pulse::new(link, WATCHDOG);
    let name = format!("rank {}@{}", pulse.rank(), place.host);
    let guard = Guard::start(pulse.ticks(), WATCHDOG, name);
    let files = request.clone();
    let lead = on_lead(&mut pulse, place, move || prepare(&files))?;
    let common = Arc::new(share(&mut pulse, place, lead.as_ref())?);
    let crowd = meet(&mut pulse, place, &common, request.threads)?;
    let seat = sit(&mut pulse, place, &crowd.threads, None, &crowd.seats)?;
    let mut teller = Teller::new(request.quiet || pulse.rank() != Rank(0));
    let alone = pulse.size() == 1;
    let for_nodes = if alone { 1.0 } else { FOR_NODES };
    let time = common.budget.mul_f64(for_nodes);
    let hosts = crowd.hosts();
    let own = hosts
        .iter()
        .find(|(_, ranks)| ranks.contains(&pulse.rank()));
    let ranks_here = own.map_or(1, |(_, ranks)| ranks.len());
    let times = nodes(
        &mut pulse,
        place,
        &common,
        &seat,
        (time, ranks_here),
        &mut teller,
    )?;
    let left = common.budget.saturating_sub(time);
    let ranks: Vec<_> = hosts.iter().map(|(_, ranks)| ranks.clone()).collect();
    let own = pulse.rank();
    let sharing = |other| crowd.sharing(own, other);
    let links = links::measure(&mut pulse, &ranks, &sharing, left, &mut |done, all| {
        teller.say(&format!("links, round {} of {all}", done + 1));
    })?;
    let found = tell(&mut pulse, place, &(times, links))?;
    let written = lead.map(|lead| lead.write(&common, &crowd, found, started, request));
    let written = verdict(&mut pulse, place, written.transpose())?;
    pulse.stop_watching();
    drop(guard);
    Ok(written)
}

/// Times this rank's engine on a compute thread, while all ranks do.
fn nodes(
    link: &mut dyn Link,
    place: &Place<'_>,
    common: &Arc<Common>,
    seat: &Seat,
    (time, ranks_here): (Duration, usize),
    teller: &mut Teller,
) -> Result<RankTimes, End> {
    let signals = Arc::new(Signals::default());
    let (to_main, from_thread) = channel();
    let bench = {
        let (common, signals) = (Arc::clone(common), Arc::clone(&signals));
        let (bind, threads) = (seat.binder(), seat.threads);
        let main = std::thread::current();
        spawn(move || {
            bind();
            let wrong = |error: anyhow::Error| Failure::input(&error);
            let constants = Constants::new(&common.graph, common.constants.clone());
            let bench = Bench {
                graph: &common.graph,
                units: &common.units,
                constants: &constants.map_err(wrong)?,
                threads,
                ranks_here,
            };
            let told = |times| {
                let _main_is_there = to_main.send(times);
                main.unpark();
            };
            bench.measure(time, &signals, told).map_err(wrong)
        })
    };
    let mut times = None;
    let mut mail = Mailbox::new(&mut *link);
    let idle = super::idle::Idle::new(false);
    while times.is_none() && !bench.is_finished() {
        mail.poll_all()?;
        times = from_thread.try_recv().ok();
        let done = signals.done.load(Ordering::Relaxed);
        let all = ladder::levels().len();
        teller.say(&format!("nodes, {done} of {all} levels measured"));
        idle.beside_run(false);
    }
    times = times.or_else(|| from_thread.try_recv().ok());
    let Some(times) = times else {
        // The others measure on and are not to be waited for: this ends the job.
        drop(mail);
        let ended = aside(link, move || join(bench))?;
        let missing = || Failure::new(DEFECT, "the compute thread measured nothing");
        return Err(ended.err().unwrap_or_else(missing).into());
    };
    // Whoever is through keeps its cores busy until everyone is.
    let together = agree::<_, End>(&mut mail, None, &mut pump());
    signals.stop.store(true, Ordering::Relaxed);
    together?;
    drop(mail);
    let ended = aside(link, move || join(bench))?;
    verdict(link, place, ended.map(|()| times))
}

#[cfg(test)]
mod tests;
