//! How the main thread waits: briefly hot, then asleep for longer and longer.
//!
//! MPI over TCP makes progress only while somebody calls it, so that the main thread looks at
//! its messages again and again. While a Run is in progress it must not take the core away from
//! it; while nothing is in progress a short wait should cost microseconds and a long one no
//! power. BENCHMARKS.md has the measurements behind the constants.

use std::time::{Duration, Instant};

use super::quota::quota;

/// Looking without sleeping, where no Run is in progress and no quota lacks what that takes.
const SPIN: Duration = Duration::from_micros(50);
/// A wait is short until here: most messages come within it.
const SHORT: Duration = Duration::from_micros(2400);
/// Asked for between two looks in a short wait; the system makes 30 to 60 µs of it.
const SHORTEST: Duration = Duration::from_micros(10);
/// From one of these looks to the next without a quota. Under one it is longer by as much as a
/// whole core is more than the quota: what a look takes is lacking to the Runs.
const SHORT_EVERY: Duration = Duration::from_micros(65);
/// The least share of a core that this goes by.
const LEAST_CORES: f64 = 0.1;
/// A sleep in a longer wait is this fraction of the wait so far.
const FRACTION: u32 = 10;
/// Between two looks in a wait of seconds.
const LONGEST: Duration = Duration::from_millis(5);
/// Between two looks while a Run is in progress and a long message is half-way, just after
/// something happened, and later. A look takes about 17 µs from a Run that shares its core, nearly
/// all of it the way to sleep and back.
const MOVING: Duration = Duration::from_micros(150);
const MOVING_LATER: Duration = Duration::from_micros(500);
/// How long just after is.
const FRESH: Duration = Duration::from_micros(1000);
/// Between two looks while a Run is in progress and nothing is half-way: this fraction of the time
/// since something happened, and at least and at most so much. The end of the Run ends the sleep.
const BESIDE_FRACTION: u32 = 4;
const BESIDE_SHORTEST: Duration = Duration::from_micros(1000);
const BESIDE_LONGEST: Duration = Duration::from_millis(4);
/// A sleep of a thread that has nothing else to do, in a wait for a long message that is no longer
/// short, is this fraction of the wait so far, and no shorter than those of a short wait: little of
/// the message moves in it.
const HALF_WAY_FRACTION: u32 = 50;
/// Between two looks where there is no other rank.
const ALONE: Duration = Duration::from_millis(20);

/// One wait, from the last thing that happened.
pub struct Idle {
    since: Instant,
    alone: bool,
    /// Asked for between two looks in a short wait, by this process's quota.
    shortest: Duration,
}

impl Idle {
    /// A wait that begins; `alone` where no message can come.
    pub fn new(alone: bool) -> Self {
        Self {
            since: Instant::now(),
            alone,
            shortest: shortest(quota().map(|quota| quota.cores)),
        }
    }

    /// Something happened: the next wait begins.
    pub fn reset(&mut self) {
        self.since = Instant::now();
    }

    /// Lets some time pass beside a Run in progress: less of it where a long message is half-way
    /// (`Link::is_moving`). Another thread's `unpark` ends it early.
    pub fn beside_run(&self, moving: bool) {
        let waited = self.since.elapsed();
        let pause = match moving {
            _ if self.alone => ALONE,
            true if waited < FRESH => MOVING,
            true => MOVING_LATER,
            false => (waited / BESIDE_FRACTION).clamp(BESIDE_SHORTEST, BESIDE_LONGEST),
        };
        std::thread::park_timeout(pause);
    }

    /// Whether the process has less than a core: what looks take is then lacking to Runs, even
    /// where none is in progress.
    pub fn spares(&self) -> bool {
        self.shortest > SHORTEST
    }

    /// Lets less time pass than `wait`: no Run is in progress, and a long message is half-way.
    pub fn beside_message(&self) {
        match self.since.elapsed() {
            waited if waited < SHORT && !self.spares() => std::thread::yield_now(),
            waited => {
                let pause = waited / HALF_WAY_FRACTION;
                std::thread::park_timeout(pause.clamp(self.shortest, LONGEST));
            }
        }
    }

    /// Lets some time pass while nothing is in progress. Another thread's `unpark` ends it early.
    pub fn wait(&self) {
        let waited = self.since.elapsed();
        let pause = match waited {
            _ if self.alone => ALONE,
            waited if waited < SPIN && !self.spares() => return std::thread::yield_now(),
            waited if waited < SHORT => self.shortest,
            waited => (waited / FRACTION).clamp(self.shortest, LONGEST),
        };
        std::thread::park_timeout(pause);
    }
}

fn shortest(cores: Option<f64>) -> Duration {
    let share = cores.unwrap_or(1.0).clamp(LEAST_CORES, 1.0);
    SHORTEST + SHORT_EVERY.mul_f64(1.0 / share - 1.0)
}

/// Asks the kernel not to stretch this thread's sleeps (50 µs by default). Only Linux has it;
/// without it short waits take a little longer.
pub fn sharpen_sleeps() {
    let written = std::fs::write("/proc/self/timerslack_ns", "1000");
    if let Err(error) = written {
        log::debug!("timer slack stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_makes_short_sleeps_longer() {
        assert_eq!(shortest(None), SHORTEST);
        assert_eq!(shortest(Some(4.0)), SHORTEST);
        assert_eq!(shortest(Some(0.5)), SHORTEST + SHORT_EVERY);
        assert_eq!(shortest(Some(0.0)), shortest(Some(LEAST_CORES)));
        assert!(shortest(Some(0.0)) < SHORT.min(LONGEST));
    }

    #[test]
    fn only_a_quota_of_less_than_a_core_spares_looks() {
        let spares = |cores| {
            let wait = Idle {
                shortest: shortest(cores),
                ..Idle::new(false)
            };
            wait.spares()
        };
        assert!(!spares(None) && !spares(Some(1.0)));
        assert!(spares(Some(0.9)) && spares(Some(0.0)));
    }
}
