//! What a rank's engine takes for every different work of the model, on its compute thread.
//!
//! The units of one level run one after another in the model's order, pass after pass, as they do
//! in a frame: a unit alone in a loop would find its weights in the cache, which in a frame the
//! units before it have filled. Its inputs are written anew before each Run, as the unit before it
//! would have done. Repeated layers run once in a pass.
//!
//! Where there is time, levels are measured several times over, in sweeps, and means taken: what
//! disturbs a core for some seconds then does not make one level dearer than another. The first
//! sweep is over the coarse levels only: two good halves say more than a third and a bad half.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::clock::thread_cpu;
use super::constants::Constants;
use super::gauge::{Gauge, Pace};
use super::ladder::{coarse, levels, Along, Level};
use super::log::{Log, RankTimes};
use super::overhead::{empty_run, Copy};
use super::pass::{filled, pass, passes, Loaded};
use super::unit::{sample, whole, Sample, Unit};
use super::waking::wake;
use crate::engine::tract::Tract;
use crate::engine::Engine;
use crate::geometry::Region;
use crate::graph::Graph;
use crate::model::cut::cut;
use crate::runner::quota::quota;

/// Sweeps over all levels, at most: a shared machine's minute is not like its next ten seconds.
const SWEEPS: usize = 20;
/// The last level of halves: behind it the whole model is measured, and behind the whole nodes
/// where that leaves time for more. All nodes are scaled by what it takes: in one place alone, a
/// machine that stood still for some seconds would be in every one.
const LAST_HALVES: Level = Level::Part(Along::Terms, 0);
/// The level whose Runs are done behind a sleep as well: most of them are as long as pieces between
/// messages.
const WOKEN: Level = Level::Part(Along::Rows, 1);
/// The whole model takes about as long as its nodes: what must be left, in multiples of that.
const TIME_FOR_MORE: u32 = 3;
/// Passes that count over what most of a plan is made of, at least: of one alone nobody knows
/// whether something was in its way.
const WHOLE_PASSES: usize = 2;
/// Bytes of weights that are loaded at once, at most, as a share of the memory that is free.
const OF_FREE_MEMORY: f64 = 0.25;

/// What the compute thread and the main thread tell each other.
#[derive(Default)]
pub struct Signals {
    /// Levels done.
    pub done: AtomicUsize,
    /// All ranks have measured: no rank needs to keep its cores busy any more.
    pub stop: AtomicBool,
}

/// What one rank measures.
pub struct Bench<'a> {
    /// The model.
    pub graph: &'a Graph,
    /// Its different works.
    pub units: &'a [Unit],
    /// Its weights.
    pub constants: &'a Constants<'a>,
    /// Compute threads.
    pub threads: usize,
    /// Ranks of this host, which share its memory.
    pub ranks_here: usize,
}

