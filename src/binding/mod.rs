//! Threads on cores, inside of the mask that the launcher gave.
//!
//! A core is a logical processor by the operating system's number. The launcher (mpirun, srun,
//! taskset, a container) says which of them this process may use; that mask is only ever
//! narrowed. Without the `hwloc` feature the mask is still known and reported, but threads stay
//! where the operating system puts them inside of it.

use std::fmt;
use std::fs;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};

#[cfg(feature = "hwloc")]
mod hwloc;
mod launcher;
mod place;

pub use launcher::Launcher;
pub use place::{plan_binding, Binding, BindingError, Place};

/// Cores that a process or thread may use, in the order in which they are best used: one of each
/// physical core first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask(pub Vec<usize>);

impl Mask {
    /// How many cores.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether this core is among them.
    pub fn contains(&self, core: usize) -> bool {
        self.0.contains(&core)
    }

    /// The mask that a list such as `0-3,8` means, ascending; none where it is no such list.
    pub fn parse(text: &str) -> Option<Self> {
        /// As many cores as an operating system can count; a list is not trusted.
        const MOST: usize = 1 << 16;
        let mut cores = Vec::new();
        for item in text.trim().split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= MOST {
                return None;
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        cores.dedup();
        Some(Self(cores))
    }
}

impl fmt::Display for Mask {
    /// Ascending, as `0-3,8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.0.clone();
        cores.sort_unstable();
        cores.dedup();
        for (index, run) in cores.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match run {
                [core] => write!(f, "{comma}{core}")?,
                _ => write!(f, "{comma}{}-{}", run[0], run[run.len() - 1])?,
            }
        }
        Ok(())
    }
}

/// The cores that the calling thread may use: the launcher's mask, where nothing has been bound.
///
/// # Errors
/// Where neither hwloc nor the operating system says.
pub fn current_mask() -> Result<Mask> {
    #[cfg(feature = "hwloc")]
    if let Some(cores) = hwloc::current() {
        return Ok(Mask(physical_first(cores)));
    }
    Ok(Mask(physical_first(allowed_by_status()?)))
}

/// Keeps the calling thread, and threads that it starts, on these cores.
///
/// # Errors
/// One line, where a core is outside of the thread's present mask (which is never widened), where
/// the operating system refuses, or where this program was built without hwloc.
pub fn bind_current_thread(cores: &[usize]) -> Result<()> {
    let mask = current_mask()?;
    let outside: Vec<usize> = cores
        .iter()
        .copied()
        .filter(|&c| !mask.contains(c))
        .collect();
    if cores.is_empty() || !outside.is_empty() {
        let (cores, outside) = (Mask(cores.to_vec()), Mask(outside));
        bail!("cannot bind to cores [{cores}]: [{outside}] are outside of the mask {mask}");
    }
    if cores.len() == mask.count() {
        // Nothing to narrow, as for threads that share their rank's mask.
        return Ok(());
    }
    bind(cores)
}

#[cfg(feature = "hwloc")]
fn bind(cores: &[usize]) -> Result<()> {
    hwloc::bind(cores)
}

#[cfg(not(feature = "hwloc"))]
fn bind(_: &[usize]) -> Result<()> {
    bail!("this program was built without hwloc: threads are not bound to cores")
}

fn allowed_by_status() -> Result<Vec<usize>> {
    const FILE: &str = "/proc/thread-self/status";
    let text = fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
    let list = text
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mask = list.and_then(Mask::parse);
    Ok(mask
        .with_context(|| format!("{FILE}: no list of allowed cores"))?
        .0)
}

/// Sorts cores so that the first logical processor of each physical core comes before any second.
/// Where the operating system does not tell them apart the order is ascending.
fn physical_first(mut cores: Vec<usize>) -> Vec<usize> {
    let place_among_siblings = |core: usize| {
        let file = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        let siblings = fs::read_to_string(file)
            .ok()
            .and_then(|text| Mask::parse(&text));
        siblings.and_then(|mask| mask.0.iter().position(|&sibling| sibling == core))
    };
    cores.sort_unstable();
    cores.sort_by_cached_key(|&core| place_among_siblings(core).unwrap_or(0));
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for text in ["0", "0-3", "0-1,4,6-9", "12"] {
            assert_eq!(Mask::parse(text).expect("a list").to_string(), text);
        }
        assert_eq!(Mask::parse("3,1-2,2\n"), Some(Mask(vec![1, 2, 3])));
        for text in ["", "a", "3-1", "1,", "0-99999999999", "-1"] {
            assert_eq!(Mask::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn hwloc_and_the_operating_system_agree_on_the_mask() {
        let mask = current_mask().expect("a mask");
        let allowed = Mask(allowed_by_status().expect("Linux"));
        assert_eq!(mask.to_string(), allowed.to_string());
    }

    #[test]
    fn a_thread_is_bound_inside_of_its_mask_and_never_widened() {
        let mask = current_mask().expect("a mask");
        let last = mask.0[mask.count() - 1];
        std::thread::spawn(move || {
            let bound = bind_current_thread(&[last]);
            if mask.count() > 1 && !cfg!(feature = "hwloc") {
                assert!(bound.is_err());
                return;
            }
            bound.expect("a core of the mask");
            assert_eq!(current_mask().expect("a mask").0, [last]);
            assert_eq!(allowed_by_status().expect("Linux"), [last]);
            let wider = bind_current_thread(&[last, last + 1]).expect_err("outside");
            let line = wider.to_string();
            assert!(line.contains("outside of the mask"), "{line}");
            assert_eq!(allowed_by_status().expect("Linux"), [last]);
        })
        .join()
        .expect("the thread's assertions hold");
    }

    #[test]
    fn no_cores_and_unknown_cores_are_refused() {
        assert!(bind_current_thread(&[]).is_err());
        assert!(bind_current_thread(&[65_000]).is_err());
    }
}
