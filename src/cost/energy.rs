//! Joules: watts over what a host does at each moment.
//!
//! A host takes `idle` watts from the first opening to the last output, `compute` instead while a
//! rank of it computes, `transmit` instead while a message leaves or reaches it and none computes.
//! Hosts without a rank take nothing. A host's joules are shared alike by its ranks.

use super::replay::Replayed;
use crate::platform::Platform;

/// What one host did, as long as it did it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    computing: usize,
    moving: usize,
    since: f64,
    pub compute_us: f64,
    pub transmit_us: f64,
}

impl Activity {
    /// From `now` on so many more ranks compute and messages move.
    pub fn change(&mut self, now: f64, computing: isize, moving: isize) {
        let passed = now - self.since;
        match (self.computing, self.moving) {
            (0, 0) => {}
            (0, _) => self.transmit_us += passed,
            _ => self.compute_us += passed,
        }
        self.since = now;
        self.computing = self.computing.saturating_add_signed(computing);
        self.moving = self.moving.saturating_add_signed(moving);
    }
}

/// Each rank's joules for a frame; none where its host's watts are not all known.
pub(super) fn joules(
    platform: &Platform,
    places: &[usize],
    replayed: &Replayed,
) -> Vec<Option<f64>> {
    let machines = platform.machines();
    let mut ranks_of = vec![0usize; machines.len()];
    places.iter().for_each(|&machine| ranks_of[machine] += 1);
    let watts: Vec<_> = (0..platform.hosts.len())
        .map(|entry| platform.resolved(entry).watts)
        .collect();
    let each = |&machine: &usize| {
        let watts = watts[machines[machine].entry];
        let (idle, compute, transmit) = (watts.idle?, watts.compute?, watts.transmit?);
        let did = &replayed.activities[machine];
        let rest = (replayed.span_us - did.compute_us - did.transmit_us).max(0.0);
        let all = idle * rest + compute * did.compute_us + transmit * did.transmit_us;
        let shares = ranks_of[machine] as f64 * replayed.total.max(1) as f64;
        Some(all / 1e6 / shares)
    };
    places.iter().map(each).collect()
}
