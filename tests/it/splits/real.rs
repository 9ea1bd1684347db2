//! Graphs that nobody here wrote: the architectures inside the Python package onnx, with weights
//! of their own (`scripts/reseed_onnx.py`), against the uncut model.
//!
//! Two small ones as a rule; all of them where `AUTODICE_CASES` is set.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use autodice::graph::Graph;
use autodice::spec::{Exchange, Pairing, Spec};

use super::standard::assert_right;
use crate::skip::skipped;
use crate::support::equality::Fixture;
use crate::support::specs::{channels, frames, grid, rows, spec, stage};

/// The models that are always tried.
const SMALL: [&str; 2] = ["squeezenet", "shufflenet"];

/// The node so far behind the first that a share of all nodes lies before it, and that has a
/// name of its own.
fn at(graph: &Graph, share: usize, of: usize) -> &str {
    &graph.nodes[graph.nodes.len() * share / of].origin
}

fn specs(graph: &Graph) -> Vec<(&'static str, Spec)> {
    let third = at(graph, 1, 3);
    let half = at(graph, 1, 2);
    let overlapped = rows(&[1, 2, 1], Exchange::Each, true);
    let mixed = vec![
        stage(Some(third), &[0, 1], rows(&[2, 1], Exchange::Each, false)),
        stage(Some(at(graph, 2, 3)), &[2, 0], channels(Pairing::Auto)),
        stage(None, &[1, 2], frames(&[])),
    ];
    let cells = vec![
        stage(Some(half), &[1, 0], grid((1, 2), Exchange::Each, true)),
        stage(None, &[0, 1], channels(Pairing::None)),
    ];
    vec![
        ("rows", spec(vec![stage(None, &[0, 1, 2], overlapped)])),
        (
            "channels",
            spec(vec![stage(None, &[1, 0], channels(Pairing::Auto))]),
        ),
        ("mixture", spec(mixed)),
        ("grid", spec(cells)),
    ]
}

fn reseed(folder: &Path, names: &[&str]) -> Option<Vec<String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/reseed_onnx.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(folder)
        .args(names)
        .output();
    let Ok(output) = output else {
        skipped("there is no python3 on this machine");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        skipped(&format!("python3: {}", errors.trim()));
        return None;
    }
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().map(str::to_string).collect())
}

#[test]
fn architectures_of_the_onnx_package() {
    let folder = tempfile::tempdir().unwrap();
    let all = std::env::var_os("AUTODICE_CASES").is_some();
    let names: &[&str] = if all { &[] } else { &SMALL };
    let Some(names) = reseed(folder.path(), names) else {
        return;
    };
    assert!(names.len() >= SMALL.len(), "{names:?}");
    for name in names {
        let start = Instant::now();
        let path = folder.path().join(&name).join("model.onnx");
        let fixture = Fixture::of_file(&path);
        let frames = fixture.integers(2, 31, 2);
        for (kind, asked) in specs(&fixture.graph) {
            assert_right(&format!("{name}, {kind}"), &fixture, &asked, &frames);
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
        std::fs::remove_file(path).unwrap();
    }
}
