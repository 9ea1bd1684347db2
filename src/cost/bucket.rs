//! CPU time under a quota, and what waiting takes of it.
//!
//! A host under a quota (`quota:` in the platform file) computes at full speed until it has used
//! up what a period allows, and stands still until the next one begins: what Linux's control
//! groups do. Short pieces between messages thus cost less than long ones, and what the main
//! thread does for messages and in waiting is lacking to them. The periods of all hosts begin
//! together, as the edge lab sees to; where they do not, hosts wait for each other's beginnings. No
//! two Runs of a piece are ever quite alike: without that the frames of a replay fall into step
//! with the periods, and a latency comes out as a whole number of them.

use crate::platform::{Quota, LOOK_US};

/// `runner/idle.rs`: looks without sleep, none under a quota of less than a core; those of a short
/// wait with what a sleep really takes; longer by as much as a core is more than the quota; and how
/// they thin out later, less of it while a long message is half-way.
const SPIN_US: f64 = 50.0;
const SHORT_US: f64 = 2400.0;
const SHORT_EVERY_US: f64 = 65.0;
const LEAST_CORES: f64 = 0.1;
const LATER_GROWTH: f64 = 0.1;
const HALF_WAY_GROWTH: f64 = 0.02;
/// Likewise beside a Run.
const BESIDE_EVERY_US: f64 = 1050.0;
const BESIDE_SHORT_US: f64 = 4000.0;
const BESIDE_GROWTH: f64 = 0.25;

/// By which part a short step's work is more or less than its mean, at most. A long one is many
/// short ones, which make up for each other.
const UNEVEN: f64 = 0.1;
const UNEVEN_US: f64 = 10_000.0;

/// One rank's CPU time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// CPU time of each period; infinite without a quota.
    burst: f64,
    period: f64,
    /// CPU time that is left in this one; below 0, what was used ahead.
    left: f64,
    at: f64,
    /// When the main thread last had something to do: its looks thin out from there.
    since: f64,
    /// When the next period begins.
    next: f64,
    looks: Looks,
}

/// When a main thread that waits looks at its messages.
#[derive(Clone, Copy, Debug)]
struct Looks {
    /// CPU time of each.
    us: f64,
    /// Without sleep until here.
    spin: f64,
    /// From one look in a short wait to the next.
    every: f64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self::of(None, 1, LOOK_US)
    }
}

impl Bucket {
    /// The bucket of one of so many compute threads of a host where a look takes `look_us`, full;
    /// its first period begins.
    pub fn of(quota: Option<Quota>, threads: usize, look_us: f64) -> Self {
        let each = threads.max(1) as f64;
        let quota = quota.filter(|quota| quota.cores < each);
        let share = quota.map_or(1.0, |quota| quota.cores.clamp(LEAST_CORES, 1.0));
        let burst = quota.map_or(f64::INFINITY, |quota| quota.burst_us / each);
        let period = quota.map_or(f64::INFINITY, |quota| quota.burst_us / quota.cores);
        Self {
            burst,
            period,
            left: burst,
            at: 0.0,
            since: 0.0,
            next: period,
            looks: Looks {
                us: look_us,
                spin: if share < 1.0 { 0.0 } else { SPIN_US },
                every: SHORT_EVERY_US / share,
            },
        }
    }

    /// Whether there is a quota that can bind.
    pub fn binds(&self) -> bool {
        self.burst.is_finite()
    }

    /// Until when time has passed, CPU time that is left in this period, and when the next begins.
    pub fn at(&self) -> f64 {
        self.at
    }

    pub fn left(&self) -> f64 {
        self.left
    }

    pub fn next(&self) -> f64 {
        self.next
    }

    /// Time passes `until` then, no further than to the next period; the compute thread gets so
    /// much of it.
    pub fn turn(&mut self, cpu: f64, until: f64) {
        self.left -= cpu;
        self.at = until;
        if self.next <= until {
            self.refill();
        }
    }

    fn refill(&mut self) {
        self.at = self.next;
        self.next += self.period;
        self.left = (self.left + self.burst).min(self.burst);
    }

    /// Time passes in which nothing but waiting happens; whether a long message is half-way.
    pub fn rest(&mut self, now: f64, half_way: bool) {
        if !self.binds() {
            self.at = now;
            return;
        }
        let (since, looks) = (self.since, self.looks);
        let growth = if half_way {
            HALF_WAY_GROWTH
        } else {
            LATER_GROWTH
        };
        let looks_us = |until: f64| looks.all(until - since, growth);
        while self.next <= now {
            let looked = looks_us(self.next) - looks_us(self.at);
            self.left = (self.left - looked).max(self.left.min(0.0));
            if self.left == self.burst {
                // Nothing changes from here on but the last period's beginning.
                let periods = ((now - self.next) / self.period).floor();
                self.next += periods * self.period;
            }
            self.refill();
        }
        let looked = looks_us(now) - looks_us(self.at);
        self.left = (self.left - looked).max(self.left.min(0.0));
        self.at = now;
    }

    /// The main thread has something to do: what follows is another wait.
    pub fn wake(&mut self) {
        self.since = self.at;
    }

    /// Time passes in which the compute thread works: the CPU time that it gets.
    pub fn work(&mut self, now: f64) -> f64 {
        let mut done = 0.0;
        while self.next <= now {
            let worked = (self.next - self.at).min(self.left.max(0.0));
            self.left -= worked;
            done += worked;
            self.refill();
        }
        let worked = (now - self.at).min(self.left.max(0.0));
        self.left -= worked;
        self.at = now;
        done + worked
    }

