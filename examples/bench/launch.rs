//! Processes: jobs under mpirun, this program as their ranks, and how long they take.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::lab::Sample;

/// How messages travel between two ranks of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Open MPI's shared memory.
    SharedMemory,
    /// TCP over the loopback interface.
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::SharedMemory, Self::Tcp];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared memory",
            Self::Tcp => "TCP",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::SharedMemory => &["--mca", "pml", "ob1", "--mca", "btl", "self,vader"],
            Self::Tcp => &[
                "--mca",
                "pml",
                "ob1",
                "--mca",
                "btl",
                "self,tcp",
                "--mca",
                "btl_tcp_if_include",
                "lo",
            ],
        }
    }
}

/// mpirun with `ranks` ranks on this machine, not bound: who wants a core takes it.
pub fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        // Ranks that are not autodice-run itself have its heap.
        .envs(autodice::heap::own_setting())
        .args(["-n", &ranks.to_string(), "--bind-to", "none"])
        .stdin(Stdio::null());
    command
}

/// This program.
///
/// # Errors
/// Where the system does not say.
pub fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("this program's own path")
}

/// `autodice-run`, built beside this program.
///
/// # Errors
/// Where it is not there.
pub fn autodice_run() -> Result<PathBuf> {
    let own = own_program()?;
    let built = own
        .parent()
        .and_then(Path::parent)
        .map(|dir| dir.join("autodice-run"));
    match built.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "autodice-run is not beside {}: build it first",
            own.display()
        ),
    }
}

/// Runs a command to its end; its standard output and its seconds.
///
/// # Errors
/// Where it cannot be started, or ends with another code than 0: with all that it said.
pub fn timed(command: &mut Command) -> Result<(String, f64)> {
    let start = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{said}", output.status);
    }
    Ok((
        String::from_utf8_lossy(&output.stdout).into_owned(),
        seconds,
    ))
}

/// Runs this program as the ranks of a job, and takes the samples that rank 0 prints, with its
/// other lines.
///
/// # Errors
/// Where the job fails.
pub fn workers(
    ranks: usize,
    transport: Transport,
    environment: &[(&str, &str)],
    arguments: &[String],
) -> Result<(Vec<Sample>, Vec<String>)> {
    let mut command = mpirun(ranks);
    command
        .envs(environment.iter().copied())
        .args(transport.flags());
    run_workers(command, arguments)
}

/// As `workers`, with ranks where this mpirun puts them.
///
/// # Errors
/// Where the job fails.
pub fn run_workers(
    mut command: Command,
    arguments: &[String],
) -> Result<(Vec<Sample>, Vec<String>)> {
    command.arg(own_program()?).arg("worker").args(arguments);
    let (said, _) = timed(&mut command)?;
    let (mut samples, mut notes) = (Vec::new(), Vec::new());
    for line in said.lines() {
        match line.strip_prefix("sample ") {
            Some(text) => samples.push(serde_json::from_str(text).context("a sample")?),
            None => notes.push(line.to_string()),
        }
    }
    Ok((samples, notes))
}

/// Rank 0's way to hand a sample over.
///
/// # Errors
/// None that plain data causes.
pub fn print_sample(sample: &Sample) -> Result<()> {
    println!("sample {}", serde_json::to_string(sample)?);
    Ok(())
}
