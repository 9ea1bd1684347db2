//! Jobs under mpirun, started by a test and never left behind.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Every process of a job has this variable, with a value of the job's own.
const MARK: &str = "AUTODICE_TEST_JOB";

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
    /// Processes that outlived mpirun, and had to be ended from here.
    pub left: Vec<u32>,
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
            super::skip::skipped("there is no mpirun on this machine");
            return None;
        }
        let mut command = Command::new("mpirun");
        command
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
            .args(["-n", &ranks.to_string()]);
        Some(Self::by(command))
    }

    /// A command that ends in a call of mpirun, and takes a program and its arguments as mpirun
    /// does.
    pub fn by(command: Command) -> Self {
        let limit = Duration::from_secs(120);
        Self { command, limit }
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
    pub fn run(self, program: &Path, arguments: &[&str]) -> Job {
        self.start(program, arguments).wait()
    }

    /// Starts a program as every rank.
    pub fn start(mut self, program: &Path, arguments: &[&str]) -> Running {
        // Jobs that share the cores would be late at their deadlines.
        static ONE_AT_A_TIME: Mutex<u32> = Mutex::new(0);
        let mut turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        *turn += 1;
        let mark = format!("{MARK}={}-{}", std::process::id(), *turn);
        let start = Instant::now();
        let mut child = self
            .command
            .env(MARK, &mark[MARK.len() + 1..])
            .arg(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mpirun starts");
        let output = Some((read(child.stdout.take()), read(child.stderr.take())));
        Running {
            child,
            output,
            start,
            mark,
            limit: self.limit,
            _turn: turn,
        }
    }
}

/// A job that has not ended; dropping it ends it.
pub struct Running {
    child: Child,
    output: Option<(JoinHandle<String>, JoinHandle<String>)>,
    start: Instant,
    mark: String,
    limit: Duration,
    _turn: MutexGuard<'static, u32>,
}

impl Running {
    /// Sends mpirun itself a signal, e.g. `TERM`.
    pub fn signal(&self, signal: &str) {
        send(self.child.id(), signal);
    }

    /// Sends a rank's process a signal.
    pub fn signal_rank(&self, rank: usize, signal: &str) {
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
        let pid = processes(&[&self.mark, &wanted]).into_iter().next();
        send(pid.expect("the rank is there"), signal);
    }

    /// How many ranks are running.
    pub fn ranks(&self) -> usize {
        let is_there = |rank: &usize| {
            let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
            !processes(&[&self.mark, &wanted]).is_empty()
        };
        (0..).take_while(is_there).count()
    }

    /// Every process of the job, mpirun and its daemons too.
    pub fn processes(&self) -> Vec<u32> {
        processes(&[&self.mark])
    }

    /// SIGKILL to every process of the job.
    pub fn kill_all(&self) {
        self.processes().iter().for_each(|&pid| send(pid, "KILL"));
    }

    /// Whether mpirun has ended.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("mpirun is a child of ours");
        status.is_some()
    }

    /// Waits for the end, at most as long as the limit.
    pub fn wait(mut self) -> Job {
        let code = wait(&mut self.child, self.limit);
        let took = self.start.elapsed();
        let left = self.end_all();
        let (stdout, stderr) = self.output.take().expect("read once");
        Job {
            code,
            took,
            left,
            stdout: stdout.join().expect("stdout is read"),
            stderr: stderr.join().expect("stderr is read"),
        }
    }

    /// Ends what is left after mpirun; the kernel gets a moment to take away what has ended.
    fn end_all(&self) -> Vec<u32> {
        let start = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() || start.elapsed() > Duration::from_secs(2) {
                left.iter().for_each(|&pid| send(pid, "KILL"));
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.output.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.end_all();
        }
    }
}

fn send(pid: u32, signal: &str) {
    let signal = format!("-{signal}");
    let _ = Command::new("kill")
        .args([&signal, &pid.to_string()])
        .status();
}

/// Processes with all of these variables in their environment. A zombie has none.
fn processes(variables: &[&str]) -> Vec<u32> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let set: Vec<_> = environment.split(|&byte| byte == 0).collect();
        let all = variables
            .iter()
            .all(|variable| set.contains(&variable.as_bytes()));
        found.extend(pid.filter(|_| all));
    }
    found
}

/// Reads a pipe to its end, so that a job never waits for its reader.
fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
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
        assert!(self.left.is_empty(), "{what}: processes are left: {self}");
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
            took,
            left: _,
        } = self;
        write!(
            f,
            "code {code:?} after {took:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        )
    }
}
