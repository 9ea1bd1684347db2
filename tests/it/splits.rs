//! Splits inside a stage: every kind compiled from a spec, bit for bit against the uncut model.

use autodice::graph::Value;
use autodice::model::builder::{Conv, ModelBuilder, Pool, Weights};
use autodice::plan::compile;
use autodice::spec::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, RunSpec, Spec, SplitSpec, StageNodes, StageSpec, ZoneRows, ZoneSpec,
};

use crate::support::equality::{random_integers, Fixture};

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

fn spec(stages: Vec<StageSpec>) -> Spec {
    Spec {
        model: "model.onnx".into(),
        shapes: vec![],
        input: None,
        labels: None,
        ranks: vec![],
        stages,
        run: RunSpec::default(),
    }
}

fn stage(until: Option<&str>, ranks: &[usize], split: SplitSpec) -> StageSpec {
    StageSpec {
        nodes: until.map_or(StageNodes::Rest, |name| StageNodes::Until(name.into())),
        ranks: ranks.to_vec(),
        split: Some(split),
    }
}

fn rows(shares: &[u64], at: Exchange, overlap: bool) -> SplitSpec {
    let gather = true;
    SplitSpec::Rows(RowsSpec {
        shares: shares.to_vec(),
        exchange: ExchangeSpec {
            at,
            overlap,
            gather,
        },
        ..RowsSpec::default()
    })
}

fn grid(grid: (usize, usize), overlap: bool) -> SplitSpec {
    let exchange = ExchangeSpec {
        overlap,
        ..ExchangeSpec::default()
    };
    let (rows, columns) = (vec![], vec![]);
    SplitSpec::Grid(GridSpec {
        grid,
        rows,
        columns,
        exchange,
    })
}

fn channels(pair: Pairing) -> SplitSpec {
    let shares = vec![];
    SplitSpec::Channels(ChannelsSpec { shares, pair })
}

fn frames(shares: &[u64]) -> SplitSpec {
    let shares = shares.to_vec();
    SplitSpec::Frames(FramesSplitSpec { shares })
}

fn pair(nodes: &[&str], reduce: ReduceSpec) -> PairSpec {
    let nodes = nodes.iter().map(|node| node.to_string()).collect();
    PairSpec { nodes, reduce }
}

fn zone(rows: ZoneRows) -> SplitSpec {
    SplitSpec::Rows(RowsSpec {
        zone: Some(ZoneSpec { rank: 0, rows }),
        ..RowsSpec::default()
    })
}

fn inputs(fixture: &Fixture, frames: u64) -> Vec<Vec<Value>> {
    let shape = &fixture.graph.activation(fixture.graph.inputs[0]).shape;
    (0..frames)
        .map(|seed| vec![random_integers(seed + 1, shape, 3)])
        .collect()
}

fn assert_exact(name: &str, stages: Vec<StageSpec>) {
    println!("{name}");
    let fixture = model();
    let plan = compile(&fixture.graph, &spec(stages)).unwrap_or_else(|e| panic!("{name}: {e}"));
    fixture.assert_exact(&plan, &inputs(&fixture, 5), 1);
}

#[test]
fn rows_equal_the_uncut_model() {
    let behind = |names: &[&str]| Exchange::Behind(names.iter().map(|n| n.to_string()).collect());
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
            stage(Some("clip_c"), &[1, 0, 2], zone(ZoneRows::Min)),
            stage(None, &[0], rows(&[], Exchange::Each, false)),
        ],
    );
}

#[test]
fn grids_equal_the_uncut_model() {
    assert_exact("2x2", vec![stage(None, &[0, 1, 2, 3], grid((2, 2), false))]);
    assert_exact("2x2", vec![stage(None, &[3, 1, 2, 0], grid((2, 2), true))]);
    assert_exact("1x3", vec![stage(None, &[0, 1, 2], grid((1, 3), false))]);
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
        stage(Some("add"), &[0, 1, 2, 3], grid((2, 2), false)),
        stage(Some("clip_g"), &[3, 1], frames(&[2, 1])),
        stage(None, &[1, 2, 3], channels(Pairing::None)),
    ];
    assert_exact("mixed", mixed);
}
