//! `autodice-run --profile` under mpirun.

use autodice::platform::{Platform, Table};

use super::workplace::{own_lines, Workplace};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits/digits.onnx");
const ALONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/digits-one-rank.yaml");

#[test]
fn a_profile_reads_back_and_says_what_a_run_takes() {
    let place = Workplace::new();
    let arguments = ["--profile", MODEL, "-o", "@lab.yaml", "--budget", "8s"];
    let Some(job) = place.run(2, &arguments) else {
        return;
    };
    job.expect_code(0, "a profile");
    assert!(job.stdout.contains("# written to "), "{job}");
    let platform = Platform::parse("lab.yaml", &place.read("lab.yaml"));
    let platform = platform.expect("a platform file");
    let [host] = &platform.hosts[..] else {
        panic!("one host: {platform:?}");
    };
    assert_eq!((host.slots, host.threads), (Some(2), Some(1)));
    assert!(platform.network.local.is_some() && platform.network.pairs.is_empty());
    for timing in host.times.iter().filter(|timing| timing.us > 50.0) {
        grows(&timing.rows, timing.us, &timing.node);
    }
    // Both ranks were busy then and one is now, on cores that others may use: within a factor.
    let predicted: f64 = host.times.iter().map(|timing| timing.us).sum();
    let job = place.run(1, &[ALONE, "--output", "@one", "--json", "--warmup", "5"]);
    job.expect("mpirun is there").expect_code(0, "a run");
    let report = place.report("one");
    let measured = report["latency_ms"]["p50"].as_f64().expect("a latency") * 1e3;
    let ratio = predicted / measured;
    assert!(
        (0.4..2.5).contains(&ratio),
        "{predicted} µs, run {measured} µs"
    );
}

/// More rows take longer, but for noise, and never longer than all.
fn grows(table: &Table, whole: f64, node: &str) {
    assert!(table.0.len() > 2, "{node}: {table:?}");
    for entries in table.0.windows(2) {
        let [(_, less), (_, more)] = entries else {
            continue;
        };
        assert!(*less < 1.4 * more, "{node}: {table:?}");
    }
    let last = table.0.last().map_or(0.0, |&(_, us)| us);
    assert!(last < 1.4 * whole, "{node}: {table:?} of {whole}");
}

#[test]
fn what_is_wrong_with_a_profile_is_one_line_and_2() {
    let place = Workplace::new();
    std::fs::write(place.path("old.yaml"), "hosts: []").expect("a file");
    for (model, output, line) in [
        ("@none.onnx", "@new.yaml", "none.onnx"),
        (MODEL, "@old.yaml", "old.yaml: hosts: no host"),
    ] {
        let Some(job) = place.run(2, &["--profile", model, "-o", output]) else {
            return;
        };
        job.expect_code(2, line);
        let lines = own_lines(&job);
        assert!(lines.len() == 1 && lines[0].contains(line), "{job}");
        assert!(!place.path("new.yaml").exists());
    }
}
