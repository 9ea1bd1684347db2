//! Tests under mpirun.
//!
//! A test starts a job with `mpirun`, either of a program of ours or of this binary itself, whose
//! test `as_a_rank` then is one rank's program.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use autodice::comm::world::{Form, World};
use autodice::comm::{Channel, Event, Header, Landing, Link, Payload};
use autodice::ids::Rank;

#[path = "common/link_cases.rs"]
mod link_cases;

/// The variable that says which case this process is a rank of.
const CASE: &str = "AUTODICE_TEST_CASE";
/// The variable that gives messages another form: "SHORT CHUNK" in bytes.
const FORM: &str = "AUTODICE_TEST_FORM";

/// A job that has ended.
#[derive(Debug)]
struct Job {
    /// What mpirun returned; none where the time limit ended it.
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// A job to be started.
struct Mpirun {
    command: Command,
    limit: Duration,
}

impl Mpirun {
    /// `ranks` ranks on this machine; none, with a line that says so, where there is no mpirun.
    fn new(ranks: usize) -> Option<Self> {
        let found = Command::new("mpirun").arg("--version").output();
        if found.is_err() {
            eprintln!("skipped: there is no mpirun on this machine");
            return None;
        }
        let mut command = Command::new("mpirun");
        command
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
            .args(["-n", &ranks.to_string()]);
        Some(Self {
            command,
            limit: Duration::from_secs(120),
        })
    }

    /// More of mpirun's own flags.
    fn flags(mut self, flags: &[&str]) -> Self {
        self.command.args(flags);
        self
    }

