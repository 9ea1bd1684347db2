//! How long a core is slow that has done no arithmetic for a while.
//!
//! The first Runs behind a sleep, or behind a loop of plain code, may take half as long again, for
//! a millisecond or so: what a probe of a few Runs says of a core then depends on what the core
//! did before, not on how fast it is.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::{collect, median, probe, Case, Quota, Rule, Sample};
use crate::predict::{product, SHAPE};
use crate::ranks::{numbers, take_core};
use crate::record::{Bar, Record};
use crate::resting::{sleep, spin};

/// How long there are no Runs, in milliseconds.
const WITHOUT: [u64; 4] = [1, 5, 25, 100];
/// Runs behind it; of the last quarter of them the median is what a Run takes.
const RUNS: usize = 200;
/// A Run is slow that takes so many times as long.
const SLOW: f64 = 1.2;

/// The part.
///
/// # Errors
/// Where a core cannot be taken, or the product cannot be loaded or run.
pub fn waking(quota: Quota) -> Result<Record> {
    take_core(1)?;
    let mut product = product()?;
    let input = [numbers(&SHAPE)];
    let (mut samples, mut bars) = (vec![], vec![]);
    for (wait, waits) in [(sleep as fn(Duration), "asleep"), (spin, "in a loop")] {
        for ms in WITHOUT {
            let name = format!("behind {ms} ms {waits}");
            samples.extend(collect(quota, |_| {
                let before = probe();
                wait(Duration::from_millis(ms));
                let mut times = vec![];
                for _ in 0..RUNS {
                    let start = Instant::now();
                    product.run(&input)?;
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                // The first one also finds its numbers in no cache.
                let first = median(&times[1..5]);
                let last = median(&times[RUNS * 3 / 4..]);
                let slow: f64 = times.iter().take_while(|us| **us > SLOW * last).sum();
                let values = [("first_us", first), ("last_us", last), ("slow_us", slow)];
                Ok(Sample::new(
                    &name,
                    Rule::None,
                    vec![(before, probe())],
                    &values,
                ))
            })?);
            let case = Case::of(&samples, &name);
            let slow = (|case: &Case<'_>| case.median("slow_us"), " µs slow");
            bars.push(Bar::judged((&name, ""), &case, slow, |_| true));
        }
    }
    let how =
        "One thread on one core does nothing, or counts, and then runs a small product of the \
         engine's 200 times. Runs are slow until one takes less than 1.2 times the median of the \
         last 50.";
    Ok(Record {
        part: "waking",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}
