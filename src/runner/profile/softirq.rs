//! CPU time that the kernel spends on packets in interrupts, of whatever thread it interrupts.
//!
//! Where the kernel does not keep the two apart (`IRQ_TIME_ACCOUNTING` is off) that thread, and
//! its control group's quota, pay for it. While a profile's ranks talk and nothing computes, many
//! interrupts find an idle core; beside a job's Runs somebody pays.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::binding::Mask;

/// What `/proc/stat` counts by, in seconds, whatever the kernel's own ticks are.
const TICK_S: f64 = 0.01;

/// What the cores of this machine have done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cores {
    /// Seconds in threads and in interrupts.
    pub busy: f64,
    /// Seconds in interrupts, as far as the kernel's ticks found them there.
    pub interrupts: f64,
}

/// All of this machine's cores together; nothing where the system does not say.
pub fn cores() -> Cores {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    parse(&text).unwrap_or_default()
}

fn parse(text: &str) -> Option<Cores> {
    let all = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks = all.split_whitespace().map(|ticks| ticks.parse::<u64>());
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>().ok()?;
    // user, nice, system, idle, iowait, irq, softirq; then what other machines and guests took
    let seconds = |ticks: &[u64]| ticks.iter().map(|&n| n as f64 * TICK_S).sum::<f64>();
    let (threads, interrupts) = (seconds(ticks.get(..3)?), seconds(ticks.get(5..7)?));
    Some(Cores {
        busy: threads + interrupts,
        interrupts,
    })
}

/// Seconds of interrupts that came while a rank slept, for its own messages, between two looks at
/// the cores; its thread had `own` seconds of CPU meanwhile, those of interrupts that came while it
/// ran among them. All of the `talking` ranks of this machine do the same. What other programs do
/// keeps cores busy as well, but is no more than all interrupts.
pub fn asleep(before: Cores, now: Cores, own: f64, talking: f64) -> f64 {
    let busy = (now.busy - before.busy) / talking;
    let interrupts = (now.interrupts - before.interrupts) / talking;
    (busy - own).min(interrupts).max(0.0)
}

/// A number for the running kernel: ranks with the same one share its interrupts, whatever the
/// names of their hosts.
pub fn machine() -> u64 {
    let file = "/proc/sys/kernel/random/boot_id";
    let mut hasher = DefaultHasher::new();
    std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// How much of the interrupts that come while a rank sleeps it pays for in a job, where all ranks
/// have as many messages: those of all ranks on its cores, for the part of the time in which it is
/// the one that runs. A host under a quota seldom runs when its packets come.
///
/// `ranks` has every rank's cores and machine; `cores` is how much CPU time rank `own` has.
pub fn paid(own: usize, ranks: &[(&Mask, u64)], cores: f64) -> f64 {
    let (mask, machine) = ranks[own];
    let on_own_cores = |&(other, there): &(&Mask, u64)| {
        let both = other.0.iter().filter(|&&core| mask.contains(core)).count();
        let is_here = there == machine && other.count() > 0;
        is_here.then(|| both as f64 / other.count() as f64)
    };
    let runs = (cores / mask.count().max(1) as f64).min(1.0);
    runs * ranks.iter().filter_map(on_own_cores).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn of_interrupts_those_count_that_the_thread_has_not_paid() {
        let cores = |busy, interrupts| Cores { busy, interrupts };
        let of = |busy, own| asleep(cores(1.0, 0.5), cores(1.0 + busy, 0.9), own, 2.0);
        near(of(2.0, 0.9), 0.1);
        near(of(1.6, 0.9), 0.0);
        // Another program is busy.
        near(of(9.0, 0.9), 0.2);
    }

    #[test]
    fn a_rank_pays_for_all_on_its_cores_while_it_runs() {
        let (zero, one, both) = (Mask(vec![0]), Mask(vec![1]), Mask(vec![0, 1]));
        let lab = [(&zero, 7), (&zero, 7), (&one, 7)];
        near(paid(0, &lab, 0.45), 0.9);
        near(paid(2, &lab, 0.45), 0.45);
        // Boards of their own, one thread and two.
        let boards = [(&both, 7), (&both, 8)];
        near(paid(1, &boards, 1.0), 0.5);
        near(paid(1, &boards, 2.0), 1.0);
        near(paid(1, &boards, 4.0), 1.0);
        near(paid(0, &[(&zero, 7), (&both, 7)], 1.0), 1.5);
    }

    #[test]
    fn threads_and_interrupts_of_all_cores_count() {
        let text = "cpu  10 20 30 40 50 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 0 0 0\nintr 9\n";
        let cores = parse(text).expect("a line of the system's");
        near(cores.busy, 0.73);
        near(cores.interrupts, 0.13);
        assert_eq!(parse("cpu  1 2 3"), None);
        assert_eq!(parse("cpu  1 2 3 4 5 x 7"), None);
        assert_eq!(parse(""), None);
    }
}
