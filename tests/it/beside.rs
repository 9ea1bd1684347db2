//! `autodice-run --platform` as a user runs it, with ranks as threads.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SPEC: &str = "specs/digits-stages.yaml";
const HOST: &str = "name: localhost, speed: {gmac_per_s: 20, gb_per_s: 8, run_us: 20}";
const NETWORK: &str = "network: {local: {alpha_us: 20, mb_per_s: 2000}}";

fn command(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(arguments).output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    let own = [SPEC, "--threads-as-ranks", "--quiet"];
    let arguments = [&own, arguments].concat();
    command(env!("CARGO_BIN_EXE_autodice-run"), &arguments)
}

fn simulate(arguments: &[&str]) -> Output {
    let arguments = [&["simulate", SPEC], arguments].concat();
    command(env!("CARGO_BIN_EXE_autodice"), &arguments)
}

fn platform(folder: &Path, host: &str) -> String {
    let path = folder.join("p.yaml");
    std::fs::write(&path, format!("{{hosts: [{{{host}}}], {NETWORK}}}")).unwrap();
    path.display().to_string()
}

#[test]
fn a_run_says_what_simulate_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = platform(folder.path(), &format!("{HOST}, slots: 3"));
    let asked = ["--platform", &file, "--frames", "7", "--warmup", "2"];
    let [ran, told] = [run, simulate].map(|run| run(&[&asked[..], &["--json"]].concat()));
    let error = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && told.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let mut told: Value = serde_json::from_slice(&told.stdout).unwrap();
    told["platform"] = file.as_str().into();
    assert_eq!(report["predicted"], told);
    // What every run moves is no estimate.
    for rank in 0..3 {
        for key in ["received_bytes", "sent_bytes"] {
            let found = [&report, &told].map(|of| of["ranks"][rank][key].as_u64().unwrap());
            assert_eq!(found[0], found[1], "{rank} {key}");
        }
    }
    let table = String::from_utf8(run(&asked).stdout).unwrap();
    for part in [
        "   predicted latency ",
        "   predicted period ",
        "# platform ",
    ] {
        assert_eq!(table.matches(part).count(), 1, "{part}: {table}");
    }
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rows.count(), 3, "{table}");
}

#[test]
fn without_a_platform_nothing_is_predicted() {
    let ran = run(&["--frames", "1", "--json"]);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(report["predicted"].is_null() && report["status"] == "done");
}

#[test]
fn what_does_not_fit_is_one_line_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let cases = [
        (
            "name: pi0, slots: 3",
            "rank 0: the platform has no host localhost, it has pi0",
        ),
        (
            "name: localhost, slots: 2",
            "rank 2: host localhost has slots for 2 ranks, and no more",
        ),
        (
            "name: localhost, slots: 3",
            "host localhost: neither a time for node conv1_1 nor speed.gmac_per_s is there",
        ),
        (
            "name: localhost, slots: 0",
            "hosts[0].slots: found 0, expected a whole number from 1 to 4096",
        ),
    ];
    for (host, wanted) in cases {
        let file = platform(folder.path(), host);
        let output = out.display().to_string();
        let ran = run(&["--platform", &file, "--output", &output]);
        let error = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(2), "{error}");
        let line = format!("rank 0@localhost: {file}: {wanted}\n");
        assert_eq!(error, line);
        assert!(ran.stdout.is_empty() && !out.exists(), "{host}");
    }
}

#[test]
fn memory_is_refused_with_the_line_that_simulate_warns_with() {
    let folder = tempfile::tempdir().unwrap();
    let with = |memory: u64| {
        let host = format!("{HOST}, slots: 3, memory_mib: {memory}");
        let file = platform(folder.path(), &host);
        let asked = ["--platform", &file, "--frames", "2"];
        [run, simulate].map(|run| run(&asked))
    };
    let [ran, told] = with(100);
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{error}");
    let line = error.trim_end().split_once("p.yaml: ").unwrap().1;
    assert!(line.starts_with("rank 0 needs ") && line.contains(" MiB of memory, host localhost"));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&format!("# warning: {line}\n")), "{told}");
    assert_eq!(told.matches('!').count(), 3, "{told}");
    let [ran, told] = with(1000);
    assert!(ran.status.success(), "{ran:?}");
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(!told.contains('!') && !told.contains("warning"), "{told}");
}

#[test]
fn a_trace_that_cannot_be_written_is_known_before_the_run() {
    let ran = run(&["--frames", "1", "--trace", "no/such/folder.json"]);
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{error}");
    let line = "rank 0@localhost: no/such/folder.json: expected a file in a folder that is there\n";
    assert_eq!(error, line);
}
