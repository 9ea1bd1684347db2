//! The spec file, there and back, and what a hostile one costs.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::yaml::{parse, to_yaml, MAX_BYTES};
use super::StageNodes;
use random::Random;

mod random;
mod random_split;
mod split;

#[test]
fn a_written_spec_reads_back_as_itself() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let spec = random.spec();
        let text = to_yaml(&spec);
        match parse("spec", &text) {
            Ok(read) => assert_eq!(read, spec, "{text}"),
            Err(error) => panic!("{error}\n{text}"),
        }
    }
}

#[test]
fn the_design_s_example_is_read() {
    let text = "
model: ../models/vgg16.onnx        # paths are relative to this file
shapes: {height: 224, width: 224}
input:
  frames: ../data/photos/*.png
  image: {size: 640x480, layout: bgr, mean: [104, 117, 123], std: 0.5}
labels: ../data/labels.txt
ranks:
  - {host: pi0, cores: 0-3, threads: 4, engine: tract}
  - {host: pi1, cores: '0-1,3', memory_mb: 900}
stages:
  - {until: pool3, ranks: [1, 0], split: {by: rows}}
  - {nodes: [conv4_1, conv4_2], ranks: [1]}
  - {ranks: [0]}
run: {threads: 4, in_flight: 4, engine: tract, wire: f32, watchdog: 500ms}
";
    let spec = parse("a.yaml", text).unwrap();
    assert_eq!(spec.rank_count(), 2);
    let input = spec.input.unwrap();
    assert_eq!(input.image.size, Some((640, 480)));
    assert_eq!(input.image.mean, [104.0, 117.0, 123.0]);
    assert_eq!(input.image.std, [0.5]);
    assert_eq!(spec.ranks[0].cores, Some(vec![0, 1, 2, 3]));
    assert_eq!(spec.ranks[1].cores, Some(vec![0, 1, 3]));
    assert_eq!(spec.stages[0].ranks, [1, 0]);
    assert_eq!(spec.stages[2].nodes, StageNodes::Rest);
    assert_eq!(spec.run.watchdog, Duration::from_millis(500));
    assert_eq!(spec.run.in_flight, Some(4));
}

#[test]
fn a_hostile_document_ends_soon_in_one_line() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (before, after) in ('a'..'i').zip('b'..='i') {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb += &format!("{after}: &{after} [{aliases}]\n");
    }
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(400_000),
        "*a, ".repeat(100_000)
    );
    let fill = |unit: &str| unit.repeat(MAX_BYTES / unit.len());
    let documents = [
        bomb,
        long,
        fill("["),
        fill("{a: "),
        fill("- "),
        fill("? "),
        fill("a:\n"),
        fill("x "),
        fill("!"),
        fill("&a "),
        fill("[]"),
        fill("\"\\x00\""),
        fill("a\u{0}"),
        fill("'"),
        fill("|\n"),
        fill("---\n"),
        fill("[a,b],"),
        (0..2000)
            .map(|i| format!("{}- a\n", " ".repeat(i % 300)))
            .collect(),
        (0..500).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        format!("model: {}", fill("y")),
        format!("{{{}}}", fill("a: 1, ")),
    ];
    for text in documents {
        let start = Instant::now();
        let error = parse("x.yaml", &text).unwrap_err().to_string();
        let shown: String = text.chars().take(30).collect();
        assert!(
            !error.contains('\n') && error.len() < 1000,
            "{shown:?}: {error}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{shown:?}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn no_prefix_or_damage_of_a_spec_panics() {
    let mut random = Random(7);
    for _ in 0..40 {
        let text = to_yaml(&random.spec());
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = parse("x.yaml", &text[..end]);
        }
        for _ in 0..200 {
            let mut bytes = text.clone().into_bytes();
            let place = random.size(bytes.len() as u64);
            bytes[place] = b"[]{},:-#&*!|>'\"%@`\n\t 09~"[random.size(24)];
            if let Ok(damaged) = String::from_utf8(bytes) {
                if let Err(error) = parse("x.yaml", &damaged) {
                    assert!(!error.to_string().contains('\n'));
                }
            }
        }
    }
}
