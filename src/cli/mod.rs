//! The command lines of both binaries.

use std::path::Path;
use std::process::ExitCode;

pub mod logger;
mod profile;
pub mod report;
pub mod run;
pub mod show;
pub mod simulate;
pub mod tables;
pub mod workbench;

/// Parses `NAME=N`, the length of a symbolic dimension.
fn shape(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, length)| {
        let length = length
            .trim()
            .parse()
            .ok()
            .filter(|&length: &usize| length > 0)?;
        Some((name.trim().to_string(), length))
    });
    parsed.ok_or_else(|| "expected NAME=N with N at least 1, e.g. height=224".to_string())
}

/// The rank that a launcher gave this process, if one did. Before `MPI_Init` only the
/// environment knows.
fn launched_as() -> Option<usize> {
    const NAMES: [&str; 4] = [
        "OMPI_COMM_WORLD_RANK",
        "PMIX_RANK",
        "PMI_RANK",
        "SLURM_PROCID",
    ];
    NAMES
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// A wrong command line: usage goes to the terminal once, not from every rank.
fn usage(error: &clap::Error) -> ExitCode {
    let help = !error.use_stderr();
    if matches!(launched_as(), None | Some(0)) && error.print().is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(if help { 0 } else { 2 })
}

/// Prints an error's whole chain on one line and gives the exit code of wrong input.
fn wrong(error: &anyhow::Error) -> ExitCode {
    let line = format!("{error:#}")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    eprintln!("{line}");
    ExitCode::from(2)
}

/// How many ranks a spec asks for.
fn rank_count(spec: &Path) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(spec)
        .map_err(|error| anyhow::anyhow!("{}: {error}", spec.display()))?;
    let spec = crate::spec::yaml::parse(&spec.display().to_string(), &text)?;
    Ok(spec.rank_count())
}

/// Prints results; a reader that stops listening (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