impl Bench<'_> {
    /// Measures until everything is measured or `time` is over; then `tell` takes the times, and
    /// the last pieces run on until `signals.stop`, so that other ranks of this host find it busy
    /// for as long as they measure.
    ///
    /// # Errors
    /// One line, where a piece cannot be made, loaded or run.
    pub fn measure(
        &self,
        time: Duration,
        signals: &Signals,
        tell: impl FnOnce(RankTimes),
    ) -> Result<()> {
        let started = Instant::now();
        let end = started + time;
        let mut log = Log::of(self.units.len());
        let engine = Tract::new(self.threads)?;
        // Several threads are on cores of their own, which one probe says nothing of.
        let gauge = match self.threads {
            1 => Some(Gauge::start(&engine, self.graph.opset)?),
            _ => None,
        };
        log.empty = empty_run(&engine, self.graph.opset)?;
        let mut copy = Copy::new();
        log.copies.0 = copy.bytes();
        let mut last = vec![];
        'sweeps: for sweep in 0..SWEEPS {
            let levels = if sweep == 0 { coarse() } else { levels() };
            for (index, &level) in levels.iter().enumerate() {
                // What can go wrong is found in the first level; later ones refine.
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() && (sweep, index) != (0, 0) {
                    break 'sweeps;
                }
                let slot = left / u32::try_from(levels.len() + 1 - index).unwrap_or(1);
                let began = Instant::now();
                last = self.level((index, level), slot, &mut log)?;
                log.copies.1.push(copy.lap());
                let left = end.saturating_duration_since(Instant::now());
                let early = level == Level::Whole && began.elapsed() * TIME_FOR_MORE < left;
                if early || level == LAST_HALVES {
                    self.model(slot, &mut log)?;
                }
                log.levels = log.levels.max(index + 1);
                signals.done.store(log.levels, Ordering::Relaxed);
            }
            log.sweeps += 1;
        }
        let pace = gauge.map_or_else(|| Ok(Pace::default()), Gauge::end)?;
        log.seconds = started.elapsed().as_secs_f64();
        tell(log.times(self.threads, quota(), &pace));
        while !signals.stop.load(Ordering::Relaxed) {
            match last.is_empty() {
                true => std::thread::sleep(Duration::from_millis(1)),
                false => pass(&mut last)?,
            }
            last.iter_mut().for_each(|one| one.laps.clear());
        }
        Ok(())
    }

    /// Measures one level of all units; returns the last pieces that were loaded.
    fn level(
        &self,
        (index, level): (usize, Level),
        slot: Duration,
        log: &mut Log,
    ) -> Result<Vec<Loaded>> {
        let mut samples = vec![];
        for (unit, work) in self.units.iter().enumerate() {
            if let Some(sample) = sample(self.graph, work, level)? {
                let bytes = sample.weight_bytes(self.graph)?;
                samples.push((unit, sample, bytes));
            }
        }
        let groups = groups(samples, self.memory());
        let slot = slot / u32::try_from(groups.len().max(1)).unwrap_or(1);
        let least = if level == Level::Whole {
            WHOLE_PASSES
        } else {
            0
        };
        let mut last = vec![];
        for group in groups {
            let end = Instant::now() + slot;
            drop(std::mem::take(&mut last));
            // One engine each: a weight's packing would follow that of a level before.
            let engine = Tract::new(self.threads)?;
            let load = |(unit, sample): &(usize, Sample)| self.load(*unit, sample, &engine);
            let before = thread_cpu();
            let mut loaded = group.iter().map(load).collect::<Result<Vec<_>>>()?;
            let ready = thread_cpu();
            passes(&mut loaded, least, end)?;
            let (load, run) = (ready - before, thread_cpu() - ready);
            log::debug!("{level:?}: CPU time {load:.3?} to load, {run:.3?} to run");
            if level == WOKEN {
                log.woken.append(&mut wake(&mut loaded)?);
            }
            for one in &mut loaded {
                log.take((one.unit, index), one.amount, &mut one.laps);
            }
            last = loaded;
        }
        Ok(last)
    }

    /// The whole model as one piece, where there is memory for it.
    fn model(&self, slot: Duration, log: &mut Log) -> Result<()> {
        let nodes: Vec<_> = self.graph.node_ids().collect();
        let sample = whole(self.graph, &nodes)?;
        // Raw and packed weights are there at the same time.
        if sample.weight_bytes(self.graph)? > 2 * self.memory() {
            return Ok(());
        }
        let end = Instant::now() + slot;
        let engine = Tract::new(self.threads)?;
        let mut loaded = [self.load(0, &sample, &engine)?];
        let least = WHOLE_PASSES.saturating_sub(log.model.len()).max(1);
        passes(&mut loaded, least, end)?;
        log.model.append(&mut loaded[0].laps);
        Ok(())
    }

    /// Bytes of weights that may be loaded at once.
    fn memory(&self) -> usize {
        let free = free_memory().unwrap_or(512 << 20) as f64;
        (free * OF_FREE_MEMORY / self.ranks_here as f64) as usize
    }

    fn load(&self, unit: usize, sample: &Sample, engine: &Tract) -> Result<Loaded> {
        let (graph, plan) = (self.graph, &sample.plan);
        let sub_model = cut(graph, plan, Sample::RANK, Sample::PIECE, self.constants)?;
        let piece = &plan.ranks[0].pieces[0];
        let input = |(id, region): &(_, Region)| {
            let activation = plan.part(Sample::RANK, *id).activation;
            filled(graph.activation(activation).dtype, &region.shape())
        };
        Ok(Loaded {
            unit,
            amount: sample.amount,
            inputs: piece.inputs.iter().map(input).collect(),
            piece: engine.load(sub_model)?,
            laps: vec![],
        })
    }
}

/// Splits a level where its weights would not fit in memory at once.
fn groups(samples: Vec<(usize, Sample, usize)>, most: usize) -> Vec<Vec<(usize, Sample)>> {
    let mut groups: Vec<Vec<_>> = vec![];
    let mut room = 0;
    for (unit, sample, bytes) in samples {
        if groups.is_empty() || bytes > room {
            groups.push(vec![]);
            room = most;
        }
        room = room.saturating_sub(bytes);
        if let Some(group) = groups.last_mut() {
            group.push((unit, sample));
        }
    }
    groups
}

/// Bytes of memory that are free on this machine.
fn free_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}
