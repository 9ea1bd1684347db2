//! What a wait makes the steps behind it take longer.
//!
//! A core that did not compute for a while is slower at first, whether its units or its clock have
//! to wake or its caches have what others did meanwhile. In pieces between messages that is a part
//! of every Run, which tables, measured one Run behind the other, do not have. A profile
//! says how much of it there is behind a long wait (`runner/profile/waking.rs`).

use crate::platform::{Host, LONG_WAIT_US, WAKING_US};

/// What steps behind a long wait take longer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waking {
    /// The first of them, in µs.
    us: f64,
    /// Each µs of the first `WAKING_US`, in µs.
    share: f64,
}

impl Waking {
    /// As a platform says it of a host.
    pub fn of(host: &Host) -> Self {
        Self {
            us: host.speed.wake_us.unwrap_or(0.0),
            share: host.speed.wake_us_per_ms.unwrap_or(0.0) / WAKING_US,
        }
    }
}

/// A compute thread's rests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cold {
    /// When its last step was over.
    since: f64,
    /// How much of what comes next is slow, in µs.
    left: f64,
}

impl Cold {
    /// A step is over.
    pub fn rests(&mut self, now: f64) {
        self.since = now;
    }

    /// µs that a step takes longer which begins now and would take `us`.
    pub fn longer(&mut self, now: f64, us: f64, waking: Waking) -> f64 {
        let part = ((now - self.since) / LONG_WAIT_US).clamp(0.0, 1.0);
        self.left = self.left.max(part * WAKING_US);
        let slow = us.min(self.left);
        self.left -= slow;
        part * waking.us + slow * waking.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKING: Waking = Waking {
        us: 15.0,
        share: 0.1,
    };

    #[test]
    fn the_first_millisecond_behind_a_wait_is_slow() {
        let mut cold = Cold::default();
        assert_eq!(cold.longer(5000.0, 300.0, WAKING), 15.0 + 30.0);
        cold.rests(5345.0);
        assert_eq!(cold.longer(5345.0, 900.0, WAKING), 70.0);
        cold.rests(6315.0);
        assert_eq!(cold.longer(6315.0, 900.0, WAKING), 0.0);
    }

    #[test]
    fn a_short_wait_counts_by_its_part() {
        let mut cold = Cold::default();
        assert_eq!(cold.longer(500.0, 1e6, WAKING), 15.0 / 4.0 + 25.0);
        let mut cold = Cold::default();
        assert_eq!(cold.longer(1e9, 1e6, WAKING), 15.0 + 100.0);
        assert_eq!(Cold::default().longer(1e9, 1e6, Waking::default()), 0.0);
    }
}
