//! CPU time of a thread, and of the process.

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// CPU time that the calling thread has had.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

/// CPU time that all threads have had.
pub fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(at.tv_sec)) + Duration::from_nanos(part(at.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_passes_while_computing_and_stands_while_asleep() {
        let before = thread_cpu();
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_cpu() - before < Duration::from_millis(15));
        let started = std::time::Instant::now();
        while thread_cpu() - before < Duration::from_millis(20) {
            assert!(started.elapsed() < Duration::from_secs(60), "time stands");
        }
    }
}
