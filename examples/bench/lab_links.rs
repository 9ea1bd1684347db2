//! What the edge lab's links carry: bare MPI ping-pong against the rate that the lab file asks for.

use std::time::Instant;

use anyhow::Result;
use autodice::comm::Link;
use autodice::ids::Rank;

use crate::lab::{is_over, median, Case, Quota, Rule, Sample};
use crate::launch::print_sample;
use crate::net;
use crate::ranks::{self, probed, told};
use crate::record::{Bar, Record};

/// The long message, and one that a bucket of 64 kB would let through at once.
const LONG: usize = 1 << 20;
const SHORT: usize = 57_344;
const REPEATS: usize = 8;
const SKIPPED: usize = 2;

/// Two hosts: name, lab, quota, rate as `tc` writes it and in Mbit/s, whether the rate is a bar.
const CASES: [(&str, &str, &str, &str, f64, bool); 4] = [
    ("100 Mbit/s", "pair", "max", "100mbit", 100.0, true),
    ("1 Gbit/s", "pair", "max", "1gbit", 1000.0, false),
    (
        "100 Mbit/s, 0.45 core",
        "pair",
        "0.45",
        "100mbit",
        100.0,
        false,
    ),
    (
        "1 Gbit/s, 0.45 core",
        "pair",
        "0.45",
        "1gbit",
        1000.0,
        false,
    ),
];

/// The part.
///
/// # Errors
/// Where a job fails.
pub fn lab_links(quota: Quota) -> Result<Record> {
    let (mut samples, mut bars, mut notes) = (vec![], vec![], vec![]);
    for (name, lab, cpu, rate, mbit, is_bar) in CASES {
        let (cpu, rate) = (format!("cpu={cpu}"), format!("rate={rate}"));
        let changes = [("e1", &cpu[..]), ("e2", &cpu), ("e1", &rate), ("e2", &rate)];
        let arguments = [
            "lab".to_string(),
            name.to_string(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        let (measured, said) = net::measured(lab, &changes, name, &arguments)?;
        notes.extend(said);
        let case = Case::of(&measured, name);
        let bar = |bar: &'static str| if is_bar { bar } else { "" };
        let share = |value: &'static str| {
            let of = move |case: &Case<'_>| case.median(value) / mbit;
            (of, " of the rate")
        };
        let what = format!("1 MiB of bare MPI over a lab link, {name}");
        let wanted = (&what[..], bar("within 10 % of the rate"));
        bars.push(Bar::judged(wanted, &case, share("long_mbit_per_s"), |s| {
            (s - 1.0).abs() <= 0.1
        }));
        let what = format!("the same, {SHORT} bytes, which no bucket lets through at once, {name}");
        let wanted = (&what[..], bar("≤ 1.1 of the rate"));
        bars.push(Bar::judged(wanted, &case, share("short_mbit_per_s"), |s| {
            s <= 1.1
        }));
        samples.extend(measured);
    }
    let how = "Two MPI processes on a lab host each (scripts/lab.sh, labs/pair.lab with the CPU \
        quota and the rate changed by `set`). MPI_Send and MPI_Recv to and fro; one way is half of \
        a round trip, the median of 6 of 8; the rate counts the message's bytes alone, so that \
        headers (4.4 % of a full frame) are lost to it. The two directions use a host's bucket in \
        turn, so that it is full before each message. At 0.45 core the probes say nothing about \
        the machine (a quota makes pauses), and no sample is excluded; MPI spins while it waits, \
        which uses the quota up, so that these figures are the device's and not the link's.";
    Ok(Record {
        part: "lab",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// What one rank does.
///
/// # Errors
/// Where the job fails.
pub fn worker(name: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    let rule = if name.contains("core") {
        Rule::None
    } else {
        Rule::Drift
    };
    let (start, mut samples) = (Instant::now(), Vec::new());
    loop {
        let (all, probes) = probed(&mut link, |_| {
            let rate = |bytes: usize| {
                let mut world = world.borrow_mut();
                let times = world.ping_pong(Rank(1 - rank.0), bytes, REPEATS, |_| {});
                bytes as f64 * 8.0 / median(&times[SKIPPED..]) / 1e6
            };
            Ok([rate(LONG), rate(SHORT)])
        })?;
        if rank == Rank(0) {
            let [long, short] = all[0];
            let values = [("long_mbit_per_s", long), ("short_mbit_per_s", short)];
            let sample = Sample::new(name, rule, probes, &values);
            print_sample(&sample)?;
            samples.push(sample);
        }
        let over = rank == Rank(0) && is_over(quota, start, &samples);
        if told(&mut link, over)? {
            break;
        }
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}
