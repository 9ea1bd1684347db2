//! The edge lab: a split model over three of its hosts, and what is left when all of it is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::{Job, Mpirun, Running};
use super::skip::skipped;

const HOSTS: [&str; 3] = ["e1", "e2", "e3"];

/// `scripts/lab.sh`, to this test alone: a machine has one lab.
struct Lab {
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// None, with a line that says why, where this machine can have no lab.
    fn new() -> Option<Self> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = script(&["check"]);
        if !checked.status.success() {
            let said = String::from_utf8_lossy(&checked.stderr);
            let why = said.lines().last().unwrap_or("lab.sh gives no reason");
            skipped(why.trim_start_matches("lab.sh: "));
            return None;
        }
        Some(Self { _turn: turn })
    }

    /// Starts a program on three equal hosts.
    fn start(&self, program: &Path, arguments: &[&str]) -> Running {
        let mut command = Command::new(path("scripts/lab.sh"));
        command.arg("run").arg(path("labs/equal3.lab")).arg("--");
        Mpirun::by(command).start(program, arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Job {
        self.start(Path::new(program), arguments).wait()
    }
}

/// What a failed test leaves behind; a test that ends well has left nothing.
impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            script(&["down"]);
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn script(arguments: &[&str]) -> Output {
    let mut command = Command::new(path("scripts/lab.sh"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("lab.sh starts")
}

/// The names of the lab's namespaces, links and cgroups, as the system lists them. Names alone: an
/// address beside one may read like a host's (`e3` is in every 25th pair of them).
fn things() -> Vec<String> {
    let mut found = vec![];
    for arguments in [&["netns", "list"][..], &["-brief", "link"]] {
        let said = Command::new("ip").args(arguments).output();
        let said = String::from_utf8(said.expect("ip starts").stdout).expect("text");
        let names = said
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next());
        found.extend(names.map(String::from));
    }
    for folder in ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    found.retain(|name| name.starts_with("autodice-"));
    found
}

/// Where a lab keeps the cores awake.
const LATENCY: &str = "/dev/cpu_dma_latency";

/// Whether some process does.
fn keeps_awake() -> bool {
    let entries = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let files = entries("/proc".into()).flat_map(|process| entries(process.path().join("fd")));
    let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.any(|target| target == Path::new(LATENCY))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long after a whole period of the clock those of a host's quota begin, in µs. Each is seen late
/// where other tests keep the cores busy: the lower quarter of some.
fn beginning(host: &str) -> u128 {
    const PERIOD: u128 = 10_000;
    let folders = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
    let mut files = folders.map(|folder| format!("{folder}/autodice-{host}/cpu.stat"));
    files.sort_by_key(|file| !Path::new(file).exists());
    let count = || {
        let text = std::fs::read_to_string(&files[0]).expect("cpu.stat");
        let line = text.lines().find(|line| line.starts_with("nr_periods"));
        line.expect("nr_periods").to_string()
    };
    // Periods are counted while something runs.
    let mut burner = Command::new(path("scripts/lab.sh"));
    burner.args(["agent", host, "timeout 2 sh -c 'while :; do :; done'"]);
    let mut burner = burner.spawn().expect("lab.sh starts");
    let (mut seen, mut late) = (count(), vec![]);
    while late.len() < 41 && burner.try_wait().expect("a child").is_none() {
        let now = count();
        if now != seen {
            let clock = std::time::SystemTime::UNIX_EPOCH.elapsed();
            late.push(clock.expect("after 1970").as_micros() % PERIOD);
            seen = now;
        }
    }
    burner.wait().expect("a child");
    late.sort_unstable();
    late[late.len() / 4]
}

/// On a machine that does something else meanwhile, a period may begin late: one lab of three is right.
#[test]
fn periods_of_all_hosts_begin_together() {
    let Some(_lab) = Lab::new() else { return };
    let mut late = vec![];
    for _ in 0..3 {
        assert!(script(&["up", "labs/equal3.lab"]).status.success());
        let worst = HOSTS.into_iter().map(beginning).max();
        script(&["down"]);
        late.extend(worst);
        if worst < Some(1500) {
            return;
        }
    }
    panic!("{late:?} µs after the clock's");
}

#[test]
fn a_split_model_runs_across_three_hosts() {
    let Some(lab) = Lab::new() else {
        return;
    };
    let spec = path("specs/digits-rows.yaml");
    let spec = spec.to_str().expect("a plain path");
    let run = env!("CARGO_BIN_EXE_autodice-run");
    let job = lab.run(run, &[spec, "--verify", "--frames", "6", "--json"]);
    job.expect_code(0, "digits by rows");
    let report: serde_json::Value = serde_json::from_str(&job.stdout).expect("JSON on stdout");
    let found = (&report["status"], &report["frames"], &report["wrong"]);
    assert_eq!(found, (&"done".into(), &6.into(), &0.into()), "{job}");
    let ranks = report["ranks"].as_array().expect("a list of ranks");
    let hosts: Vec<_> = ranks.iter().map(|rank| &rank["host"]).collect();
    assert_eq!(hosts, HOSTS, "{job}");
    assert_eq!(things(), [""; 0], "{job}");
}

/// At 100 Mbit/s 4 MB take 0.32 s, and as long each way: the second to begin does not wait for the
/// first. (In one message each it does: 0.67 s.)
#[test]
fn two_hosts_send_to_each_other_at_once() {
    let Some(_lab) = Lab::new() else { return };
    let mut command = Command::new(path("scripts/lab.sh"));
    command.arg("run").arg(path("labs/pair.lab")).arg("--");
    let own = std::env::current_exe().expect("this binary has a path");
    let own = own.to_str().expect("a plain path");
    let rank = format!("{}=exchange", super::CASE);
    let arguments = [&rank, own, "--exact", "as_a_rank", "--nocapture"];
    let job = Mpirun::by(command).run(Path::new("env"), &arguments);
    job.expect_code(0, "4 MB each way");
    let said = job.stdout.split("exchange took ").nth(1);
    let seconds = said.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let seconds = seconds.expect("rank 0 says how long it took");
    assert!((0.3..0.5).contains(&seconds), "{seconds} s\n{job}");
}

#[test]
fn a_lab_hands_the_exit_code_on_and_is_gone() {
    let Some(lab) = Lab::new() else {
        return;
    };
    lab.run("sh", &["-c", "exit 7"]).expect_code(7, "exit 7");
    assert_eq!(things(), [""; 0]);
    let running = lab.start(Path::new("sleep"), &["600"]);
    wait_until("three ranks", || running.ranks() == HOSTS.len());
    assert_eq!(keeps_awake(), Path::new(LATENCY).exists());
    running.signal("TERM");
    let job = running.wait();
    assert_ne!(job.code, Some(0), "{job}");
    assert!(job.left.is_empty(), "{job}");
    assert_eq!(things(), [""; 0], "{job}");
    assert!(!keeps_awake());
}

#[test]
fn nothing_is_left_of_a_lab_that_was_killed() {
    let Some(lab) = Lab::new() else {
        return;
    };
    let pair = path("labs/pair.lab");
    let pair = pair.to_str().expect("a plain path");
    // What is killed, and what comes next: the end of the lab, or another lab in its place.
    for (all, next) in [
        (true, &["down"][..]),
        (false, &["up", pair]),
        (false, &["down"]),
    ] {
        let running = lab.start(Path::new("sleep"), &["600"]);
        wait_until("three ranks", || running.ranks() == HOSTS.len());
        if all {
            running.kill_all();
            wait_until("an end", || running.processes().is_empty());
        } else {
            running.signal("KILL");
            assert!(running.processes().len() > HOSTS.len());
        }
        assert!(!things().is_empty(), "nobody was there to remove them");
        let said = script(next);
        assert!(said.status.success(), "{said:?}");
        wait_until("an end", || running.processes().is_empty());
        if next == ["down"] {
            assert_eq!(things(), [""; 0], "after all {all}");
            assert!(!keeps_awake());
        } else {
            let left = things();
            let third = left.iter().filter(|name| *name == "autodice-e3");
            assert_eq!(third.count(), 0, "of the lab that was there: {left:?}");
        }
        running.wait();
    }
}
