//! The measurements of BENCHMARKS.md, a part for each bar; `scripts/bench.sh` runs them all.

#[path = "../../tests/common/byte_forms.rs"]
mod byte_forms;
mod bytes;
mod compile;
mod lab;
mod lab_links;
mod launch;
mod memory;
mod models;
mod net;
mod overlap;
mod overlap_net;
mod pair_memory;
mod predict;
mod ranks;
mod record;
mod rendezvous;
mod resident;
mod resting;
mod single;
mod splits;
mod stages;
mod startup;
mod transfer;
mod waiting;
mod waking;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Parser;

use lab::Quota;
use record::Record;

const PARTS: [&str; 19] = [
    "single",
    "two-stages",
    "interleaved",
    "transfer",
    "overlap",
    "waiting",
    "rendezvous",
    "startup",
    "memory",
    "splits",
    "overlap-net",
    "bytes",
    "compile",
    "pair-memory",
    "resident",
    "lab",
    "resting",
    "waking",
    "predict",
];

/// Measures what BENCHMARKS.md says.
#[derive(Parser, Debug)]
#[command(name = "bench")]
struct Arguments {
    /// A part, `table` for the bars that are stored, or `parts` for their names
    part: String,
    /// For the ranks of the jobs that a part starts
    #[arg(hide = true)]
    rest: Vec<String>,
    /// Where samples and records are written
    #[arg(long, default_value = "results/latest")]
    output: PathBuf,
    /// Where the models are
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Kept samples of each case
    #[arg(long, default_value_t = 9)]
    samples: usize,
    /// Most seconds for each case; four times as many for cases of whole models
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench {}: {error:#}", arguments.part);
            // A rank that leaves without MPI_Finalize ends its job.
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let quota = Quota {
        wanted: arguments.samples,
        limit: Duration::from_secs_f64(arguments.seconds),
    };
    match &arguments.part[..] {
        "worker" => return worker(&arguments.rest),
        "table" => return record::table(&arguments.output, &PARTS),
        "parts" => {
            println!("{}", PARTS.join("\n"));
            return Ok(());
        }
        _ => {}
    }
    if arguments.part == "predict" {
        return predict::predict(&arguments.models, &arguments.output)?.store(&arguments.output);
    }
    part(&arguments.part, &arguments.models, quota)?.store(&arguments.output)
}

fn part(name: &str, models: &Path, quota: Quota) -> Result<Record> {
    // Cases of whole models take seconds for a sample.
    let long = Quota {
        limit: quota.limit * 4,
        ..quota
    };
    match name {
        "single" => single::single(models, long),
        "two-stages" => stages::two_stages(models, long),
        "interleaved" => stages::interleaved(models, long),
        "transfer" => transfer::transfer(quota),
        "overlap" => overlap::overlap(quota),
        "waiting" => waiting::waiting(quota),
        "rendezvous" => rendezvous::rendezvous(quota),
        "startup" => startup::startup(models, long),
        "memory" => memory::memory(models),
        "splits" => splits::splits(models, long),
        "overlap-net" => overlap_net::overlap_net(models, long),
        "bytes" => bytes::bytes(models),
        "compile" => compile::compile(models, quota),
        "pair-memory" => pair_memory::pair_memory(models),
        "resident" => resident::resident(models),
        "lab" => lab_links::lab_links(quota),
        "resting" => resting::resting(quota),
        "waking" => waking::waking(quota),
        _ => bail!("no such part; there are {}", PARTS.join(", ")),
    }
}

/// A process that some part started.
fn worker(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let quota = |wanted: &str, limit: &str| -> Result<Quota> {
        let wanted = wanted.parse().context("samples")?;
        let limit = Duration::from_secs_f64(limit.parse().context("seconds")?);
        Ok(Quota { wanted, limit })
    };
    match arguments[..] {
        ["transfer", transport, wanted, limit] => {
            transfer::worker(transport, quota(wanted, limit)?)
        }
        ["waiting", transport, wanted, limit] => waiting::worker(transport, quota(wanted, limit)?),
        ["rendezvous", case, wanted, limit] => rendezvous::worker(case, quota(wanted, limit)?),
        ["lab", case, wanted, limit] => lab_links::worker(case, quota(wanted, limit)?),
        ["bytes", spec] => bytes::worker(Path::new(spec)),
        ["overlap-net", model, case, wanted, limit] => {
            overlap_net::worker(Path::new(model), case, quota(wanted, limit)?)
        }
        ["load", model, name, shape] => startup::load_whole(Path::new(model), name, shape),
        ["meter"] => predict::meter(),
        ["nothing"] => startup::nothing(),
        ["split", model, index, wanted, limit] => {
            splits::worker(Path::new(model), index, quota(wanted, limit)?)
        }
        [kind, model, spec, wanted, limit] => {
            stages::worker(kind, Path::new(model), spec, quota(wanted, limit)?)
        }
        _ => bail!("{arguments:?}: no such work"),
    }
}