    /// How long `work` of CPU time takes from now on.
    pub fn time(&self, mut work: f64) -> f64 {
        let mut clock = *self;
        loop {
            let ready = clock.left.max(0.0);
            if work <= ready.min(clock.next - clock.at) {
                return clock.at + work - self.at;
            }
            let worked = ready.min(clock.next - clock.at);
            work -= worked;
            clock.left -= worked;
            clock.refill();
        }
    }

    /// Until the host can do anything.
    pub fn pause(&self) -> f64 {
        let mut clock = *self;
        while clock.left <= 0.0 {
            clock.refill();
        }
        clock.at - self.at
    }

    /// CPU time goes elsewhere.
    pub fn take(&mut self, work: f64) {
        if self.binds() {
            self.left -= work;
        }
    }
}

/// What the work of a rank's so-many-th step, `us` in the mean, is multiplied by: the same in each
/// replay.
pub(super) fn uneven(rank: usize, step: u32, us: f64) -> f64 {
    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    let mut bits = ((rank as u64) << 32 | u64::from(step)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    let share = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    1.0 + UNEVEN * (UNEVEN_US / us.max(UNEVEN_US)).sqrt() * (2.0 * share - 1.0)
}

impl Looks {
    /// CPU time of a wait that has lasted so long with nothing else to do, by how looks thin out.
    fn all(self, waited: f64, growth: f64) -> f64 {
        let even = SHORT_US.max(self.every / growth);
        let short = waited.clamp(self.spin, even) - self.spin;
        let later = (waited / even).max(1.0).ln() / growth;
        waited.min(self.spin) + self.us * (short / self.every + later)
    }
}

/// How often a main thread looks beside a Run that takes so many µs.
pub(super) fn looks_beside(run: f64) -> f64 {
    let later = (run / BESIDE_SHORT_US).max(1.0).ln() / BESIDE_GROWTH;
    run.min(BESIDE_SHORT_US) / BESIDE_EVERY_US + later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    /// 1000 µs of CPU time in periods of 2000.
    fn half() -> Bucket {
        let quota = Quota {
            cores: 0.5,
            burst_us: 1000.0,
        };
        Bucket::of(Some(quota), 1, LOOK_US)
    }

    #[test]
    fn steps_are_uneven_and_right_in_the_mean() {
        for (us, most) in [(1.0, UNEVEN), (1e4, UNEVEN), (1e6, UNEVEN / 10.0)] {
            let all: Vec<f64> = (0..1000).map(|step| uneven(3, step, us)).collect();
            assert!(all.iter().all(|share| (share - 1.0).abs() <= most));
            assert!(all.iter().any(|share| (share - 1.0).abs() > most / 2.0));
            assert!((all.iter().sum::<f64>() / 1000.0 - 1.0).abs() < 0.01);
            assert!(all[0] != all[1] && uneven(4, 0, us) != all[0]);
        }
    }

    #[test]
    fn a_burst_is_fast_and_the_rest_waits_for_periods() {
        let bucket = half();
        assert!(near(bucket.time(1000.0), 1000.0));
        assert!(near(bucket.time(1100.0), 2100.0));
        assert!(near(bucket.time(2500.0), 4500.0));
        assert!(near(Bucket::default().time(7.0), 7.0));
    }

    #[test]
    fn what_is_taken_ahead_is_a_pause() {
        let mut bucket = half();
        bucket.take(1500.0);
        assert!(near(bucket.pause(), 2000.0));
        assert!(near(bucket.time(500.0), 2500.0));
        bucket.take(1000.0);
        assert!(near(bucket.pause(), 4000.0));
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
    fn looks_go_on_thinning_out_whatever_else_is_asked() {
        let mut bucket = half();
        bucket.rest(100_000.0, false);
        let mut often = half();
        (1..=1000).for_each(|step| often.rest(f64::from(step) * 100.0, false));
        assert!(near(bucket.left, often.left), "{bucket:?} {often:?}");
        bucket.wake();
        bucket.rest(100_100.0, false);
        often.rest(100_100.0, false);
        assert!(bucket.left < often.left - 10.0, "{bucket:?} {often:?}");
    }

    #[test]
    fn looks_are_of_one_kind_until_they_thin_out() {
        let Looks { spin, every, .. } = half().looks;
        assert!(near(spin, 0.0) && near(every, 2.0 * SHORT_EVERY_US));
        let all = |waited, growth| half().looks.all(waited, growth);
        for growth in [LATER_GROWTH, HALF_WAY_GROWTH] {
            assert!(near(all(10.0 * every, growth), 10.0 * LOOK_US));
        }
        // A long message that is half-way is looked at more often, and only later.
        assert!(near(
            all(SHORT_US, LATER_GROWTH),
            all(SHORT_US, HALF_WAY_GROWTH)
        ));
        assert!(all(20_000.0, HALF_WAY_GROWTH) > 2.0 * all(20_000.0, LATER_GROWTH));
        let whole = Bucket::default().looks;
        assert!(near(whole.all(SPIN_US, LATER_GROWTH), SPIN_US));
    }

    #[test]
    fn a_rest_costs_looks_and_fills_no_more_than_a_burst() {
        let mut bucket = half();
        bucket.take(600.0);
        bucket.rest(1000.0, false);
        assert!(bucket.left > 0.0 && bucket.left < 300.0, "{bucket:?}");
        bucket.rest(1e6, false);
        assert!(bucket.left > 900.0 && bucket.left <= 1000.0, "{bucket:?}");
        assert!(bucket.next > 1e6 && bucket.next <= 1e6 + 2000.0);
    }
}
