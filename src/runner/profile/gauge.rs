//! How fast a core is at each moment, by one and the same little work beside all others.
//!
//! A core of a shared machine is for a second half as fast as in the next: a neighbour has the
//! other half of it, or its frequency falls. Levels are measured one after another, so that a
//! table would have such seconds in some of its rows and not in others. A thread beside the
//! compute thread, on the same core, runs small products a few times a second; what CPU time the
//! quickest of them took about a Run, over what it took in the mean, is how slow the core was for
//! it. Others say less: interrupts hit them, and where the core did no arithmetic before, the first
//! ones may take half as long again, so that a core would seem fast wherever works are long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};

use super::clock::thread_cpu;
use super::constants::{Constants, Travelling};
use super::little::one_node;
use super::pass::filled;
use super::unit::{whole, Sample};
use crate::engine::{Engine, Executable};
use crate::geometry::Window;
use crate::graph::{Dtype, Op};
use crate::ids::NodeId;
use crate::model::cut::cut;

/// Between two probes, of 1.3 milliseconds at most: 3 % of a fifth of a core.
const PAUSE: Duration = Duration::from_millis(250);
/// Runs of a probe, behind one that finds its numbers in no cache. Cores were seen to take up to
/// 1.2 ms until they were as quick as they then stayed (BENCHMARKS.md).
const RUNS: usize = 128;
/// Channels, rows and columns of a probe's product: the first or the second cache has all of it.
const CHANNELS: usize = 64;
const ROWS: usize = 8;
/// How long before and after a Run a probe still counts for it.
const ABOUT: Duration = Duration::from_millis(500);

/// A thread that probes until `end`, or until this is dropped.
pub struct Gauge {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Pace>>>,
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Gauge {
    /// Starts it, bound as the calling thread is.
    ///
    /// # Errors
    /// One line of the engine's.
    pub fn start(engine: &dyn Engine, opset: i64) -> Result<Self> {
        let windows = vec![Window::POINT; 2];
        let op = Op::Conv { windows, groups: 1 };
        let shape = [1, CHANNELS, ROWS, ROWS];
        let kernel = [CHANNELS, CHANNELS, 1, 1];
        let graph = one_node(opset, ("Conv", op), &shape, Some(&kernel));
        let sample = whole(&graph, &[NodeId(0)])?;
        let constants = Constants::new(&graph, Travelling::default())?;
        let sub_model = cut(
            &graph,
            &sample.plan,
            Sample::RANK,
            Sample::PIECE,
            &constants,
        )?;
        let piece = engine.load(sub_model)?;
        let over = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&over);
        let thread = std::thread::spawn(move || probe(piece, &shape, &signal));
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }

    /// What it has found.
    ///
    /// # Errors
    /// One line of the engine's.
    pub fn end(mut self) -> Result<Pace> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        let panicked = || Err(anyhow!("the thread that probes the core panicked"));
        ended.and_then(Result::ok).unwrap_or_else(panicked)
    }
}

fn probe(mut piece: Box<dyn Executable>, shape: &[usize], over: &AtomicBool) -> Result<Pace> {
    let input = [Arc::new(filled(Dtype::F32, shape))];
    let started = Instant::now();
    let mut probes = vec![];
    while !over.load(Ordering::Relaxed) {
        piece.run(&input)?;
        let mut quickest = Duration::MAX;
        for _ in 0..RUNS {
            let before = thread_cpu();
            piece.run(&input)?;
            quickest = quickest.min(thread_cpu().saturating_sub(before));
        }
        probes.push((Instant::now(), quickest.as_secs_f64() * 1e6));
        std::thread::sleep(PAUSE);
    }
    Ok(Pace::of(probes, thread_cpu(), started.elapsed()))
}

/// How slow a core was when.
#[derive(Default)]
pub struct Pace {
    /// Probes in the order of time, in µs of CPU.
    probes: Vec<(Instant, f64)>,
    mean: f64,
    /// The share of a core that probing took.
    pub share: f64,
}

impl Pace {
    fn of(probes: Vec<(Instant, f64)>, cpu: Duration, wall: Duration) -> Self {
        Self {
            mean: mean(&probes),
            probes,
            share: cpu.as_secs_f64() / wall.as_secs_f64().max(1e-9),
        }
    }

    /// What the core took for the same work from `from` to `to`, over its mean; 1 where that is
    /// not known.
    pub fn slowness(&self, from: Instant, to: Instant) -> f64 {
        let at = |time: Instant| self.probes.partition_point(|probe| probe.0 < time);
        let first = from.checked_sub(ABOUT).map_or(0, at);
        let here = mean(&self.probes[first..at(to + ABOUT).max(first)]);
        match here / self.mean {
            slowness if slowness.is_finite() && slowness > 0.0 => slowness,
            _ => 1.0,
        }
    }
}

fn mean(probes: &[(Instant, f64)]) -> f64 {
    probes.iter().map(|probe| probe.1).sum::<f64>() / probes.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::Tract;

    #[test]
    fn two_seconds_in_which_a_core_is_half_as_fast_is_known() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let slow = |ms| {
            if (4000..6000).contains(&ms) {
                200.0
            } else {
                100.0
            }
        };
        let probes = (0..40).map(|i| (at(i * 250), slow(i * 250))).collect();
        let pace = Pace::of(probes, Duration::ZERO, Duration::from_secs(10));
        let fast = pace.slowness(at(8000), at(8100));
        let slow = pace.slowness(at(5000), at(5100));
        assert!((slow / fast - 2.0).abs() < 1e-9, "{slow} / {fast}");
        assert!((0.2 * slow + 0.8 * fast - 1.0).abs() < 0.01);
        assert_eq!(
            pace.slowness(at(60_000), at(60_001)),
            1.0,
            "nothing is known of then"
        );
        assert_eq!(Pace::default().slowness(start, start), 1.0);
    }

    #[test]
    fn a_gauge_probes_until_its_end() {
        let engine = Tract::new(1).expect("an engine");
        let gauge = Gauge::start(&engine, 13).expect("a product");
        std::thread::sleep(4 * PAUSE);
        let pace = gauge.end().expect("probes");
        assert!(pace.probes.len() > 2, "{}", pace.probes.len());
        assert!(pace.mean > 0.0 && pace.share > 0.0 && pace.share < 1.0);
    }
}
