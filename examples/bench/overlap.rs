//! What overlapping a message with a Run saves, over a slow link and a real load.

use std::sync::Arc;

use anyhow::{anyhow, Result};
use autodice::comm::threads::{links, Options};
use autodice::comm::Link;
use autodice::graph::Graph;
use autodice::ids::{PieceId, Rank};
use autodice::model::builder::{Conv, ModelBuilder};
use autodice::plan::{check, Plan};
use autodice::runner::{Interval, Kind, Program};

use crate::lab::{collect, median, probe, Case, Quota, Rule, Sample};
use crate::models;
use crate::ranks::{load, run, take_core, Keep, Ran};
use crate::record::{Bar, Record};
use crate::rendezvous::there_and_back;

const FRAMES: usize = 8;
const SKIPPED: usize = 2;
/// What the exchange takes, as a share of the Run that it may hide behind.
const SHARES: [f64; 2] = [0.8, 1.25];

/// The part.
///
/// # Errors
/// Where a run fails.
pub fn overlap(quota: Quota) -> Result<Record> {
    let mut model = ModelBuilder::new("overlap", 1);
    let x = model.input("x", &[1, 16, 56, 56]);
    let a = model.conv("a", x, Conv::new(16, 3).pad(1));
    let c = model.relu("c", a);
    let mut b = x;
    for (name, channels) in [("b0", 128), ("b1", 128), ("b", 16)] {
        b = model.conv(name, b, Conv::new(channels, 3).pad(1));
    }
    let y = model.add("y", b, c);
    model.output(y);
    let source = models::written(&model)?;
    let graph = &source.graph;
    let names: [&[&str]; 4] = [&["a"], &["c"], &["b0", "b1", "b"], &["y"]];
    let plans = [true, false].map(|late| there_and_back(graph, names, late));
    for plan in &plans {
        check(graph, plan, None)?;
    }
    let ranks = [Rank(0), Rank(1)].map(|rank| load(graph, &plans[0], rank, &source));
    let [zero, one] = ranks;
    let pieces = [zero?, one?];
    let bytes = (graph
        .activation(graph.inputs[0])
        .shape
        .iter()
        .product::<usize>()
        * 4) as f64;
    let blocking = over_threads(graph, &plans[0], &pieces, Options::default())?;
    let run_s = median(&run_times(&blocking)) / 1e3;
    let (mut samples, mut bars, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for share in SHARES {
        // There and back.
        let bandwidth = Some(2.0 * bytes / (share * run_s));
        let options = Options {
            bandwidth,
            ..Options::default()
        };
        let name = format!("exchange of {share} Runs");
        samples.extend(collect(quota, |_| {
            let before = probe_both();
            let blocking = over_threads(graph, &plans[0], &pieces, options)?;
            let overlapped = over_threads(graph, &plans[1], &pieces, options)?;
            let probes = before.into_iter().zip(probe_both()).collect();
            notes.retain(|note: &String| !note.starts_with(&name));
            notes.push(format!("{name}: {}", evidence(&overlapped)));
            let (exchange, compute) = (exchange_ms(&blocking), median(&run_times(&overlapped)));
            let saved = latency_ms(&blocking) - latency_ms(&overlapped);
            let values = [
                ("blocking_ms", latency_ms(&blocking)),
                ("overlapped_ms", latency_ms(&overlapped)),
                ("exchange_ms", exchange),
                ("run_ms", compute),
                ("crossing_ms", median(&crossings_ms(&overlapped))),
                ("saved_percent", saved / exchange.min(compute) * 100.0),
            ];
            Ok(Sample::new(&name, Rule::Drift, probes, &values))
        })?);
        let case = Case::of(&samples, &name);
        let what = format!("overlap saves of min(transfer, compute), {name}");
        let saved = |case: &Case<'_>| case.median("saved_percent");
        bars.push(Bar::judged(
            (&what, "≥ 70 %"),
            &case,
            (saved, " %"),
            |r| r >= 70.0,
        ));
        let what = format!("message and Run cross in the trace, {name}");
        let crossing = |case: &Case<'_>| case.median("crossing_ms");
        bars.push(Bar::judged((&what, "> 0"), &case, (crossing, " ms"), |r| {
            r > 0.0
        }));
    }
    let how = "Two ranks as threads on a core each, over a thread link with a bandwidth such \
        that the exchange takes the share given of a Run of three convolutions by tract. Rank 0 \
        makes an activation, sends it, has it back from rank 1 and adds it to the convolutions' \
        output; in one plan the convolutions run after the exchange, in the other meanwhile. \
        Saved = (latency of the one - latency of the other) / min(exchange, Run), medians of \
        frames; one frame in flight.";
    Ok(Record {
        part: "overlap",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// Both cores' probes, taken on a thread of each at once.
fn probe_both() -> Vec<f64> {
    std::thread::scope(|scope| {
        let on = |core| scope.spawn(move || take_core(core).map_or(f64::NAN, |()| probe()));
        let threads: Vec<_> = (0..2).map(on).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(f64::NAN))
            .collect()
    })
}

/// Rank 0's account of a run over two threads.
fn over_threads(
    graph: &Graph,
    plan: &Plan,
    pieces: &[Vec<Keep>; 2],
    options: Options,
) -> Result<Ran> {
    let rank_main = |mut link: autodice::comm::threads::ThreadLink, pieces: &[Keep]| {
        take_core(link.rank().index())?;
        let program: Arc<Program> = models::program(graph, plan, link.rank());
        let ran = run(&mut link, &program, pieces, FRAMES, true)?;
        link.close();
        Ok(ran)
    };
    std::thread::scope(|scope| {
        let both = links(2, options).into_iter().zip(pieces);
        let spawn = both.map(|(link, pieces)| scope.spawn(move || rank_main(link, pieces)));
        let threads: Vec<_> = spawn.collect();
        let ends = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a rank panicked")))
        });
        let mut ran: Vec<Ran> = ends.collect::<Result<_>>()?;
        Ok(ran.swap_remove(0))
    })
}

fn latency_ms(ran: &Ran) -> f64 {
    let frames = ran.frames.iter().skip(SKIPPED);
    median(
        &frames
            .map(|(open, end)| (*end - *open).as_secs_f64() * 1e3)
            .collect::<Vec<_>>(),
    )
}

/// By frame: the intervals of one kind on rank 0.
fn intervals(ran: &Ran, kind: impl Fn(Kind) -> bool) -> Vec<Interval> {
    let mut found: Vec<_> = ran.trace.iter().filter(|i| kind(i.kind)).copied().collect();
    found.sort_by_key(|interval| interval.sequence);
    found.split_off(SKIPPED)
}

const FIRST: Kind = Kind::Run(PieceId(0));
const LONG: Kind = Kind::Run(PieceId(1));

fn run_times(ran: &Ran) -> Vec<f64> {
    let long = intervals(ran, |kind| kind == LONG);
    long.iter()
        .map(|run| (run.end - run.start).as_secs_f64() * 1e3)
        .collect()
}

/// Where the plan waits for the exchange: from the first Run's end to the long Run's start.
fn exchange_ms(blocking: &Ran) -> f64 {
    let (first, long) = (
        intervals(blocking, |kind| kind == FIRST),
        intervals(blocking, |kind| kind == LONG),
    );
    let both = first.iter().zip(&long);
    median(
        &both
            .map(|(f, l)| (l.start - f.end).as_secs_f64() * 1e3)
            .collect::<Vec<_>>(),
    )
}

/// How long the message from rank 0 was under way during the long Run.
fn crossings_ms(ran: &Ran) -> Vec<f64> {
    let sends = intervals(ran, |kind| matches!(kind, Kind::Send(_)));
    let long = intervals(ran, |kind| kind == LONG);
    let common = |(send, run): (&Interval, &Interval)| {
        let (start, end) = (send.start.max(run.start), send.end.min(run.end));
        end.saturating_duration_since(start).as_secs_f64() * 1e3
    };
    sends.iter().zip(&long).map(common).collect()
}

/// The last frame's intervals, from the end of the first Run.
fn evidence(ran: &Ran) -> String {
    let last = |kind: fn(Kind) -> bool| intervals(ran, kind).pop();
    let (Some(first), Some(long), Some(send), Some(receive)) = (
        last(|kind| kind == FIRST),
        last(|kind| kind == LONG),
        last(|kind| matches!(kind, Kind::Send(_))),
        last(|kind| matches!(kind, Kind::Receive(_))),
    ) else {
        return "no intervals".into();
    };
    let at = |moment: std::time::Instant| {
        moment.saturating_duration_since(first.end).as_secs_f64() * 1e3
    };
    format!(
        "last frame: Run {:.2}..{:.2} ms, message there {:.2}..{:.2} ms, back by {:.2} ms",
        at(long.start),
        at(long.end),
        at(send.start),
        at(send.end),
        at(receive.end)
    )
}
