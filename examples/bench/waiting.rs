//! What waiting costs: a core's time in long waits, latency in short ones.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use autodice::comm::Link;
use autodice::ids::Rank;

use crate::lab::{is_over, median, Case, Quota, Rule, Sample};
use crate::launch::{print_sample, workers, Transport};
use crate::models;
use crate::ranks::{self, probed, run, told, Pastime, StandIn};
use crate::record::{Bar, Record};
use crate::transfer::{legs, one_way_us};

/// Bytes of a message in a short wait: one MPI message with its header.
const BYTES: usize = 8;
/// Microseconds of the other rank's Run, which this rank waits for.
const SHORT: [u64; 4] = [100, 500, 1000, 2000];
/// Milliseconds of the other rank's Run, and which rank waits.
const LONG: [(u64, u32); 3] = [(50, 1), (50, 0), (200, 1)];
const SKIPPED: usize = 5;

/// The part.
///
/// # Errors
/// Where a job fails.
pub fn waiting(quota: Quota) -> Result<Record> {
    let (mut samples, mut bars) = (Vec::new(), Vec::new());
    for transport in Transport::ALL {
        let arguments = [
            "waiting".to_string(),
            transport.name().into(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        samples.extend(workers(2, transport, &[], &arguments)?.0);
        for (ms, waits) in LONG {
            let case = Case::of(&samples, &long_name(transport.name(), ms, waits));
            let what = format!(
                "CPU of rank {waits} in waits of {ms} ms, {}",
                transport.name()
            );
            let share = |case: &Case<'_>| case.median("cpu_percent");
            bars.push(Bar::judged((&what, "< 5 %"), &case, (share, " %"), |r| {
                r < 5.0
            }));
        }
        for us in SHORT {
            let case = Case::of(&samples, &short_name(transport.name(), us));
            let what = format!("latency added to waits of {us} µs, {}", transport.name());
            let added = |case: &Case<'_>| case.median("added_us");
            bars.push(Bar::judged(
                (&what, "< 60 µs"),
                &case,
                (added, " µs"),
                |r| r < 60.0,
            ));
        }
    }
    let how = "Two MPI processes on a core each, the real loop with stand-ins for the pieces. \
        Long waits: one rank's Run sleeps, the other rank's CPU time (utime + stime of the whole \
        process) by the wall clock. Short waits: both ranks' Runs keep their cores busy for the \
        time given, 8 bytes travel; end of Run to inputs ready on the other rank, as in \
        `transfer`, less half of a ping-pong by MPI_Send and MPI_Recv, which spin. That includes \
        the way from the compute thread to the main thread.";
    Ok(Record {
        part: "waiting",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}

fn long_name(transport: &str, ms: u64, waits: u32) -> String {
    format!("{transport} {ms} ms rank {waits}")
}

fn short_name(transport: &str, us: u64) -> String {
    format!("{transport} {us} us")
}

/// What one rank does.
///
/// # Errors
/// Where the job fails.
pub fn worker(transport: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    let (graph, plan) = models::echo(BYTES)?;
    let program = models::program(&graph, &plan, rank);
    let stand_in = |zero: Pastime, one: Pastime| {
        let pastimes = if rank == Rank(0) {
            vec![zero, Pastime::None]
        } else {
            vec![one]
        };
        StandIn::for_rank(&plan, rank, &pastimes)
    };
    for us in SHORT {
        let busy = Pastime::Busy(Duration::from_micros(us));
        let pieces = stand_in(busy, busy);
        let frames = SKIPPED + (200_000 / us as usize).clamp(60, 300);
        repeat(&mut link, quota, |link| {
            let (all, probes) = probed(link, |link| {
                let times = world
                    .borrow_mut()
                    .ping_pong(Rank(1 - rank.0), BYTES, 500, |_| {});
                ranks::meet(link)?;
                let ran = run(link, &program, &pieces, frames, true)?;
                Ok((median(&times) * 1e6, legs(&ran.trace, rank, SKIPPED)))
            })?;
            let [(bare_us, there), (_, turns)] = &all[..] else {
                return Ok(None);
            };
            let way_us = one_way_us(there, turns);
            let values = [
                ("bare_us", *bare_us),
                ("runner_us", way_us),
                ("added_us", way_us - bare_us),
            ];
            Ok(Some(Sample::new(
                &short_name(transport, us),
                Rule::Drift,
                probes,
                &values,
            )))
        })?;
    }
    for (ms, waits) in LONG {
        let sleep = Pastime::Sleep(Duration::from_millis(ms));
        let pieces = match waits {
            1 => stand_in(sleep, Pastime::None),
            _ => stand_in(Pastime::None, sleep),
        };
        let frames = (1500 / ms) as usize;
        repeat(&mut link, quota, |link| {
            let (all, probes) = probed(link, |link| {
                let (start, before) = (Instant::now(), cpu_seconds()?);
                run(link, &program, &pieces, frames, false)?;
                Ok((cpu_seconds()? - before) / start.elapsed().as_secs_f64() * 100.0)
            })?;
            let Some(&percent) = all.get(waits as usize) else {
                return Ok(None);
            };
            let case = long_name(transport, ms, waits);
            let values = [("cpu_percent", percent)];
            // The probe behind a long sleep finds a core that is slow to wake, nearly always; a
            // share of the CPU hardly changes with that.
            Ok(Some(Sample::new(&case, Rule::None, probes, &values)))
        })?;
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}

/// Takes samples of one case until rank 0 has enough.
///
/// # Errors
/// Where the link failed, or `take` did.
pub fn repeat<L: Link>(
    link: &mut L,
    quota: Quota,
    mut take: impl FnMut(&mut L) -> Result<Option<Sample>>,
) -> Result<()> {
    let (start, mut samples) = (Instant::now(), Vec::new());
    loop {
        if let Some(sample) = take(link)? {
            print_sample(&sample)?;
            samples.push(sample);
        }
        let over = link.rank() == Rank(0) && is_over(quota, start, &samples);
        if told(link, over)? {
            return Ok(());
        }
    }
}

/// CPU time that this process has used, all threads that it ever had included.
fn cpu_seconds() -> Result<f64> {
    /// What Linux tells every program, whatever the kernel ticks at.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The second field is a name in brackets, which may hold spaces.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse::<u64>)
        .sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}
