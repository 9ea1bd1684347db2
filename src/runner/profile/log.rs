//! Every lap that one rank measured, and the times that follow from all of them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gauge::Pace;
use super::ladder::{levels, Level};
use super::stopwatch::{Lap, Stopwatch};
use super::waking::{line, Woken};
use crate::platform::Quota;

/// The times of one rank, engine's cost per Run included: in µs of wall time, or, where there is a
/// quota, of CPU time, times the share of a core that the rank should have over the one it had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankTimes {
    /// Compute threads.
    pub threads: usize,
    /// A Run of next to nothing.
    pub run_us: f64,
    /// Bytes that are read and written in a µs, by copying.
    pub bytes_per_us: f64,
    /// What a Run takes longer behind a wait: in any case, and for each of the first 1000 µs; none
    /// where it was not measured.
    pub waking_us: Option<(f64, f64)>,
    /// The whole model as one piece; none where there was no memory or time for it.
    pub model_us: Option<f64>,
    /// For each unit, each level that was measured: amount and time.
    pub units: Vec<Vec<(Level, usize, f64)>>,
    /// Wall time over CPU time of everything that was measured.
    pub wall_per_cpu: f64,
    /// What times of CPU were multiplied by: wall over CPU time; where there is a quota, what is
    /// beyond it (`Stopwatch::held_up`).
    pub factor: f64,
    /// CPU time of the host in each time that passes, and at once after a rest, in µs.
    pub quota: Option<(f64, f64)>,
    /// Levels measured at least once, and levels that there are.
    pub levels: (usize, usize),
    /// Whole sweeps over all of them.
    pub sweeps: usize,
    /// How long measuring took, in seconds.
    pub seconds: f64,
}

/// Every lap of one rank.
#[derive(Default)]
pub struct Log {
    /// Runs of next to nothing.
    pub empty: Vec<Lap>,
    /// Bytes read and written in each copy, and the copies.
    pub copies: (f64, Vec<Lap>),
    /// The whole model.
    pub model: Vec<Lap>,
    /// Runs behind a sleep.
    pub woken: Vec<Woken>,
    /// For each unit, by level: amount and laps.
    units: Vec<BTreeMap<usize, (usize, Vec<Lap>)>>,
    /// Levels measured at least once.
    pub levels: usize,
    /// Whole sweeps.
    pub sweeps: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Log {
    /// An empty log of so many units.
    pub fn of(units: usize) -> Self {
        Self {
            units: vec![BTreeMap::new(); units],
            ..Self::default()
        }
    }

    /// Takes in laps of a unit at a level, which makes so many rows, channels or terms.
    pub fn take(&mut self, (unit, level): (usize, usize), amount: usize, laps: &mut Vec<Lap>) {
        let entry = self.units[unit].entry(level).or_default();
        entry.0 = amount;
        entry.1.append(laps);
    }

    /// Several threads have no CPU time of their own to compare.
    fn waking(&self, threads: usize) -> Option<(f64, f64)> {
        (threads == 1).then(|| line(&self.woken)).flatten()
    }

    /// The times that the laps say, on a core that was as fast as `pace` says.
    pub fn times(&self, threads: usize, quota: Option<Quota>, pace: &Pace) -> RankTimes {
        // Several threads have no CPU time of their own to count in.
        let quota = quota.filter(|_| threads == 1);
        let mut watch = Stopwatch::new(threads, pace);
        let units: Vec<Vec<_>> = self
            .units
            .iter()
            .map(|measured| {
                let mut level = |(&index, entry): (&usize, &(usize, Vec<Lap>))| {
                    (levels()[index], entry.0, watch.take(&entry.1))
                };
                measured.iter().map(&mut level).collect()
            })
            .collect();
        let model = (!self.model.is_empty()).then(|| watch.take_steady(&self.model));
        // These hardly count in the quotient of wall and CPU time, so they come last.
        let wall_per_cpu = watch.wall_per_cpu();
        let factor = quota.map_or(wall_per_cpu, |quota| watch.held_up(quota.cores));
        let run_us = watch.take(&self.empty) * factor;
        let (bytes, laps) = &self.copies;
        let copy_us = watch.take(laps) * factor;
        let scaled = |(level, amount, us): &(Level, usize, f64)| (*level, *amount, us * factor);
        let units = units.iter().map(|unit| unit.iter().map(scaled).collect());
        RankTimes {
            threads,
            run_us,
            bytes_per_us: bytes / copy_us.max(1e-3),
            waking_us: self
                .waking(threads)
                .map(|(us, per_ms)| (us * factor, per_ms * factor)),
            model_us: model.map(|us| us * factor),
            units: units.collect(),
            wall_per_cpu,
            factor,
            quota: quota.map(|quota| (quota.cores, quota.burst_us)),
            levels: (self.levels, levels().len()),
            sweeps: self.sweeps,
            seconds: self.seconds,
        }
    }
}
