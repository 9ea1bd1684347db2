//! CPU time that the kernel spends on packets in interrupts, of whatever thread it interrupts.
//!
//! Where the kernel does not keep the two apart (`IRQ_TIME_ACCOUNTING` is off) that thread, and
//! its control group's quota, pay for it: beside messages the compute thread most of the time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What `/proc/stat` counts by, whatever the kernel's own ticks are.
const TICK: Duration = Duration::from_millis(10);

/// Time in interrupts on all cores of this machine since it was started; nothing where the system
/// does not say.
pub fn interrupts() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    parse(&text).unwrap_or_default()
}

fn parse(text: &str) -> Option<Duration> {
    let all = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user, nice, system, idle, iowait, irq, softirq
    let ticks = all.split_whitespace().skip(5).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().ok());
    Some(TICK * ticks.sum::<Option<u32>>()?)
}

/// A number for the running kernel: ranks with the same one share its interrupts, whatever the
/// names of their hosts.
pub fn machine() -> u64 {
    let file = "/proc/sys/kernel/random/boot_id";
    let mut hasher = DefaultHasher::new();
    std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_interrupts_of_all_cores_count() {
        let text = "cpu  10 20 30 40 50 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\nintr 9\n";
        assert_eq!(parse(text), Some(Duration::from_millis(130)));
        assert_eq!(parse("cpu  1 2 3"), Some(Duration::ZERO));
        assert_eq!(parse("cpu  1 2 3 4 5 x 7"), None);
        assert_eq!(parse(""), None);
    }
}
