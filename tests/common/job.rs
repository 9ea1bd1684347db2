//! Jobs under mpirun, started by a test and never left behind.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A job that has ended.
pub struct Job {
    /// What mpirun returned; none where the time limit ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it and mpirun said.
    pub stderr: String,
    /// From start to end, mpirun's own second included.
    pub took: Duration,
}

/// A job to be started.
pub struct Mpirun {
    command: Command,
    limit: Duration,
}

impl Mpirun {
    /// `ranks` ranks on this machine; none, with a line that says so, where there is no mpirun.
    pub fn new(ranks: usize) -> Option<Self> {
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
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.command.args(flags);
        self
    }

    /// A variable for every rank.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs a program as every rank and waits for the end, at most as long as the limit.
    pub fn run(mut self, program: &Path, arguments: &[&str]) -> Job {
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

impl Job {
    /// Panics with all that the job printed unless it returned this code.
    pub fn expect_code(&self, code: i32, what: &str) {
        assert_eq!(self.code, Some(code), "{what}: {self}");
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            f,
            "code {code:?} after {took:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        )
    }
}
