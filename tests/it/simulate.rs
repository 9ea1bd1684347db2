//! `autodice simulate` as a user runs it.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(env!("CARGO_BIN_EXE_autodice"));
    command.current_dir(root).arg("simulate").args(arguments);
    command.output().unwrap()
}

const SPEC: &str = "specs/digits-stages.yaml";

#[test]
fn the_digits_on_four_boards() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (svg, trace) = (file("a.svg"), file("a.json"));
    let platform = ["--platform", "platforms/edge.yaml", "--frames", "5"];
    let arguments = [
        &[SPEC][..],
        &platform,
        &["--timeline", &svg, "--trace", &trace],
    ]
    .concat();
    let ran = simulate(&arguments);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(
        rows[1].split_whitespace().nth(1) == Some("pi1") && text.contains("# binds: "),
        "{text}"
    );
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(
        svg.matches("<title>").count(),
        svg.matches("</title>").count()
    );
    let trace: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let runs = events
        .iter()
        .filter(|event| event["cat"] == "compute")
        .count();
    assert!(runs >= 15, "three Runs for each of five frames: {runs}");
    let json = simulate(&[&[SPEC, "--json"][..], &platform].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["ranks"].as_array().unwrap().len(), 3);
    assert!(json["period_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_is_wrong_is_one_line_and_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    for (text, wanted) in [
        (
            "{hosts: [{name: a}]}",
            "3 ranks, but the platform has slots for 1",
        ),
        (
            "{hosts: [{name: a, slots: 3}]}",
            "host a: neither a time for node ",
        ),
        (
            "{hosts: [{name: a, slot: 3}]}",
            "hosts[0]: unknown key `slot`, did you mean `slots`?",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = simulate(&[SPEC, "--platform", &file.display().to_string()]);
        let error = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(2), "{error}");
        assert!(
            error.contains(wanted) && error.lines().count() == 1,
            "{error}"
        );
    }
}
