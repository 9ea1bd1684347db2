//! How long a Run takes on a core that may be taken away.
//!
//! Under a CPU quota (the edge lab, a container) a host computes at full speed for a part of each
//! period of some milliseconds and stands still for the rest. The wall time of one short Run then
//! either has a standstill in it or not, and neither is what a Run costs in a frame of many. So
//! with one compute thread a Run's own time is the CPU time that the thread had for it, and what
//! the host takes for that is added for all Runs alike: wall over CPU time of everything that was
//! measured. Standstills meet long Runs and short ones in proportion, so the quotient has no
//! bias, and what the main thread takes away beside is in it as well. Where there is a quota, which
//! `cost` replays with what main threads take of it, only what the host takes beyond is added:
//! wall time over CPU time of the whole process. The CPU time is that of a core as fast as this
//! one was in the mean (`gauge`).
//!
//! With several compute threads there is no such time of one thread, and the mean of the wall
//! times over the passes stands: it is right where there is no quota, and where there is one it
//! is as good as there are passes.

use std::time::{Duration, Instant};

use super::clock::{process_cpu, thread_cpu};
use super::gauge::Pace;

/// A lap of more than so many times the shortest met something else, where there are few.
const DISTURBED: f64 = 2.0;
/// Likewise of more than so many times the median, where there are at least so many.
const DISTURBED_OF_MANY: f64 = 3.0;
const MANY: usize = 5;
/// Likewise of more than so many times the shortest of few, the median of many, of Runs that are so
/// long that what slows them by more is a machine that stood still.
const STOOD_STILL: f64 = 1.25;
/// CPU time of a long Run.
const LONG: Duration = Duration::from_millis(10);

/// The time of one Run.
#[derive(Clone, Copy, Debug)]
pub struct Lap {
    started: Instant,
    wall: Duration,
    cpu: Duration,
    /// CPU time of all threads meanwhile.
    process: Duration,
}

impl Lap {
    /// Whether what a first Run pays once (pages of its buffers, code) hardly counts in it.
    pub fn is_long(&self) -> bool {
        self.cpu >= LONG
    }

    /// CPU time of the thread that ran it, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6
    }
}

/// Measures a Run on this thread.
pub fn lap<T>(run: impl FnOnce() -> T) -> (Lap, T) {
    let (all, started, before) = (process_cpu(), Instant::now(), thread_cpu());
    let done = run();
    let cpu = thread_cpu().saturating_sub(before);
    let wall = started.elapsed();
    let process = process_cpu().saturating_sub(all);
    let lap = Lap {
        started,
        wall,
        cpu,
        process,
    };
    (lap, done)
}

/// Times of one rank's compute threads.
pub struct Stopwatch<'a> {
    threads: usize,
    pace: &'a Pace,
    wall: Duration,
    cpu: Duration,
    process: Duration,
}

impl<'a> Stopwatch<'a> {
    /// A stopwatch for Runs on so many compute threads, on cores that were as fast as `pace` says.
    pub fn new(threads: usize, pace: &'a Pace) -> Self {
        Self {
            threads,
            pace,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            process: Duration::ZERO,
        }
    }

    /// Takes in the laps of one and the same Run: its time in µs, before `wall_per_cpu`.
    pub fn take(&mut self, laps: &[Lap]) -> f64 {
        self.wall += laps.iter().map(|lap| lap.wall).sum::<Duration>();
        self.cpu += laps.iter().map(|lap| lap.cpu).sum::<Duration>();
        self.process += laps.iter().map(|lap| lap.process).sum::<Duration>();
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        match self.threads {
            1 => typical(
                laps.iter()
                    .map(|lap| us(lap.cpu) / self.slowness(lap))
                    .collect(),
            ),
            _ => laps.iter().map(|lap| us(lap.wall)).sum::<f64>() / laps.len().max(1) as f64,
        }
    }

    /// Likewise of a Run so long that a machine which stood still shows: what it lengthened does
    /// not count.
    pub fn take_steady(&mut self, laps: &[Lap]) -> f64 {
        match self.threads {
            1 => self.take(&steady(laps)),
            _ => self.take(laps),
        }
    }

    fn slowness(&self, lap: &Lap) -> f64 {
        self.pace.slowness(lap.started, lap.started + lap.wall)
    }

    /// What every time is to be multiplied by where there is a quota of so many cores: the share
    /// of a core that it leaves over the one that the process had, at least 1; 1 with several
    /// threads.
    pub fn held_up(&self, cores: f64) -> f64 {
        match self.threads {
            1 if !self.process.is_zero() => {
                let had = self.process.as_secs_f64() / self.wall.as_secs_f64();
                (cores.min(1.0) / had).max(1.0)
            }
            _ => 1.0,
        }
    }

