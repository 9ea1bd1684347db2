//! CPU time under a quota, and what waiting takes of it.
//!
//! A host under a quota (`quota:` in the platform file) computes at full speed while its bucket
//! has CPU time in it, and at the quota's rate when it is empty. Time that it waits fills the bucket
//! again, up to a burst. Short pieces between messages thus cost less than long ones, and what
//! the main thread does for messages and in waiting is lacking to them. A system hands the quota out
//! in periods; here it flows, so that pauses are spread over what they delay.

use crate::platform::Quota;

/// A look at messages, in µs of CPU: nearly all of it the way to sleep and back, as measured for
/// `runner/idle.rs` beside nothing and beside a Run.
const LOOK_US: f64 = 20.0;
const LOOK_BESIDE_US: f64 = 17.0;
/// `runner/idle.rs`: looks without sleep; those of a short wait with what a sleep really takes;
/// and how they thin out later.
const SPIN_US: f64 = 50.0;
const SHORT_US: f64 = 2400.0;
const SHORT_EVERY_US: f64 = 65.0;
const LATER_GROWTH: f64 = 0.1;
/// Likewise beside a Run.
const BESIDE_EVERY_US: f64 = 300.0;
const BESIDE_SHORT_US: f64 = 1000.0;
const BESIDE_GROWTH: f64 = 0.25;

/// One rank's CPU time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// CPU time for each time that passes; 1 without a quota.
    share: f64,
    most: f64,
    /// CPU time that is left; below 0, what was used ahead.
    left: f64,
    at: f64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self::of(None, 1)
    }
}

impl Bucket {
    /// The bucket of one of so many compute threads of a host, full.
    pub fn of(quota: Option<Quota>, threads: usize) -> Self {
        let each = threads.max(1) as f64;
        let share = quota.map_or(1.0, |quota| (quota.cores / each).min(1.0));
        let most = quota.map_or(0.0, |quota| quota.burst_us / each);
        Self {
            share,
            most,
            left: most,
            at: 0.0,
        }
    }

    /// Whether there is a quota that can bind.
    pub fn binds(&self) -> bool {
        self.share < 1.0
    }

    /// Time passes in which nothing but waiting happens.
    pub fn rest(&mut self, now: f64) {
        let passed = now - self.at;
        self.at = now;
        if self.binds() && passed > 0.0 {
            let had = self.left;
            let looked = (had + self.share * passed - looks_us(passed)).max(had.min(0.0));
            self.left = looked.min(self.most);
        }
    }

    /// Time passes in which the compute thread works: the CPU time that it gets.
    pub fn work(&mut self, now: f64) -> f64 {
        let mut passed = now - self.at;
        self.at = now;
        if !self.binds() {
            return passed;
        }
        let owing = passed.min(self.pause());
        self.left += self.share * owing;
        passed -= owing;
        let fast = passed.min(self.left.max(0.0) / (1.0 - self.share));
        self.left -= fast * (1.0 - self.share);
        fast + (passed - fast) * self.share
    }

    /// How long `work` of CPU time takes from now on.
    pub fn time(&self, work: f64) -> f64 {
        if !self.binds() {
            return work;
        }
        let fast = (self.left.max(0.0) / (1.0 - self.share)).min(work);
        self.pause() + fast + (work - fast) / self.share
    }

    /// Until what was used ahead is made up for.
    pub fn pause(&self) -> f64 {
        (-self.left).max(0.0) / self.share
    }

    /// CPU time goes elsewhere.
    pub fn take(&mut self, work: f64) {
        if self.binds() {
            self.left -= work;
        }
    }
}

/// CPU time of a main thread that has waited for so long with nothing else to do.
fn looks_us(waited: f64) -> f64 {
    let short = waited.clamp(SPIN_US, SHORT_US) - SPIN_US;
    let later = (waited / SHORT_US).max(1.0).ln() / LATER_GROWTH;
    waited.min(SPIN_US) + LOOK_US * (short / SHORT_EVERY_US + later)
}

/// CPU time of a main thread beside a Run that takes so long.
pub(super) fn looks_beside_us(run: f64) -> f64 {
    let later = (run / BESIDE_SHORT_US).max(1.0).ln() / BESIDE_GROWTH;
    LOOK_BESIDE_US * (run.min(BESIDE_SHORT_US) / BESIDE_EVERY_US + later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    fn half() -> Bucket {
        let quota = Quota {
            cores: 0.5,
            burst_us: 1000.0,
        };
        Bucket::of(Some(quota), 1)
    }

    #[test]
    fn a_burst_is_fast_and_the_rest_at_the_quota() {
        let mut bucket = half();
        // 2000 µs long the bucket empties at half a µs each µs.
        assert!(near(bucket.time(500.0), 500.0));
        assert!(near(bucket.time(2000.0), 2000.0));
        assert!(near(bucket.time(3000.0), 4000.0));
        assert!(near(bucket.work(3000.0), 2500.0));
        assert!(near(bucket.time(500.0), 1000.0));
        assert!(near(Bucket::default().time(7.0), 7.0));
    }

    #[test]
    fn what_is_taken_ahead_is_a_pause() {
        let mut bucket = half();
        bucket.take(1500.0);
        assert!(near(bucket.pause(), 1000.0) && near(bucket.time(100.0), 1200.0));
        assert!(near(bucket.work(1100.0), 50.0));
    }

    #[test]
    fn time_and_work_agree_from_any_state() {
        for taken in [0.0, 300.0, 1000.0, 2000.0] {
            for work in [1.0, 400.0, 1500.0, 9000.0] {
                let mut bucket = half();
                bucket.take(taken);
                let time = bucket.time(work);
                assert!(near(bucket.work(time / 3.0) + bucket.work(time), work));
            }
        }
    }

    #[test]
    fn a_rest_fills_less_than_it_lasts_and_no_more_than_a_burst() {
        let mut bucket = half();
        bucket.take(1000.0);
        bucket.rest(1000.0);
        assert!(bucket.left > 100.0 && bucket.left < 500.0, "{bucket:?}");
        bucket.rest(1e6);
        assert!(near(bucket.left, 1000.0));
    }
}
