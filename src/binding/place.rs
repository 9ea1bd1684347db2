//! Which compute thread goes on which core: pure, from the mask and what was asked for.

use thiserror::Error;

use super::{Launcher, Mask};

/// This rank among the ranks on its host that have the same mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Compute threads of those with a lower number.
    pub before: usize,
    /// Compute threads of all of them, this rank's included.
    pub total: usize,
}

/// Where the compute threads of one rank go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// For each compute thread the cores that it may use: one, or all that the rank may use where
    /// there are too few for each to have its own.
    pub threads: Vec<Vec<usize>>,
    /// What the user should know, with the launcher's flag that helps.
    pub warning: Option<String>,
}

/// Why threads cannot be placed as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindingError {
    /// Cores that the launcher has not given.
    #[error("cores {outside} are outside of the launcher's mask {mask}; start with {flag}")]
    Outside {
        /// Asked for and not in the mask.
        outside: Mask,
        /// What the launcher gave.
        mask: Mask,
        /// The launcher's flag that helps.
        flag: String,
    },
    /// No core to place a thread on.
    #[error("no cores are given for {threads} compute threads")]
    NoCores {
        /// How many.
        threads: usize,
    },
}

impl Place {
    /// The place of rank `own` among all `ranks`: each one's host, mask and compute threads. Masks
    /// are the same where they have the same cores; others do not overlap, or the launcher has
    /// been told that they do.
    ///
    /// # Panics
    /// Where there is no rank `own`.
    pub fn among(ranks: &[(String, Mask, usize)], own: usize) -> Self {
        let (host, mask, _) = &ranks[own];
        let mask = mask.to_string();
        let shares = |rank: &&(String, Mask, usize)| rank.0 == *host && rank.1.to_string() == mask;
        let threads = |ranks: &[(String, Mask, usize)]| {
            let counts = ranks.iter().filter(shares).map(|rank| rank.2);
            counts.fold(0_usize, usize::saturating_add)
        };
        Self {
            before: threads(&ranks[..own]),
            total: threads(ranks),
        }
    }

    /// The place of rank `rank` of `size` that all have as many threads and the same mask.
    pub fn of_equals(rank: usize, size: usize, threads: usize) -> Self {
        Self {
            before: rank.saturating_mul(threads),
            total: size.saturating_mul(threads),
        }
    }
}

/// Places `threads` compute threads on the cores of the mask, or on those `requested` of it.
///
/// Each gets a core of its own where there are enough for all ranks at `place`; requested cores
/// are this rank's alone. Where there are too few, the threads share what there is, with a
/// warning.
///
/// # Errors
/// `BindingError` where a requested core is not in the mask, or there is none at all.
pub fn plan_binding(
    mask: &Mask,
    requested: Option<&[usize]>,
    threads: usize,
    place: Place,
    launcher: Launcher,
) -> Result<Binding, BindingError> {
    let (cores, place) = match requested {
        Some(cores) => (distinct(cores), Place::of_equals(0, 1, threads)),
        None => (mask.0.clone(), place),
    };
    let outside: Vec<usize> = cores
        .iter()
        .copied()
        .filter(|&c| !mask.contains(c))
        .collect();
    if !outside.is_empty() {
        return Err(BindingError::Outside {
            outside: Mask(outside),
            mask: mask.clone(),
            flag: launcher.flag(threads),
        });
    }
    if cores.is_empty() {
        return Err(BindingError::NoCores { threads });
    }
    let own = place.before..place.before.saturating_add(threads);
    if place.total <= cores.len() && own.end <= cores.len() {
        return Ok(Binding {
            threads: cores[own].iter().map(|&core| vec![core]).collect(),
            warning: None,
        });
    }
    let flag = launcher.flag(threads);
    let (count, list) = (cores.len(), Mask(cores.clone()));
    let warning = match requested {
        Some(_) => format!("{threads} compute threads share the {count} requested cores {list}"),
        None if count < threads => format!(
            "{threads} compute threads share {count} of this host's cores ({list}), all that the \
             launcher gave: start with {flag}"
        ),
        None => format!(
            "{} compute threads of this host's ranks share {count} cores ({list}): use fewer \
             threads or ranks",
            place.total
        ),
    };
    Ok(Binding {
        threads: vec![cores; threads],
        warning: Some(warning),
    })
}

