//! `autodice-run`: arguments, the link, and the two doors out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use super::logger;
use crate::comm::Link;
use crate::heap;
use crate::runner::{quiet_panics, run_job, run_profile, sharpen_sleeps, DEFECT, FAILED};
use crate::runner::{End, Failure, Finished, Place, ProfileRequest, Request};

/// Runs one CNN over all ranks, as a spec says. Started by mpirun or srun, one process for each
/// rank of the spec.
#[derive(Parser, Debug)]
#[command(name = "autodice-run", version)]
struct Arguments {
    /// The spec file (YAML)
    #[arg(required_unless_present = "profile")]
    spec: Option<PathBuf>,
    /// Frames to run instead of the spec's: an image, a folder, a pattern, .npy, .npz or .pb
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Write outputs, frames.csv, ranks.csv and run.json into this folder; with --profile, the
    /// platform file
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Run at most this many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Run the first frame so many times before anything counts
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup: u64,
    /// Print what the run would take by this platform file beside what it took; refuse a rank
    /// whose host the file does not have, or that needs more memory than its host has
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    platform: Option<PathBuf>,
    /// Compare every output with the uncut model's, on rank 0
    #[arg(long)]
    verify: bool,
    /// Length of a symbolic dimension of the model
    #[arg(long, value_name = "NAME=N", value_parser = super::shape)]
    shape: Vec<(String, usize)>,
    /// Keep the weights that a rank was sent here, and use them again (on its own disk)
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Write what every rank did when as a Chrome trace; open it in Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// No progress, no warnings
    #[arg(long, short)]
    quiet: bool,
    /// Say more on stderr; twice for still more
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Instead of running a spec, measure all ranks and links with this model into the platform
    /// file --output; what it says by hand stays
    #[arg(long, value_name = "MODEL", requires = "output", conflicts_with_all = [
        "spec", "input", "frames", "warmup", "platform", "verify", "cache", "trace", "json",
        "dry_run"
    ])]
    profile: Option<PathBuf>,
    /// About how long to measure: less is coarser
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "profile",
        value_parser = budget)]
    budget: Duration,
    /// Compute threads of this rank while it is measured [default: what the platform file says of
    /// its host, or 1]
    #[arg(long, value_name = "N", requires = "profile", value_parser = threads_count)]
    threads: Option<usize>,
    /// Print the plan and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Ranks as threads of this process, without MPI
    #[arg(long)]
    threads_as_ranks: bool,
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return super::usage(&error),
    };
    logger::start(if arguments.quiet {
        0
    } else {
        arguments.verbose
    });
    if arguments.quiet {
        log::set_max_level(log::LevelFilter::Error);
    }
    quiet_panics();
    sharpen_sleeps();
    if arguments.dry_run {
        return match super::launched_as() {
            None | Some(0) => super::show::main(arguments.spec(), &arguments.shape),
            Some(_) => ExitCode::SUCCESS,
        };
    }
    heap::with_own_setting();
    if arguments.threads_as_ranks {
        return threads(&arguments);
    }
    launched(&arguments)
}

impl Arguments {
    /// The spec; empty beside --profile, which needs none.
    fn spec(&self) -> &Path {
        self.spec.as_deref().unwrap_or(Path::new(""))
    }

    /// One rank's part of what was asked for, from the link to the code to leave or abort with.
    fn work(&self, link: &mut dyn Link, place: &Place<'_>) -> Result<i32, i32> {
        let rank = link.rank();
        match &self.profile {
            Some(model) => {
                let request = ProfileRequest {
                    model: model.clone(),
                    output: self.output.clone().unwrap_or_default(),
                    budget: self.budget,
                    threads: self.threads,
                    shapes: self.shape.clone(),
                    quiet: self.quiet,
                };
                let ended = guarded(|| run_profile(link, place, &request));
                super::profile::leave(ended, &request, place, rank)
            }
            None => {
                let ended = guarded(|| run_job(link, place, &self.request()));
                leave(ended, self, place, rank)
            }
        }
    }

    fn request(&self) -> Request {
        Request {
            spec: self.spec().to_path_buf(),
            input: self.input.clone(),
            output: self.output.clone(),
            shapes: self.shape.clone(),
            frames: self.frames,
            warmup: self.warmup,
            platform: self.platform.clone(),
            verify: self.verify,
            cache: self.cache.clone(),
            trace: self.trace.clone(),
            quiet: self.quiet,
        }
    }
}

