//! The CPU quota that this process lives under, as the system's control groups have it.
//!
//! A process is in a group of each hierarchy (`/proc/self/cgroup`), and every group above it may
//! have a quota of its own: so many µs of CPU time in each period. The tightest one holds. A
//! container sees its own group as the root, which is looked at last.

use crate::platform::Quota;

/// The tightest quota; none where there is none, or no control groups.
pub fn quota() -> Option<Quota> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    tightest(&groups, |path| std::fs::read_to_string(path).ok())
}

fn tightest(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<Quota> {
    let mut found: Option<Quota> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let mut path = path.trim_end_matches('/');
        loop {
            let quota = match kinds {
                "" => unified(&format!("/sys/fs/cgroup{path}"), &read),
                _ if kinds.split(',').any(|kind| kind == "cpu") => {
                    let named =
                        |name: &str| separate(&format!("/sys/fs/cgroup/{name}{path}"), &read);
                    named("cpu").or_else(|| named(kinds))
                }
                _ => None,
            };
            let tighter = |new: &Quota| found.is_none_or(|old| new.cores < old.cores);
            found = quota.filter(tighter).or(found);
            let Some((above, _)) = path.rsplit_once('/') else {
                break;
            };
            path = above;
        }
    }
    found
}

/// Version 2: `4500 10000`, or `max 10000`.
fn unified(folder: &str, read: &impl Fn(&str) -> Option<String>) -> Option<Quota> {
    let text = read(&format!("{folder}/cpu.max"))?;
    let (quota, period) = text.trim().split_once(' ')?;
    of(quota, period)
}

/// Version 1: two files, the quota -1 where there is none.
fn separate(folder: &str, read: &impl Fn(&str) -> Option<String>) -> Option<Quota> {
    let quota = read(&format!("{folder}/cpu.cfs_quota_us"))?;
    of(&quota, &read(&format!("{folder}/cpu.cfs_period_us"))?)
}

fn of(quota: &str, period: &str) -> Option<Quota> {
    let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| Quota {
        cores: quota / period,
        burst_us: quota,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, files: &[(&str, &str)]) -> Option<(f64, f64)> {
        let read = |path: &str| {
            let file = files.iter().find(|file| file.0 == path)?;
            Some(file.1.to_string())
        };
        tightest(groups, read).map(|quota| (quota.cores, quota.burst_us))
    }

    #[test]
    fn both_versions_are_read_and_the_tightest_holds() {
        let one = "3:cpuset:/\n1:cpu,cpuacct:/lab/e1\n0::/\n";
        let files = [
            ("/sys/fs/cgroup/cpu/lab/e1/cpu.cfs_quota_us", "4500\n"),
            ("/sys/fs/cgroup/cpu/lab/e1/cpu.cfs_period_us", "10000\n"),
            ("/sys/fs/cgroup/cpu/lab/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu/lab/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(found(one, &files), Some((0.45, 4500.0)));
        let two = [
            ("/sys/fs/cgroup/pod/cpu.max", "25000 100000\n"),
            ("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "200000 100000\n"),
        ];
        assert_eq!(found("0::/pod/box\n", &two), Some((0.25, 25000.0)));
        assert_eq!(found("0::/\n", &two), Some((2.0, 200000.0)));
        assert_eq!(found("0::/pod/box\n", &[]), None);
        assert_eq!(found("nonsense", &files), None);
    }
}
