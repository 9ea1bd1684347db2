//! A message sent before a long Run: it must not wait for the Run's end.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use autodice::comm::Link;
use autodice::graph::Graph;
use autodice::ids::{PieceId, Rank};
use autodice::model::builder::{Conv, ModelBuilder};
use autodice::plan::{check, Plan, PlanBuilder};
use autodice::runner::{Interval, Kind};

use crate::lab::{median, Case, Quota, Rule, Sample};
use crate::launch::{workers, Transport};
use crate::models;
use crate::ranks::{self, probed, run, Pastime, StandIn};
use crate::record::{Bar, Record};
use crate::waiting::repeat;

const RUN: Duration = Duration::from_millis(30);
/// The first Run's time: rank 1, which has waited for a whole frame and sleeps for milliseconds,
/// has heard of the new frame by then and looks often again.
const FIRST: Duration = Duration::from_millis(5);
const FRAMES: usize = 12;
const SKIPPED: usize = 2;
/// Open MPI's own limits for eager messages, which the runner raises unless the user set them.
const SMALL: [(&str, &str); 2] = [
    ("OMPI_MCA_btl_tcp_eager_limit", "65536"),
    ("OMPI_MCA_btl_tcp_rndv_eager_limit", "65536"),
];

/// The part.
///
/// # Errors
/// Where a job fails.
pub fn rendezvous(quota: Quota) -> Result<Record> {
    let (mut samples, mut bars, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (name, environment) in [("limits raised", &[][..]), ("limits of 64 KiB", &SMALL[..])] {
        let arguments = [
            "rendezvous".to_string(),
            name.into(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        samples.extend(workers(2, Transport::Tcp, environment, &arguments)?.0);
        let case = Case::of(&samples, name);
        let after = |case: &Case<'_>| case.median("arrival_us") / 1e3;
        if environment.is_empty() {
            let what = "256 kB sent before a Run of 30 ms arrives after, TCP";
            bars.push(Bar::judged(
                (what, "≤ 1 ms"),
                &case,
                (after, " ms"),
                |r| r <= 1.0,
            ));
        } else {
            notes.push(format!("with {name}: {:.3} ms", after(&case)));
        }
    }
    let how =
        "Two MPI processes on a core each over TCP. Rank 0 runs a piece of 5 ms, sends its output \
        and runs another piece, which keeps the core busy for 30 ms. From the end of the first \
        Run on rank 0 to the end of the receive on rank 1, both by the machine's clock. The bar \
        is for the limits that the runner sets; with Open MPI's own ones the main thread's looks \
        beside the Run carry the message.";
    Ok(Record {
        part: "rendezvous",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// Rank 0: x → a, sent; x → b meanwhile; then b + c. Rank 1: a → c, sent back.
///
/// # Panics
/// Where the model has not these nodes.
pub fn there_and_back(graph: &Graph, [first, other, long, last]: [&[&str]; 4], late: bool) -> Plan {
    let (zero, one) = (Rank(0), Rank(1));
    let nodes = |names: &[&str]| -> Vec<_> {
        names
            .iter()
            .map(|name| graph.nodes_named(name)[0])
            .collect()
    };
    let made = |names: &[&str]| {
        let last = nodes(names)[names.len() - 1];
        graph.node(last).outputs[0]
    };
    let (a, c, b, y) = (made(first), made(other), made(long), made(last));
    let mut plan = PlanBuilder::new(graph, 2, 1, 1);
    let x = plan.input(graph.inputs[0]);
    let [a0, b0, c0, y0] = [a, b, c, y].map(|id| plan.whole(zero, id));
    let [a1, c1] = [a, c].map(|id| plan.whole(one, id));
    let there = plan.transfer((zero, a0), (one, a1), graph.whole(a));
    let back = plan.transfer((one, c1), (zero, c0), graph.whole(c));
    let turn = plan.piece(one, &nodes(other), &[a1], &[c1]);
    let first = plan.piece(zero, &nodes(first), &[x], &[a0]);
    let long = plan.piece(zero, &nodes(long), &[x], &[b0]);
    let last = plan.piece(zero, &nodes(last), &[b0, c0], &[y0]);
    plan.run(zero, first);
    plan.send(there);
    plan.receive(there);
    plan.run(one, turn);
    plan.send(back);
    if late {
        plan.receive(back);
        plan.run(zero, long);
    } else {
        plan.run(zero, long);
        plan.receive(back);
    }
    plan.run(zero, last);
    plan.output(y0);
    plan.release_after_last_use();
    plan.build()
}

/// What one rank does.
///
/// # Errors
/// Where the job fails.
pub fn worker(case: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    let mut model = ModelBuilder::new("before a long run", 1);
    // 256 000 bytes.
    let x = model.input("x", &[1, 1, 256, 250]);
    let a = model.relu("a", x);
    let c = model.relu("c", a);
    let b = model.conv("b", x, Conv::new(1, 1));
    let y = model.add("y", b, c);
    model.output(y);
    let graph = models::written(&model)?.graph;
    let plan = there_and_back(&graph, [&["a"], &["c"], &["b"], &["y"]], false);
    check(&graph, &plan, None)?;
    let program = models::program(&graph, &plan, rank);
    let pastimes = match rank {
        Rank(0) => vec![Pastime::Busy(FIRST), Pastime::Busy(RUN), Pastime::None],
        _ => vec![Pastime::None],
    };
    let pieces = StandIn::for_rank(&plan, rank, &pastimes);
    repeat(&mut link, quota, |link| {
        let (all, probes) = probed(link, |link| {
            let clock = Clock::new();
            let ran = run(link, &program, &pieces, FRAMES, true)?;
            Ok(moments(&ran.trace, rank, &clock))
        })?;
        let [sent, arrived] = &all[..] else {
            return Ok(None);
        };
        let both = sent.iter().zip(arrived).skip(SKIPPED);
        let after: Vec<f64> = both.map(|(sent, arrived)| arrived - sent).collect();
        let longest = after.iter().copied().fold(f64::NAN, f64::max);
        let values = [("arrival_us", median(&after)), ("longest_us", longest)];
        Ok(Some(Sample::new(case, Rule::Drift, probes, &values)))
    })?;
    drop(link);
    ranks::end(&world);
    Ok(())
}

/// In the order of the frames: the end of the first Run on rank 0, the arrival on rank 1.
fn moments(trace: &[Interval], rank: Rank, clock: &Clock) -> Vec<f64> {
    let wanted = |interval: &&Interval| match (rank, interval.kind) {
        (Rank(0), Kind::Run(piece)) => piece == PieceId(0),
        (Rank(1), Kind::Receive(_)) => true,
        _ => false,
    };
    let mut found: Vec<_> = trace.iter().filter(wanted).collect();
    found.sort_by_key(|interval| interval.sequence);
    found
        .into_iter()
        .map(|interval| clock.us(interval.end))
        .collect()
}

/// This process's monotonic clock as the machine's, which both ranks read.
struct Clock(Instant, SystemTime);

impl Clock {
    fn new() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn us(&self, at: Instant) -> f64 {
        // A day's worth: more would cost digits that the differences need.
        const DAY: Duration = Duration::from_secs(86_400);
        let since = self
            .1
            .duration_since(SystemTime::UNIX_EPOCH)
            .context("a clock after 1970");
        let today = since.map_or(0.0, |since| {
            (since.as_nanos() % DAY.as_nanos()) as f64 / 1e3
        });
        today + at.saturating_duration_since(self.0).as_secs_f64() * 1e6
    }
}