    /// A variable for every rank.
    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs a program as every rank and waits for the end, at most as long as the limit.
    fn run(mut self, program: &Path, arguments: &[&str]) -> Job {
        // Jobs that share the cores would be late at their deadlines.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let mut child = self
            .command
            .arg(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mpirun starts");
        let stdout = read(child.stdout.take());
        let stderr = read(child.stderr.take());
        let code = wait(&mut child, self.limit);
        Job {
            code,
            took: start.elapsed(),
            stdout: stdout.join().expect("stdout is read"),
            stderr: stderr.join().expect("stderr is read"),
        }
    }

    /// Runs a case of `link_cases` as every rank.
    fn case(self, case: &str) -> Job {
        let own = std::env::current_exe().expect("this binary has a path");
        self.env(CASE, case)
            .run(&own, &["--exact", "as_a_rank", "--nocapture"])
    }
}

/// Reads a pipe to its end, so that a job never waits for its reader.
fn read(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has ended.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The exit code; none where the limit was over and the job was ended from here.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let start = Instant::now();
    // mpirun ends its ranks on SIGTERM, and has no time to on SIGKILL.
    let mut stops = vec![(limit + Duration::from_secs(10), "-KILL"), (limit, "-TERM")];
    let mut timed_out = false;
    loop {
        if let Some(status) = child.try_wait().expect("mpirun is a child of ours") {
            return status.code().filter(|_| !timed_out);
        }
        if let Some((_, signal)) = stops.pop_if(|(after, _)| start.elapsed() > *after) {
            timed_out = true;
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args([signal, "--", &group]).status();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// No test of its own: one rank of a job that another test started.
#[test]
fn as_a_rank() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let mut form = Form::default();
    if let Ok(text) = std::env::var(FORM) {
        let (short, chunk) = text.split_once(' ').expect("two numbers");
        form.short = short.parse().expect("bytes");
        form.chunk = chunk.parse().expect("bytes");
    }
    let world = World::init_with(form).expect("MPI starts");
    assert!(World::init().is_err(), "a process is one rank, once");
    assert!(world.version().contains(' ') && !world.version().contains('\n'));
    assert!(!world.host().is_empty());
    match case.as_str() {
        "ping-pong" => ping_pong(world),
        case => link_cases::run(case, world),
    }
}

fn assert_code(job: &Job, code: i32, what: &str) {
    assert_eq!(job.code, Some(code), "{what}: {job:#?}");
}

const TCP: [&str; 3] = ["--mca", "btl", "tcp,self"];

#[test]
fn every_case_ends_well_at_1_to_4_ranks() {
    for ranks in 1..=4 {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        assert_code(&mpirun.case("good"), 0, &format!("at {ranks}"));
    }
}

#[test]
fn every_case_ends_well_over_tcp_and_in_another_form() {
    for (ranks, form) in [(2, "4096 1073741824"), (3, "0 1000"), (2, "100000 65536")] {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        let job = mpirun.flags(&TCP).env(FORM, form).case("good");
        assert_code(&job, 0, &format!("{form} at {ranks}"));
    }
}

#[test]
fn a_message_of_another_length_is_an_error_and_not_written() {
    let lengths = [
        "0 1",
        "1 0",
        "100 99",
        "3000 20000000",
        "20000000 3000",
        "20000000 19999999",
        "19999999 20000000",
    ];
    for lengths in lengths {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        let job = mpirun.case(&format!("wrong-length {lengths}"));
        assert_code(&job, link_cases::WRONG_LENGTH_SEEN, lengths);
    }
}

#[test]
fn abort_ends_all_with_the_code() {
    for ranks in [1, 3] {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        let job = mpirun.case("abort");
        assert_code(&job, link_cases::ABORT, &format!("at {ranks}"));
        assert!(job.took < Duration::from_secs(20), "{job:#?}");
    }
}

#[test]
fn a_rank_that_panics_or_drops_its_link_ends_the_job() {
    for case in ["panic", "drop"] {
        let Some(mpirun) = Mpirun::new(3) else {
            return;
        };
        let job = mpirun.case(case);
        assert_code(&job, 101, case);
    }
}

/// Half a round trip of `bytes` through the Link, in seconds.
fn half_trip(
    world: &mut World,
    bytes: &Arc<Vec<u8>>,
    landing: &mut Option<Box<dyn Landing>>,
) -> f64 {
    let other = Rank(1 - world.rank().0);
    let start = Instant::now();
    let payload = Some(Arc::clone(bytes) as Arc<dyn Payload>);
    let into = landing.take().expect("the landing came back");
    world.receive(Channel::Data, other, 1, into);
    if world.rank() == Rank(0) {
        world.send(Channel::Data, other, 1, Header::default(), payload.clone());
    }
    let mut sent = false;
    while landing.is_none() || !sent {
        match world.poll().expect("the link holds") {
            Some(Event::Sent(_)) => sent = true,
            Some(Event::Received(_, _, back)) => {
                *landing = Some(back);
                if world.rank() == Rank(1) {
                    world.send(Channel::Data, other, 1, Header::default(), payload.clone());
                }
            }
            None => {}
        }
    }
    start.elapsed().as_secs_f64() / 2.0
}

/// Two ranks send a message to and fro, by the Link and by bare MPI in turns; rank 0 prints the
/// medians and the Link's share of the bare bandwidth.
fn ping_pong(mut world: World) {
    for bytes in [
        0, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000, 16_000_000,
    ] {
        let payload = Arc::new(vec![1_u8; bytes]);
        let mut landing: Option<Box<dyn Landing>> = Some(Box::new(vec![2_u8; bytes]));
        let (mut link, mut bare) = (Vec::new(), Vec::new());
        let other = Rank(1 - world.rank().0);
        for _ in 0..9 {
            let ours = (0..6).map(|_| half_trip(&mut world, &payload, &mut landing));
            let ours: Vec<f64> = ours.collect();
            let theirs = world.ping_pong(other, bytes, 6);
            // The first ones of a batch build connections, touch pages and fill caches.
            link.extend(&ours[2..]);
            bare.extend(&theirs[2..]);
        }
        let median = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2] * 1e6
        };
        let (link, bare) = (median(&mut link), median(&mut bare));
        if world.rank() == Rank(0) {
            let share = bare / link;
            println!("ping-pong {bytes} B: link {link:.1} us, bare {bare:.1} us, {share:.2}");
        }
    }
    world.close();
}

#[test]
fn a_long_message_takes_about_as_long_as_in_bare_mpi() {
    for (transport, flags) in [("shared memory", &[][..]), ("tcp", &TCP)] {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        let job = mpirun.flags(flags).case("ping-pong");
        assert_code(&job, 0, transport);
        let lines = job
            .stdout
            .lines()
            .filter_map(|line| line.split_once("ping-pong "));
        let mut share = 0.0;
        for (_, line) in lines {
            println!("{transport}: {line}");
            share = line
                .rsplit(' ')
                .next()
                .expect("a share")
                .parse()
                .expect("a number");
        }
        // Far below what is measured on a quiet machine: a copy or a delay too many is seen.
        assert!(share > 0.4, "{transport}: {}", job.stdout);
    }
}