/// The cores in the order given, each once.
fn distinct(cores: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    for &core in cores {
        if !found.contains(&core) {
            found.push(core);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mask: &str, requested: Option<&[usize]>, threads: usize, place: Place) -> Binding {
        let mask = Mask::parse(mask).expect("a list");
        plan_binding(&mask, requested, threads, place, Launcher::OpenMpi).expect("a binding")
    }

    #[test]
    fn ranks_with_one_mask_share_it_without_overlap() {
        for threads in 1..4 {
            for size in 1..4 {
                let mut taken = Vec::new();
                for rank in 0..size {
                    let place = Place::of_equals(rank, size, threads);
                    let binding = plan("2-20", None, threads, place);
                    assert_eq!(binding.warning, None);
                    assert_eq!(binding.threads.len(), threads);
                    taken.extend(binding.threads.concat());
                }
                taken.sort_unstable();
                assert_eq!(taken, (2..2 + threads * size).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn only_ranks_of_one_host_and_mask_share() {
        let rank = |host: &str, mask, threads| {
            (host.to_owned(), Mask::parse(mask).expect("a list"), threads)
        };
        let ranks = [
            rank("a", "0-3", 2),
            rank("b", "0-3", 2),
            rank("a", "0-3", 1),
            rank("a", "4-7", 4),
        ];
        let place = |own| Place::among(&ranks, own);
        assert_eq!(
            place(0),
            Place {
                before: 0,
                total: 3
            }
        );
        assert_eq!(
            place(1),
            Place {
                before: 0,
                total: 2
            }
        );
        assert_eq!(
            place(2),
            Place {
                before: 2,
                total: 3
            }
        );
        assert_eq!(
            place(3),
            Place {
                before: 0,
                total: 4
            }
        );
    }

    #[test]
    fn too_few_cores_are_shared_with_the_flag_that_helps() {
        let binding = plan("5", None, 4, Place::of_equals(1, 2, 4));
        assert_eq!(binding.threads, vec![vec![5]; 4]);
        let warning = binding.warning.expect("a warning");
        assert!(warning.contains("--bind-to none"), "{warning}");
        assert!(warning.contains("--map-by slot:PE=4"), "{warning}");
        let binding = plan("0-1", None, 2, Place::of_equals(1, 2, 2));
        assert_eq!(binding.threads, vec![vec![0, 1]; 2]);
        let warning = binding.warning.expect("a warning");
        assert!(warning.starts_with("4 compute threads"), "{warning}");
    }

    #[test]
    fn requested_cores_are_used_in_their_order_and_only_inside_of_the_mask() {
        let place = Place::of_equals(3, 4, 2);
        let binding = plan("0-7", Some(&[6, 2, 3]), 2, place);
        assert_eq!(binding.threads, [[6], [2]]);
        let shared = plan("0-7", Some(&[6, 6]), 2, place);
        assert_eq!(shared.threads, [[6], [6]]);
        assert!(shared.warning.is_some());
        let mask = Mask::parse("0-1").expect("a list");
        let outside = plan_binding(&mask, Some(&[1, 2, 3]), 2, place, Launcher::Slurm);
        assert_eq!(
            outside.expect_err("outside").to_string(),
            "cores 2-3 are outside of the launcher's mask 0-1; start with srun -c 2 \
             --cpu-bind=cores"
        );
        let none = plan_binding(&mask, Some(&[]), 2, place, Launcher::Slurm);
        assert_eq!(none, Err(BindingError::NoCores { threads: 2 }));
    }
}
