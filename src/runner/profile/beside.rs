//! What messages take from a Run on the same core.
//!
//! Packets come in interrupts, and where the kernel does not keep the two apart
//! (`IRQ_TIME_ACCOUNTING` is off) the thread that is interrupted, and its control group's quota,
//! pay for them. Interrupts that find a core idle cost nobody anything, and the system does not
//! even count them: an idle core has no ticks. So a thread computes beside the messages, as a Run
//! does, in laps of some microseconds, and says how much longer they took than the median of those
//! around them, less what they take longer anyway. A host under a quota pays for what comes while
//! it runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::thread_cpu;
use crate::binding::Mask;

/// CPU time of a lap: less than from one interrupt to the next, so that most laps have none.
const LAP: Duration = Duration::from_micros(20);
/// Laps around a lap.
const AROUND: usize = 101;
/// CPU time in which nothing is to happen, before the messages, and how long it may take.
const QUIET: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(2);

/// What the laps have taken, in seconds of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// All of it.
    pub cpu: f64,
    /// Longer than the median of those around.
    pub lost: f64,
}

/// A thread that computes until it is dropped.
pub struct Beside {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Lost for each second of CPU where nothing happens.
    usual: f64,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    cpu_ns: AtomicU64,
    lost_ns: AtomicU64,
}

impl Beside {
    /// Starts it on the caller's cores and waits until it knows what laps take where nothing
    /// happens; nothing where the system has no thread for it.
    pub fn start() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().spawn(move || compute(&own));
        let mut beside = Self {
            shared,
            thread: Some(thread.ok()?),
            usual: 0.0,
        };
        let started = Instant::now();
        while beside.taken().cpu < QUIET.as_secs_f64() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let quiet = beside.taken();
        if quiet.cpu > 0.0 {
            beside.usual = quiet.lost / quiet.cpu;
        }
        Some(beside)
    }

    /// Until now.
    pub fn taken(&self) -> Taken {
        let seconds = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 / 1e9;
        Taken {
            cpu: seconds(&self.shared.cpu_ns),
            lost: seconds(&self.shared.lost_ns),
        }
    }

    /// Seconds of CPU that something took from it since then, besides what is usual.
    pub fn lost(&self, since: Taken) -> f64 {
        let now = self.taken();
        let usual = self.usual * (now.cpu - since.cpu);
        (now.lost - since.lost - usual).max(0.0)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to panic for.
            let _ended = thread.join();
        }
    }
}

fn compute(shared: &Shared) {
    let mut rounds = 1000;
    loop {
        let before = thread_cpu();
        work(rounds);
        let took = thread_cpu() - before;
        if took >= LAP / 2 {
            let share = LAP.as_secs_f64() / took.as_secs_f64();
            rounds = (rounds as f64 * share.min(1.0)) as u64 + 1;
            break;
        }
        rounds *= 2;
    }
    let mut laps = Vec::with_capacity(AROUND);
    let mut before = thread_cpu();
    while !shared.ends.load(Ordering::Relaxed) {
        work(rounds);
        let now = thread_cpu();
        laps.push((now - before).as_nanos() as u64);
        before = now;
        if laps.len() == AROUND {
            let sum: u64 = laps.iter().sum();
            laps.sort_unstable();
            let even = laps[AROUND / 2] * AROUND as u64;
            shared.cpu_ns.fetch_add(sum, Ordering::Relaxed);
            shared
                .lost_ns
                .fetch_add(sum.saturating_sub(even), Ordering::Relaxed);
            laps.clear();
        }
    }
}

fn work(rounds: u64) {
    let mut sum = 1.0f32;
    for _ in 0..rounds {
        sum = black_box(sum) * 0.5 + 1.0;
    }
    black_box(sum);
}

/// A number for the running kernel: ranks with the same one share its interrupts, whatever the
/// names of their hosts.
pub fn machine() -> u64 {
    let file = "/proc/sys/kernel/random/boot_id";
    let mut hasher = DefaultHasher::new();
    std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// How many of these ranks' messages interrupt the Runs of a rank, where all have as many: cores
/// and machine of each.
pub fn sharing((mask, machine): (&Mask, u64), ranks: &[(&Mask, u64)]) -> f64 {
    let on_own_cores = |&(other, there): &(&Mask, u64)| {
        let both = other.0.iter().filter(|&&core| mask.contains(core)).count();
        let is_here = there == machine && other.count() > 0;
        is_here.then(|| both as f64 / other.count() as f64)
    };
    ranks.iter().filter_map(on_own_cores).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn a_rank_pays_for_all_on_its_cores() {
        let (zero, one, both) = (Mask(vec![0]), Mask(vec![1]), Mask(vec![0, 1]));
        let lab = [(&zero, 7), (&zero, 7), (&one, 7)];
        near(sharing(lab[0], &lab), 2.0);
        near(sharing(lab[2], &lab), 1.0);
        // Boards of their own.
        near(sharing((&both, 8), &[(&both, 7), (&both, 8)]), 1.0);
        near(sharing((&zero, 7), &[(&zero, 7), (&both, 7)]), 1.5);
    }

    #[test]
    fn what_is_usual_does_not_count_as_lost() {
        let beside = Beside {
            shared: Arc::new(Shared::default()),
            thread: None,
            usual: 0.01,
        };
        let (cpu, lost) = (&beside.shared.cpu_ns, &beside.shared.lost_ns);
        cpu.store(1_000_000_000, Ordering::Relaxed);
        lost.store(50_000_000, Ordering::Relaxed);
        let since = beside.taken();
        cpu.store(3_000_000_000, Ordering::Relaxed);
        lost.store(170_000_000, Ordering::Relaxed);
        near(beside.lost(since), 0.1);
        lost.store(60_000_000, Ordering::Relaxed);
        near(beside.lost(since), 0.0);
    }

    #[test]
    fn laps_go_on_until_it_is_dropped() {
        let beside = Beside::start().expect("a thread");
        let quiet = beside.taken();
        assert!(quiet.cpu > 0.0 && quiet.lost < quiet.cpu, "{quiet:?}");
        let started = Instant::now();
        while beside.taken().cpu <= quiet.cpu {
            assert!(started.elapsed() < Duration::from_secs(60), "it stands");
            std::thread::sleep(Duration::from_millis(1));
        }
        let shared = Arc::clone(&beside.shared);
        drop(beside);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