#[cfg(not(feature = "mpi"))]
fn launched(_: &Arguments) -> ExitCode {
    eprintln!("autodice-run: built without MPI: use --threads-as-ranks, or build with it");
    ExitCode::from(2)
}

/// One rank of a world.
#[cfg(feature = "mpi")]
fn launched(arguments: &Arguments) -> ExitCode {
    use crate::comm::world::World;
    let interrupt = match arguments.profile {
        // Nothing is to be saved of a profile: a signal ends it at once.
        Some(_) => Arc::default(),
        None => on_signals(),
    };
    let mut world = match World::init() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("autodice-run: {error:#}");
            return ExitCode::from(2);
        }
    };
    let (rank, host) = (world.rank(), world.host());
    logger::name(format!("rank {rank}@{host}"));
    let place = Place {
        host,
        library: world.version(),
        interrupt: &interrupt,
    };
    match arguments.work(&mut world, &place) {
        Ok(code) => {
            world.close();
            drop(world);
            exit_code(code)
        }
        Err(code) => {
            world.abort(code);
            exit_code(code)
        }
    }
}

/// All ranks of the spec in this process.
fn threads(arguments: &Arguments) -> ExitCode {
    use crate::comm::threads::{run, Options};
    let interrupt = on_signals();
    let size = match &arguments.profile {
        Some(_) => Ok(1),
        None => super::rank_count(arguments.spec()),
    };
    let size = match size {
        Ok(size) => size,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let codes = run(size, Options::default(), |mut link| {
        let host = "localhost".to_string();
        let place = Place {
            host,
            library: String::new(),
            interrupt: &interrupt,
        };
        match arguments.work(&mut link, &place) {
            Ok(code) => {
                link.close();
                code
            }
            Err(code) => {
                link.abort(code);
                code
            }
        }
    });
    exit_code(codes.into_iter().find(|&code| code != 0).unwrap_or(0))
}

/// A flag that SIGTERM and SIGINT set; rank 0 heeds it, the others wait for rank 0.
fn on_signals() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&flag)) {
            log::warn!("signal {signal} will end this rank at once: {error}");
        }
    }
    flag
}

/// A panic of the main thread as a failure: unwinding past a live communicator hangs the job.
fn guarded<T>(job: impl FnOnce() -> Result<T, End>) -> Result<T, End> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_or_else(|payload| {
        let line = crate::runner::panic_message(&*payload);
        Err(End::Abort(Failure::new(
            DEFECT,
            format!("panicked: {line}"),
        )))
    })
}

/// Prints what there is to print: the code to leave with in order, or to abort with.
fn leave(
    ended: Result<Option<Finished>, End>,
    arguments: &Arguments,
    place: &Place<'_>,
    rank: crate::ids::Rank,
) -> Result<i32, i32> {
    match ended {
        Ok(None) => Ok(0),
        Ok(Some(finished)) => {
            let library = place.library.as_str();
            let told =
                super::report::tell(&finished, &arguments.request(), library, arguments.json);
            match told {
                Ok(()) => Ok(finished.code),
                Err(error) => {
                    eprintln!("rank {rank}@{}: {error:#}", place.host);
                    Ok(FAILED)
                }
            }
        }
        Err(End::Agreed(code)) => Ok(code),
        Err(End::Abort(failure)) => {
            place.say(rank, &failure);
            Err(failure.code)
        }
        Err(End::Stopped(failure, finished)) => {
            // First the line: the launcher may not leave time for more.
            place.say(rank, &failure);
            let request = arguments.request();
            if let Err(error) = super::report::write(&finished, &request, &place.library) {
                log::warn!("{error:#}");
            }
            Err(failure.code)
        }
    }
}

/// A time to measure in.
fn budget(text: &str) -> Result<Duration, String> {
    let budget = crate::units::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
    match range.contains(&budget) {
        true => Ok(budget),
        false => Err("expected 1s to a day".into()),
    }
}

fn threads_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| "expected a whole number from 1 to 1024".into())
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::from(FAILED as u8), ExitCode::from)
}
