//! How the main thread waits: briefly hot, then asleep for longer and longer.
//!
//! MPI over TCP makes progress only while somebody calls it, so that the main thread looks at
//! its messages again and again. While a Run is in progress it must not take the core away from
//! it; while nothing is in progress a short wait should cost microseconds and a long one no
//! power. BENCHMARKS.md has the measurements behind the constants.

use std::time::{Duration, Instant};

/// Looking without sleeping, where no Run is in progress.
const SPIN: Duration = Duration::from_micros(50);
/// A wait is short until here: most messages come within it.
const SHORT: Duration = Duration::from_micros(2400);
/// Asked for between two looks in a short wait; the system makes 30 to 60 µs of it.
const SHORTEST: Duration = Duration::from_micros(10);
/// A sleep in a longer wait is this fraction of the wait so far.
const FRACTION: u32 = 10;
/// Between two looks in a wait of seconds.
const LONGEST: Duration = Duration::from_millis(5);
/// Between two looks while a Run is in progress: each look takes about 20 µs from a Run that shares
/// its core, so that 200 µs cost a tenth of it.
const BESIDE_RUN: Duration = Duration::from_micros(500);
/// The same just after something happened, when a message may be half-way.
const AFTER_EVENT: Duration = Duration::from_micros(150);
/// How long that is.
const FRESH: Duration = Duration::from_micros(1000);
/// Between two looks where there is no other rank.
const ALONE: Duration = Duration::from_millis(20);

/// One wait, from the last thing that happened.
pub struct Idle {
    since: Instant,
    alone: bool,
}

impl Idle {
    /// A wait that begins; `alone` where no message can come.
    pub fn new(alone: bool) -> Self {
        Self {
            since: Instant::now(),
            alone,
        }
    }

    /// Something happened: the next wait begins.
    pub fn reset(&mut self) {
        self.since = Instant::now();
    }

    /// Lets some time pass. Another thread's `unpark` ends it early.
    pub fn wait(&self, running: bool) {
        let waited = self.since.elapsed();
        let pause = match (self.alone, running) {
            (true, _) => ALONE,
            (false, true) if waited < FRESH => AFTER_EVENT,
            (false, true) => BESIDE_RUN,
            (false, false) if waited < SPIN => {
                std::thread::yield_now();
                return;
            }
            (false, false) if waited < SHORT => SHORTEST,
            (false, false) => (waited / FRACTION).min(LONGEST),
        };
        std::thread::park_timeout(pause);
    }
}

/// Asks the kernel not to stretch this thread's sleeps (50 µs by default). Only Linux has it;
/// without it short waits take a little longer.
pub fn sharpen_sleeps() {
    let written = std::fs::write("/proc/self/timerslack_ns", "1000");
    if let Err(error) = written {
        log::debug!("timer slack stays as it is: {error}");
    }
}
