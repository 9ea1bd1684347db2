//! How fast every core is while something else runs on it.
//!
//! Cores of a shared machine change their speed several times a second, so that probes before and
//! after a run of some seconds do not tell what the run had.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use autodice::binding::current_mask;
use rustix::time::{clock_gettime, ClockId};

use crate::lab::compute;
use crate::launch::own_program;

/// Between two probes, each of which takes one to two milliseconds: the hosts keep 97 % of a core.
const PAUSE: Duration = Duration::from_millis(60);
/// Pieces of a probe, and rounds of arithmetic and numbers that are read of each. The CPU time of a
/// piece contains the interrupts that hit it, which say nothing of the core: the quickest quarter
/// of the pieces stands for all.
const PIECES: usize = 32;
const ROUNDS: usize = 750;
const READ: usize = 1 << 14;
/// Numbers in memory, read part by part: others have used the caches before a part comes again.
const NUMBERS: usize = 8 << 20;

/// A process on each core, until its stdin ends.
pub struct Meter(Vec<(usize, Child)>);

impl Meter {
    /// Starts them.
    ///
    /// # Errors
    /// Where there is no `taskset`.
    pub fn start() -> Result<Self> {
        let start = |core: usize| {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]);
            command.arg(own_program()?).args(["worker", "meter"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            Ok((core, command.spawn().context("taskset")?))
        };
        let cores = current_mask()?.0.into_iter();
        Ok(Self(cores.map(start).collect::<Result<_>>()?))
    }

    /// The mean CPU time of a piece of each core's probes, in ms.
    ///
    /// # Errors
    /// Where one of the processes has ended early, or had no time for any.
    pub fn end(mut self) -> Result<BTreeMap<usize, f64>> {
        let end = |(core, mut child): (usize, Child)| {
            drop(child.stdin.take());
            let output = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            Ok((core, text.trim().parse().context("no time for a probe")?))
        };
        std::mem::take(&mut self.0).into_iter().map(end).collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            drop(child.stdin.take());
            let _ended = child.wait();
        }
    }
}

/// One process of a `Meter`: prints the mean of its probes.
///
/// # Errors
/// None that is known.
pub fn meter() -> Result<()> {
    let numbers = vec![1.0_f32; NUMBERS];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::Relaxed);
        });
        let mut times = Vec::new();
        let mut parts = numbers.chunks_exact(READ).cycle();
        while !over.load(Ordering::Relaxed) {
            let mut pieces: Vec<f64> = parts.by_ref().take(PIECES).map(piece_ms).collect();
            pieces.sort_by(f64::total_cmp);
            times.push(pieces[PIECES / 4]);
            std::thread::sleep(PAUSE);
        }
        println!("{}", times.iter().sum::<f64>() / times.len() as f64);
        Ok(())
    })
}

/// CPU time of one piece.
fn piece_ms(numbers: &[f32]) -> f64 {
    let before = cpu_ms();
    compute(ROUNDS);
    std::hint::black_box(numbers.chunks_exact(16).fold([0.0; 16], add));
    cpu_ms() - before
}

fn add(mut sums: [f32; 16], chunk: &[f32]) -> [f32; 16] {
    sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    sums
}

/// CPU time of this thread: others may have the core in between.
fn cpu_ms() -> f64 {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    at.tv_sec as f64 * 1e3 + at.tv_nsec as f64 / 1e6
}
