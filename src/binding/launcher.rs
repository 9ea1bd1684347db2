//! What started this process, by the variables that it left, and which flag of it gives more cores.

/// A program that starts ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// Open MPI's mpirun.
    OpenMpi,
    /// Slurm's srun.
    Slurm,
    /// mpiexec of MPICH and its relatives.
    Hydra,
    /// None that is known: one process, or a launcher that leaves no trace.
    Unknown,
}

/// For each launcher the variables that give a rank's number among those on its host, and their
/// count. Those of mpirun come first: inside of a Slurm job mpirun has the say.
const VARIABLES: [(Launcher, &str, &str); 3] = [
    (
        Launcher::OpenMpi,
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    (Launcher::Hydra, "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    (Launcher::Slurm, "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
];

impl Launcher {
    /// The launcher, and this rank's number among the ranks on its host and their count as far as
    /// it says; `variable` looks up the environment.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> (Self, usize, usize) {
        let number = |name: &str| variable(name).and_then(|text| text.trim().parse().ok());
        for (launcher, rank, size) in VARIABLES {
            if let Some(rank) = number(rank) {
                let size = number(size).unwrap_or(1);
                return (launcher, rank, size.max(rank.saturating_add(1)));
            }
        }
        (Self::Unknown, 0, 1)
    }

    /// The flag that gives each rank `threads` cores.
    pub fn flag(self, threads: usize) -> String {
        match self {
            Self::OpenMpi => {
                format!("mpirun --bind-to none, or --map-by slot:PE={threads} --bind-to core")
            }
            Self::Slurm => format!("srun -c {threads} --cpu-bind=cores"),
            Self::Hydra => "mpiexec -bind-to none".to_owned(),
            Self::Unknown => "a wider mask (taskset, the container's cpuset)".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> (Launcher, usize, usize) {
        Launcher::detect(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        let (rank, size) = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
        assert_eq!(
            detect(&[(rank, "1"), (size, "4")]),
            (Launcher::OpenMpi, 1, 4)
        );
        let inside = [("SLURM_LOCALID", "0"), (rank, "2"), (size, "3")];
        assert_eq!(detect(&inside), (Launcher::OpenMpi, 2, 3));
        assert_eq!(detect(&[("SLURM_LOCALID", "2")]), (Launcher::Slurm, 2, 3));
        assert_eq!(detect(&[("SLURM_LOCALID", "x")]), (Launcher::Unknown, 0, 1));
        assert_eq!(detect(&[]), (Launcher::Unknown, 0, 1));
    }
}
