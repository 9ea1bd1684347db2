//! `autodice-run`: arguments, the link, and the two doors out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use clap::Parser;

use super::{heap, logger};
use crate::runner::{quiet_panics, run_job, End, Failure, Finished, Place, Request};
use crate::runner::{sharpen_sleeps, DEFECT, FAILED};

/// Runs one CNN over all ranks, as a spec says. Started by mpirun or srun, one process for each
/// rank of the spec.
#[derive(Parser, Debug)]
#[command(name = "autodice-run", version)]
struct Arguments {
    /// The spec file (YAML)
    spec: PathBuf,
    /// Frames to run instead of the spec's: an image, a folder, a pattern, .npy, .npz or .pb
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Write outputs, frames.csv, ranks.csv and run.json here
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Run at most this many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Run the first frame so many times before anything counts
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup: u64,
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
            None | Some(0) => super::show::main(&arguments.spec, &arguments.shape),
            Some(_) => ExitCode::SUCCESS,
        };
    }
    heap::without_caches();
    if arguments.threads_as_ranks {
        return threads(&arguments);
    }
    launched(&arguments)
}

impl Arguments {
    fn request(&self) -> Request {
        Request {
            spec: self.spec.clone(),
            input: self.input.clone(),
            output: self.output.clone(),
            shapes: self.shape.clone(),
            frames: self.frames,
            warmup: self.warmup,
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
    use crate::comm::Link;
    let interrupt = on_signals();
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
    let ended = guarded(|| run_job(&mut world, &place, &arguments.request()));
    let code = leave(ended, arguments, &place, rank);
    match code {
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
    use crate::comm::Link;
    let interrupt = on_signals();
    let size = match super::rank_count(&arguments.spec) {
        Ok(size) => size,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let codes = run(size, Options::default(), |mut link| {
        let rank = link.rank();
        let host = "localhost".to_string();
        let place = Place {
            host,
            library: String::new(),
            interrupt: &interrupt,
        };
        let ended = guarded(|| run_job(&mut link, &place, &arguments.request()));
        match leave(ended, arguments, &place, rank) {
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
fn guarded(job: impl FnOnce() -> Result<Option<Finished>, End>) -> Result<Option<Finished>, End> {
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

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::from(FAILED as u8), ExitCode::from)
}
