//! Every architecture of `autodice model`, by rows and by channels, against the uncut model within
//! the tolerance of `--verify`.

use autodice::frames::compare;
use autodice::graph::{Graph, Value};
use autodice::model::standard::{build, Options, NAMES};
use autodice::plan::{check, compile};
use autodice::spec::{Exchange, Pairing, Spec};

use crate::support::equality::Fixture;
use crate::support::specs::{channels, rows, spec, stage};

/// Small images and narrow layers: what is tried is how the nodes hang together.
fn small(name: &str) -> Options {
    let (size, width) = match name {
        "lenet5" => ((28, 36), 1.0),
        "alexnet" | "fcn" | "vgg11" | "vgg16" | "vgg19" => ((64, 96), 0.125),
        _ => ((64, 48), 0.25),
    };
    Options {
        seed: 3,
        size: Some(size),
        width: Some(width),
        integers: None,
    }
}

/// Compares every output of every frame; outputs that are dead would prove nothing.
pub fn assert_close(what: &str, found: &[Vec<Value>], wanted: &[Vec<Value>]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
        let elements = wanted.to_f32();
        let largest = elements.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        let differ = elements.iter().any(|x| *x != elements[0]);
        assert!(largest > 1e-3 && differ, "{what}: dead outputs");
        let comparison = compare(found, wanted);
        assert_eq!(comparison.wrong, 0, "{what}: {comparison:?}");
    }
}

/// Compiles, checks, runs and compares.
pub fn assert_right(what: &str, fixture: &Fixture, asked: &Spec, frames: &[Vec<Value>]) {
    let graph: &Graph = &fixture.graph;
    let plan = compile(graph, asked).unwrap_or_else(|error| panic!("{what}: {error}"));
    check(graph, &plan, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    let outputs = fixture.run(&plan, frames, None);
    assert_close(what, &outputs, &fixture.uncut(frames));
}

#[test]
fn standard_architectures_by_rows_and_by_channels() {
    for name in NAMES {
        let start = std::time::Instant::now();
        let fixture = Fixture::new(&build(name, &small(name)).expect("a model"));
        let frames = fixture.integers(1, 9, 2);
        let split = rows(&[2, 3], Exchange::Each, true);
        let by_rows = spec(vec![stage(None, &[1, 0], split)]);
        assert_right(&format!("{name} by rows"), &fixture, &by_rows, &frames);
        let split = channels(Pairing::Auto);
        let by_channels = spec(vec![stage(None, &[0, 1], split)]);
        assert_right(
            &format!("{name} by channels"),
            &fixture,
            &by_channels,
            &frames,
        );
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}