    /// What every time is to be multiplied by where there is none; 1 with several threads. What the
    /// gauge took beside is no part of a Run.
    pub fn wall_per_cpu(&self) -> f64 {
        let wall = self.wall.as_secs_f64();
        match self.threads {
            1 if !self.cpu.is_zero() => wall / (self.cpu.as_secs_f64() + wall * self.pace.share),
            _ => 1.0,
        }
    }
}

/// The laps of one and the same long Run in which the machine did not stand still: CPU time is the
/// wall time of a virtual core, whoever else had the real one.
fn steady(laps: &[Lap]) -> Vec<Lap> {
    let mut sorted: Vec<Duration> = laps.iter().map(|lap| lap.cpu).collect();
    sorted.sort_unstable();
    // The shortest of many is a lucky one.
    let usual = if laps.len() < MANY { 0 } else { laps.len() / 2 };
    let most = sorted
        .get(usual)
        .map_or(Duration::ZERO, |cpu| cpu.mul_f64(STOOD_STILL));
    let steady = |lap: &&Lap| lap.cpu <= most;
    laps.iter().filter(steady).copied().collect()
}

/// The mean, without the longest of many and without those that are out of all proportion: a Run is
/// as often on a slow core, or far from the caches, as these laps were, which a median forgets, but
/// what disturbed one of them will not come back.
fn typical(mut laps: Vec<f64>) -> f64 {
    laps.sort_by(f64::total_cmp);
    let most = match laps.len() {
        0 => return 0.0,
        count if count < MANY => DISTURBED * laps[0],
        count => DISTURBED_OF_MANY * laps[count / 2],
    };
    if laps.len() >= MANY {
        laps.pop();
    }
    laps.retain(|&lap| lap <= most);
    laps.iter().sum::<f64>() / laps.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps(times: &[(u64, u64)]) -> Vec<Lap> {
        let us = Duration::from_micros;
        let lap = |&(wall, cpu): &(u64, u64)| Lap {
            started: Instant::now(),
            wall: us(wall),
            cpu: us(cpu),
            process: us(cpu + cpu / 10),
        };
        times.iter().map(lap).collect()
    }

    #[test]
    fn a_standstill_in_some_runs_is_spread_over_all() {
        // A third of a core: Runs of 1000 and of 200 µs, each of the long ones with a standstill
        // in it, one in five of the short ones.
        let pace = Pace::default();
        let mut watch = Stopwatch::new(1, &pace);
        let long = watch.take(&laps(&[(3000, 1000); 5]));
        let mut short = vec![(200, 200); 4];
        short.push((2200, 200));
        let short = watch.take(&laps(&short));
        let factor = watch.wall_per_cpu();
        assert_eq!((long, short), (1000.0, 200.0));
        // The process had 1.1 thirds of a core.
        let held_up = [0.3, 0.4].map(|cores| watch.held_up(cores));
        assert!(
            (held_up[1] - 0.4 / 1.1 * 3.0).abs() < 1e-9 && held_up[0] == 1.0,
            "{held_up:?}"
        );
        assert!((factor - 3.0).abs() < 1e-9, "{factor}");
    }

    #[test]
    fn a_long_run_on_a_machine_that_stood_still_does_not_count() {
        let mut all = laps(&[(2000, 620), (3000, 1100), (2000, 600), (2100, 740)]);
        let kept: Vec<_> = steady(&all).iter().map(|lap| lap.cpu.as_micros()).collect();
        assert_eq!(kept, [620, 600, 740]);
        let many = laps(&[(0, 590), (0, 700), (0, 700), (0, 740), (0, 1100)]);
        assert_eq!(steady(&many).len(), 4, "740 is more than 1.25 times 590");
        all.truncate(1);
        assert_eq!(steady(&all).len(), 1, "one alone is all that is known");
        assert!(steady(&[]).is_empty());
    }

    #[test]
    fn a_core_of_two_speeds_counts_as_its_mean() {
        let pace = Pace::default();
        let mut watch = Stopwatch::new(1, &pace);
        let speeds = [(100, 100), (150, 150), (100, 100), (150, 150), (900, 900)];
        assert_eq!(watch.take(&laps(&speeds)), 125.0);
        assert_eq!(watch.take(&laps(&speeds[..2])), 125.0);
        assert_eq!(watch.take(&laps(&[(100, 100), (420, 420)])), 100.0);
        // As often from memory as from a cache.
        let memory = [(100, 100), (260, 260), (100, 100), (260, 260)].repeat(2);
        let disturbed = [(9000, 9000), (800, 800)];
        let mean = watch.take(&laps(&[&memory[..], &disturbed[..]].concat()));
        assert_eq!(mean, 180.0);
        assert_eq!(watch.take(&[]), 0.0);
    }

    #[test]
    fn several_threads_take_the_mean_of_the_wall() {
        let pace = Pace::default();
        let mut watch = Stopwatch::new(4, &pace);
        assert_eq!(watch.take(&laps(&[(100, 5), (300, 5)])), 200.0);
        assert_eq!((watch.wall_per_cpu(), watch.held_up(0.5)), (1.0, 1.0));
    }
}
