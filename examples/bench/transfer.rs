//! An activation's way through the runner, against a bare MPI ping-pong of the same bytes.

use std::time::Instant;

use anyhow::Result;
use autodice::comm::Link;
use autodice::ids::{PieceId, Rank};
use autodice::runner::{Interval, Kind};

use crate::lab::{is_over, median, Case, Quota, Rule, Sample};
use crate::launch::{print_sample, workers, Transport};
use crate::models;
use crate::ranks::{self, probed, run, told, Pastime, StandIn};
use crate::record::{Bar, Record};

/// Megabytes of an activation, and the share of the ping-pong's bandwidth that is the bar.
const SIZES: [(usize, f64); 3] = [(1, 0.75), (4, 0.9), (16, 0.9)];
const SKIPPED: usize = 3;

/// The part.
///
/// # Errors
/// Where a job fails.
pub fn transfer(quota: Quota) -> Result<Record> {
    let (mut samples, mut bars) = (Vec::new(), Vec::new());
    for transport in Transport::ALL {
        let arguments = [
            "transfer".to_string(),
            transport.name().into(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        samples.extend(workers(2, transport, &[], &arguments)?.0);
        for (size, bar) in SIZES {
            let case = Case::of(&samples, &name(transport.name(), size));
            let what = format!("whole activation of {size} MB, {}", transport.name());
            let share = |case: &Case<'_>| case.median("bare_us") / case.median("runner_us");
            let wanted = format!("≥ {bar} of the bandwidth");
            bars.push(Bar::judged((&what, &wanted), &case, (share, ""), |r| {
                r >= bar
            }));
            for (field, how) in [
                ("written_us", "written anew"),
                ("fresh_us", "in fresh memory"),
            ] {
                let transport = transport.name();
                let what = format!("the same against messages {how}, {size} MB, {transport}");
                let share = |case: &Case<'_>| case.median(field) / case.median("runner_us");
                bars.push(Bar::judged((&what, ""), &case, (share, ""), |_| true));
            }
        }
    }
    let how = "Two MPI processes on a core each. The runner takes an activation from rank 0 to \
        rank 1 and back, one frame in flight, with stand-ins for the pieces that fill a tensor \
        and do nothing else. One way, from the end of a Run on the sender to the inputs being \
        ready on the receiver = (end of the first Run on rank 0 to the message back being complete \
        there, without the time from complete message to end of Run on rank 1) / 2, so that each \
        interval is read on one clock; both compute threads idle meanwhile. In turn with \
        MPI_Send and MPI_Recv of the same bytes, from and into buffers that stay in the caches; from \
        one that is written anew for each message; and from one that is allocated and written for \
        each message, as the output of every Run is. 1 MB = 2^20 bytes.";
    Ok(Record {
        part: "transfer",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}

fn name(transport: &str, megabytes: usize) -> String {
    format!("{transport} {megabytes} MB")
}

/// What one rank does.
///
/// # Errors
/// Where the job fails.
pub fn worker(transport: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    for (megabytes, _) in SIZES {
        let bytes = megabytes << 20;
        let (graph, plan) = models::echo(bytes)?;
        let program = models::program(&graph, &plan, rank);
        let pastimes = if rank == Rank(0) {
            vec![Pastime::None; 2]
        } else {
            vec![Pastime::None]
        };
        let pieces = StandIn::for_rank(&plan, rank, &pastimes);
        let frames = SKIPPED + 24 / megabytes.min(4);
        let (start, mut samples) = (Instant::now(), Vec::new());
        loop {
            let (all, probes) = probed(&mut link, |link| {
                let ping_pong = |prepare: fn(&mut Vec<u8>)| {
                    let mut world = world.borrow_mut();
                    let times = world.ping_pong(Rank(1 - rank.0), bytes, frames, prepare);
                    median(&times[SKIPPED..]) * 1e6
                };
                let bare_us = ping_pong(|_| {});
                let written_us = ping_pong(|message| message.fill(2));
                let fresh_us = ping_pong(|message| *message = vec![3; message.len()]);
                ranks::meet(link)?;
                let ran = run(link, &program, &pieces, frames, true)?;
                let bare = [bare_us, written_us, fresh_us];
                Ok((bare, legs(&ran.trace, rank, SKIPPED)))
            })?;
            if let [([bare_us, written_us, fresh_us], there), (_, turns)] = &all[..] {
                let values = [
                    ("bare_us", *bare_us),
                    ("written_us", *written_us),
                    ("fresh_us", *fresh_us),
                    ("runner_us", one_way_us(there, turns)),
                ];
                let case = name(transport, megabytes);
                let sample = Sample::new(&case, Rule::Drift, probes, &values);
                print_sample(&sample)?;
                samples.push(sample);
            }
            let over = rank == Rank(0) && is_over(quota, start, &samples);
            if told(&mut link, over)? {
                break;
            }
        }
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}

/// For each frame in order, in microseconds: on rank 0 from the end of its first Run to the inputs
/// of its second being ready, on rank 1 from its Run's inputs being ready to that Run's end.
pub fn legs(trace: &[Interval], rank: Rank, skipped: usize) -> Vec<f64> {
    let is_run = |interval: &&Interval| matches!(interval.kind, Kind::Run(PieceId(0)));
    let is_receive = |interval: &&Interval| matches!(interval.kind, Kind::Receive(_));
    let by_frame = |interval: &&Interval| interval.sequence;
    let mut runs: Vec<_> = trace.iter().filter(is_run).collect();
    let mut receives: Vec<_> = trace.iter().filter(is_receive).collect();
    runs.sort_by_key(by_frame);
    receives.sort_by_key(by_frame);
    assert_eq!(runs.len(), receives.len(), "one message in for each frame");
    let leg = |(run, receive): (&&Interval, &&Interval)| {
        assert_eq!(run.sequence, receive.sequence);
        let way = match rank {
            Rank(0) => receive.end - run.end,
            _ => run.end - receive.end,
        };
        way.as_secs_f64() * 1e6
    };
    runs.iter().zip(&receives).skip(skipped).map(leg).collect()
}

/// The median over frames of half of what the activation was on its way.
pub fn one_way_us(there_and_back: &[f64], turns: &[f64]) -> f64 {
    let both = there_and_back.iter().zip(turns);
    median(
        &both
            .map(|(way, turn)| (way - turn) / 2.0)
            .collect::<Vec<_>>(),
    )
}
