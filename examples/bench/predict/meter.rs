//! How fast every core is while something else runs on it.
//!
//! Cores of a shared machine change their speed several times a second, so that probes before and
//! after a run of some seconds do not tell what the run had. A probe is a small product of the
//! engine's: beside whole models on the same core it takes longer nearly as they do, where a loop of
//! plain arithmetic takes up to 1.7 times as much longer (BENCHMARKS.md).

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use autodice::binding::current_mask;
use autodice::engine::tract::load_file;
use autodice::engine::Executable;
use autodice::graph::Dtype;
use autodice::model::builder::{Conv, ModelBuilder};
use rustix::time::{clock_gettime, ClockId};

use crate::launch::own_program;
use crate::ranks::numbers;

/// Between two probes, of 1.3 milliseconds at most: hosts keep 97 % of a core.
const PAUSE: Duration = Duration::from_millis(50);
/// Runs of a probe, behind one that finds its numbers in no cache. The CPU time of a Run contains
/// the interrupts that hit it, which say nothing of the core and may hit three in four where many
/// messages come: the quickest one stands for all. And a core that has just woken takes 1.4 times
/// as long for up to 1.2 ms (part `waking`), which is of the sleep before: that is waited for.
const RUNS: usize = 128;
/// What the product reads and makes, 48 kB in all: the first or the second cache has it.
pub const SHAPE: [usize; 4] = [1, 64, 8, 8];
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

    /// Every core's probes.
    ///
    /// # Errors
    /// Where one of the processes has ended early, or had no time for any.
    pub fn end(mut self) -> Result<BTreeMap<usize, Probed>> {
        let end = |(core, mut child): (usize, Child)| {
            drop(child.stdin.take());
            let output = child.wait_with_output()?;
            let probed: Vec<_> = serde_json::from_slice(&output.stdout).context("probes")?;
            anyhow::ensure!(!probed.is_empty(), "no time for a probe");
            Ok((core, Probed(probed)))
        };
        std::mem::take(&mut self.0).into_iter().map(end).collect()
    }
}

/// Probes of one core, each with how many seconds before the end it was, and its CPU time in ms.
pub struct Probed(Vec<(f64, f64)>);

impl Probed {
    /// The mean of those that were within so many seconds of the end; of all where none was.
    pub fn mean_of_last(&self, seconds: f64) -> f64 {
        let at = self.0.partition_point(|probe| probe.0 > seconds);
        self.mean(&self.0[at..])
    }

    /// The mean of those that were within so many seconds of the first.
    pub fn mean_of_first(&self, seconds: f64) -> f64 {
        let first = self.0.first().map_or(0.0, |probe| probe.0);
        let end = self.0.partition_point(|probe| probe.0 >= first - seconds);
        self.mean(&self.0[..end])
    }

    fn mean(&self, some: &[(f64, f64)]) -> f64 {
        let some = if some.is_empty() { &self.0[..] } else { some };
        some.iter().map(|probe| probe.1).sum::<f64>() / some.len() as f64
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Nobody reads what they would print at their end.
        for (_, child) in &mut self.0 {
            let _ended = child.kill();
            let _code = child.wait();
        }
    }
}

/// One process of a `Meter`: prints its probes.
///
/// # Errors
/// Where the product cannot be loaded or run.
pub fn meter() -> Result<()> {
    let mut product = product()?;
    let input = [numbers(&SHAPE)];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::Relaxed);
        });
        let mut probes = vec![];
        while !over.load(Ordering::Relaxed) {
            product.run(&input)?;
            let mut quickest = f64::INFINITY;
            for _ in 0..RUNS {
                let before = cpu_ms();
                product.run(&input)?;
                quickest = quickest.min(cpu_ms() - before);
            }
            probes.push((Instant::now(), quickest));
            std::thread::sleep(PAUSE);
        }
        let aged = |(at, ms): (Instant, f64)| (at.elapsed().as_secs_f64(), ms);
        let aged: Vec<_> = probes.into_iter().map(aged).collect();
        println!("{}", serde_json::to_string(&aged)?);
        Ok(())
    })
}

/// A small product, by the engine that runs the models.
pub fn product() -> Result<Box<dyn Executable>> {
    let mut model = ModelBuilder::new("product", 1);
    let x = model.input("x", &SHAPE);
    let y = model.conv("y", x, Conv::new(SHAPE[1], 1));
    model.output(y);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("product.onnx");
    model.write(&file)?;
    load_file(&file, &[("x".into(), Dtype::F32, SHAPE.to_vec())], 1)
}

/// CPU time of this thread: others may have the core in between.
fn cpu_ms() -> f64 {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    at.tv_sec as f64 * 1e3 + at.tv_nsec as f64 / 1e6
}
