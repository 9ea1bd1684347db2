//! Splits inside a stage: every kind compiled from a spec, bit for bit against the uncut model.

use autodice::model::builder::{Conv, ModelBuilder, Pool, Weights};
use autodice::plan::compile;
use autodice::spec::{Exchange, Pairing, ReduceSpec, StageSpec, ZoneRows};

use crate::support::equality::Fixture;
use crate::support::specs::{behind, channels, frames, grid, pair, rows, spec, stage, zone};

/// A chain with a residual, a branch, depthwise and grouped convolutions, squeeze and excitation's
/// shape without its sigmoid, and a head. Sums stay small integers.
fn model() -> Fixture {
    let mut m = ModelBuilder::with_weights("mixed", Weights::Integers { seed: 11, max: 1 });
    let x = m.input("x", &[1, 3, 16, 12]);
    let a = m.conv("conv_a", x, Conv::new(8, 3).pad(1));
    let a = m.clip("clip_a", a, -4.0, 4.0);
    let b = m.conv("conv_b", a, Conv::new(8, 3).pad(1).groups(8));
    let b = m.clip("clip_b", b, -4.0, 4.0);
    let c = m.conv("conv_c", b, Conv::new(8, 1));
    let c = m.clip("clip_c", c, -4.0, 4.0);
    let d = m.add("add", a, c);
    let d = m.max_pool("pool_d", d, Pool::new(3).stride(2).pad(1));
    let e = m.conv("conv_e", d, Conv::new(4, 5).pad(2));
    let f = m.conv("conv_f", d, Conv::new(6, 1));
    let g = m.concat("concat", &[e, f]);
    let g = m.clip("clip_g", g, -4.0, 4.0);
    let s = m.global_average_pool("squeeze", g);
    let h = m.conv("conv_h", g, Conv::new(8, 3).stride(2).groups(2));
    let h = m.clip("clip_h", h, -4.0, 4.0);
    let h = m.flatten("flatten", h);
    let y = m.gemm("fc1", h, 9);
    let y = m.relu("relu_y", y);
    let y = m.gemm("fc2", y, 5);
    m.output(y);
    m.output(s);
    Fixture::new(&m)
}

fn assert_exact(name: &str, stages: Vec<StageSpec>) {
    println!("{name}");
    let fixture = model();
    let plan = compile(&fixture.graph, &spec(stages)).unwrap_or_else(|e| panic!("{name}: {e}"));
    fixture.assert_exact(&plan, &fixture.integers(5, 1, 3), 1);
}

#[test]
fn rows_equal_the_uncut_model() {
    assert_exact(
        "two",
        vec![stage(None, &[0, 1], rows(&[], Exchange::Each, false))],
    );
    assert_exact(
        "overlap",
        vec![stage(None, &[1, 0], rows(&[], Exchange::Each, true))],
    );
    let uneven = rows(&[1, 9, 3], Exchange::Each, true);
    assert_exact("uneven", vec![stage(None, &[0, 1, 2], uneven)]);
    let nothing = rows(&[0, 1, 0], Exchange::Each, false);
    assert_exact("nothing", vec![stage(None, &[0, 1, 2], nothing)]);
    let blocks = rows(&[2, 1], behind(&["add", "clip_g"]), false);
    assert_exact("blocks", vec![stage(None, &[0, 1], blocks)]);
    let blocks = rows(&[2, 1, 2], behind(&["pool_d"]), true);
    assert_exact("blocks, overlap", vec![stage(None, &[0, 1, 2], blocks)]);
    assert_exact(
        "zone",
        vec![
            stage(Some("clip_c"), &[1, 0, 2], zone(0, ZoneRows::Min)),
            stage(None, &[0], rows(&[], Exchange::Each, false)),
        ],
    );
}

#[test]
fn grids_equal_the_uncut_model() {
    assert_exact(
        "2x2",
        vec![stage(
            None,
            &[0, 1, 2, 3],
            grid((2, 2), Exchange::Each, false),
        )],
    );
    assert_exact(
        "2x2",
        vec![stage(
            None,
            &[3, 1, 2, 0],
            grid((2, 2), Exchange::Each, true),
        )],
    );
    assert_exact(
        "1x3",
        vec![stage(None, &[0, 1, 2], grid((1, 3), Exchange::Each, false))],
    );
}

#[test]
fn channels_equal_the_uncut_model() {
    assert_exact("out", vec![stage(None, &[0, 1], channels(Pairing::None))]);
    assert_exact(
        "out",
        vec![stage(None, &[2, 0, 1], channels(Pairing::None))],
    );
    assert_exact("auto", vec![stage(None, &[1, 0], channels(Pairing::Auto))]);
    for reduce in [ReduceSpec::Root, ReduceSpec::Ring, ReduceSpec::Scatter] {
        let list = vec![
            pair(&["conv_a", "conv_c"], reduce),
            pair(&["fc1", "fc2"], reduce),
        ];
        let split = channels(Pairing::List(list));
        assert_exact("pairs", vec![stage(None, &[0, 1, 2], split.clone())]);
        let list = vec![pair(&["conv_e"], reduce), pair(&["fc1"], reduce)];
        let split = channels(Pairing::List(list));
        assert_exact("by input", vec![stage(None, &[2, 1, 0], split)]);
    }
}

#[test]
fn replicas_and_mixtures_equal_the_uncut_model() {
    assert_exact("frames", vec![stage(None, &[0, 1], frames(&[]))]);
    assert_exact("frames", vec![stage(None, &[1, 0, 2], frames(&[2, 1, 1]))]);
    let mixed = vec![
        stage(
            Some("clip_c"),
            &[0, 1, 2],
            rows(&[1, 2, 1], Exchange::Each, true),
        ),
        stage(Some("clip_g"), &[2, 1], channels(Pairing::Auto)),
        stage(Some("clip_h"), &[0, 2], frames(&[])),
        stage(None, &[1, 2], channels(Pairing::Auto)),
    ];
    assert_exact("mixed", mixed);
    let mixed = vec![
        stage(
            Some("add"),
            &[0, 1, 2, 3],
            grid((2, 2), Exchange::Each, false),
        ),
        stage(Some("clip_g"), &[3, 1], frames(&[2, 1])),
        stage(None, &[1, 2, 3], channels(Pairing::None)),
    ];
    assert_exact("mixed", mixed);
}

/// Ranks whose rows lie in the padding alone need nothing of anybody.
#[test]
fn rows_in_the_padding_need_no_input() {
    let mut m = ModelBuilder::with_weights("padding", Weights::Integers { seed: 5, max: 2 });
    let x = m.input("x", &[1, 2, 5, 4]);
    let x = m.conv("conv_a", x, Conv::new(4, 1).pad(2));
    let x = m.relu("relu_a", x);
    let x = m.conv("conv_b", x, Conv::new(3, 3).pads([3, 0, 0, 0]));
    m.output(x);
    let fixture = Fixture::new(&m);
    for overlap in [false, true] {
        for at in [Exchange::Each, behind(&["conv_b"])] {
            // Nine rows for five ranks: the first and the last one have padding only.
            let split = rows(&[1, 2, 3, 2, 1], at, overlap);
            let stages = vec![stage(None, &[3, 0, 1, 4, 2], split)];
            let plan = compile(&fixture.graph, &spec(stages)).expect("a plan");
            fixture.assert_exact(&plan, &fixture.integers(2, 7, 3), 1);
        }
    }
}
