//! What Runs take longer behind a wait than one behind the other.
//!
//! In a frame of pieces between messages the compute thread waits before most Runs. The core then
//! sleeps or does something else, and is slower at first (`cost/waking.rs`). So each Run of a level
//! is done once more behind a sleep, and what it took longer follows a line: so much in any case,
//! and so much for each µs of the first millisecond.

use std::time::Duration;

use anyhow::Result;

use super::fit::median;
use super::pass::{pass, Loaded};
use crate::platform::{LONG_WAIT_US, WAKING_US};

/// Runs that are longer vary by more than what is looked for.
const LONGEST_US: f64 = 2.0 * WAKING_US;
/// Of fewer nobody knows what disturbed them.
const LEAST: usize = 10;
/// A line needs short Runs and long ones, so many µs apart.
const APART_US: f64 = 50.0;

/// A Run as it usually is, and what it took longer behind a sleep: µs of CPU.
pub type Woken = (f64, f64);

/// Runs each piece that has laps once more behind a sleep; the lap does not count among them.
///
/// # Errors
/// One line of the engine's.
pub fn wake(loaded: &mut [Loaded]) -> Result<Vec<Woken>> {
    let mut woken = vec![];
    for one in loaded.iter_mut().filter(|one| !one.laps.is_empty()) {
        std::thread::sleep(Duration::from_micros(LONG_WAIT_US as u64));
        let usual = median(&one.laps.iter().map(|lap| lap.cpu_us()).collect::<Vec<_>>());
        pass(std::slice::from_mut(one))?;
        if let Some(lap) = one.laps.pop() {
            woken.push((usual, lap.cpu_us() - usual));
        }
    }
    Ok(woken)
}

/// µs in any case, and for each 1000 µs of the first; none where hardly anything was measured. The
/// line goes through the means of the shorter and of the longer half, without the tenth of them
/// that was lengthened most and the tenth that was lengthened least: something disturbed those. A
/// core wakes at once or late, so that a median would be of either kind.
pub fn line(woken: &[Woken]) -> Option<(f64, f64)> {
    let mut sorted: Vec<Woken> = woken
        .iter()
        .filter(|woken| woken.0 <= LONGEST_US)
        .map(|&(usual, longer)| (usual.min(WAKING_US), longer))
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    if sorted.len() < LEAST {
        return None;
    }
    let (short, long) = sorted.split_at(sorted.len() / 2);
    let (short, long) = (middle(short), middle(long));
    if long.0 - short.0 < APART_US {
        let (usual, longer) = middle(&sorted);
        return Some((0.0, (longer / usual).max(0.0) * WAKING_US));
    }
    let share = ((long.1 - short.1) / (long.0 - short.0)).max(0.0);
    Some(((short.1 - share * short.0).max(0.0), share * WAKING_US))
}

/// The mean Run without those that were disturbed; NaN of none.
fn middle(part: &[Woken]) -> Woken {
    let mut sorted = part.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let tenth = sorted.len() / 10;
    let kept = &sorted[tenth..sorted.len() - tenth];
    let mean = |of: fn(&Woken) -> f64| kept.iter().map(of).sum::<f64>() / kept.len() as f64;
    (mean(|woken| woken.0), mean(|woken| woken.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<(f64, f64)>, wanted: (f64, f64)) {
        let (us, per_ms) = found.expect("a line");
        let same = (us - wanted.0).abs() < 1.0 && (per_ms - wanted.1).abs() < 2.0;
        assert!(same, "{us} {per_ms}");
    }

    #[test]
    fn a_line_is_found_whatever_disturbed_some() {
        let longer = |usual: f64| 14.0 + 0.09 * usual.min(1000.0);
        let mut woken: Vec<Woken> = (1..=60)
            .map(|i| f64::from(i) * 25.0)
            .map(|usual| (usual, longer(usual)))
            .collect();
        for disturbed in woken.iter_mut().step_by(16) {
            disturbed.1 += if disturbed.0 < 700.0 { 400.0 } else { -400.0 };
        }
        near(line(&woken), (14.0, 90.0));
    }

    #[test]
    fn runs_of_one_length_say_a_share_only() {
        near(line(&[(1500.0, 100.0); 20]), (0.0, 100.0));
        near(line(&[(200.0, 30.0); 20]), (0.0, 150.0));
        near(line(&[(1500.0, -100.0); 20]), (0.0, 0.0));
    }

    #[test]
    fn few_runs_and_long_ones_say_nothing() {
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[(200.0, 30.0); 9]), None);
        assert_eq!(line(&[(9000.0, 900.0); 99]), None);
    }
}
