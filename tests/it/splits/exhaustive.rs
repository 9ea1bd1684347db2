//! Every cut of small activations, on integers, against an oracle that shares no rule with the
//! library.

use autodice::geometry::Window;
use autodice::graph::{Graph, PoolKind};
use autodice::plan::{check, compile};
use autodice::spec::{Exchange, ExchangeSpec, GridSpec, RowsSpec, Spec, SplitSpec};

use crate::support::graph_builder::GraphBuilder;
use crate::support::interpreter::{interpret, uncut};
use crate::support::random_graph::{random_graph, Random};
use crate::support::random_spec::random_spec;
use crate::support::specs::{behind, exchange, spec, stage};

fn window([kernel, stride, pad_before, pad_after, dilation]: [usize; 5]) -> Window {
    Window {
        kernel,
        stride,
        dilation,
        pad_before,
        pad_after,
        ceil: false,
    }
}

/// Every (kernel, stride, pad before, pad after, dilation) that is tried first in a chain.
fn first_windows() -> Vec<Window> {
    let mut all = vec![];
    for kernel in 1..=4 {
        for stride in 1..=3 {
            for before in 0..=2 {
                for after in 0..=2 {
                    all.extend((1..=2).map(|d| window([kernel, stride, before, after, d])));
                }
            }
        }
    }
    all
}

/// What comes second: a convolution, a depthwise one without padding, two pools.
const SECOND: usize = 4;

/// A chain of two windows on rows; columns are as they are, or windows alike where `square`.
fn two(first: Window, second: usize, height: usize, square: bool) -> Option<Graph> {
    let mut b = GraphBuilder::new("two");
    let x = b.input(&[1, 1, height, if square { height } else { 2 }]);
    let both = |w: Window| vec![w, if square { w } else { Window::POINT }];
    let fits = |b: &GraphBuilder, x, w: Window| w.output(b.shape(x)[2]) > 0;
    if !fits(&b, x, first) {
        return None;
    }
    let y = b.conv(x, 2, both(first), 1);
    let y = b.relu(y);
    let (window, pool) = match second % SECOND {
        0 => (window([3, 1, 1, 1, 1]), None),
        1 => (window([2, 1, 0, 0, 1]), None),
        2 => (window([2, 2, 0, 0, 1]), Some(PoolKind::Max)),
        _ => (
            Window {
                ceil: true,
                ..window([3, 2, 1, 1, 1])
            },
            Some(PoolKind::Max),
        ),
    };
    if !fits(&b, y, window) {
        return None;
    }
    let z = match pool {
        Some(kind) => b.pool(y, kind, both(window)),
        None => b.conv(y, 2, both(window), 1 + second % SECOND),
    };
    Some(b.finish(&[z]))
}

/// Compiles, checks and interprets; the number of turns that came out right.
fn right(graph: &Graph, wanted: &[Vec<i64>], spec: &Spec) -> usize {
    let plan = compile(graph, spec).unwrap_or_else(|error| panic!("{error}: {spec:?}"));
    check(graph, &plan, None).unwrap_or_else(|error| panic!("{error}: {spec:?}"));
    for turn in 0..plan.cycle as usize {
        let found = interpret(graph, &plan, turn);
        let same = found.as_ref().is_ok_and(|found| found == wanted);
        assert!(same, "{spec:?}: {found:?}\n{graph:?}");
    }
    plan.cycle as usize
}

/// `cuts` for the convolution and for what comes second, in turn with and without overlap, and as
/// a block that ends with the chain.
fn cut(first: &[usize], second: &[usize], graph: &Graph, number: usize) -> Spec {
    let name = |at: usize| graph.nodes[at].origin.clone();
    // A single row cannot be cut.
    let long = |at: &usize| height(graph, *at) > 1;
    let at = match number % 3 {
        2 if long(&2) => behind(&[&name(2)]),
        _ => Exchange::Each,
    };
    let ranks: Vec<usize> = (0..=first.len()).collect();
    let both = [(0, first), (2, second)].into_iter();
    let cuts = both.filter(|(at, _)| long(at));
    let rows = RowsSpec {
        cuts: cuts.map(|(at, ends)| (name(at), ends.to_vec())).collect(),
        exchange: exchange(at, number % 2 == 1),
        ..RowsSpec::default()
    };
    spec(vec![stage(None, &ranks, SplitSpec::Rows(rows))])
}

fn height(graph: &Graph, node: usize) -> usize {
    graph.activation(graph.nodes[node].outputs[0]).shape[2]
}

#[test]
fn every_cut_of_two_windows_on_two_ranks() {
    let mut count = 0;
    for (index, first) in first_windows().into_iter().enumerate() {
        for second in 0..SECOND {
            // Every window meets every second one at one of two heights.
            let Some(graph) = two(first, second, 4 + (index + second) % 3, false) else {
                continue;
            };
            let wanted = uncut(&graph);
            for a in 0..=height(&graph, 0) {
                for b in 0..=height(&graph, 2) {
                    count += right(&graph, &wanted, &cut(&[a], &[b], &graph, a + b + index));
                }
            }
        }
    }
    println!("{count} cuts");
    assert!(count > 10_000, "{count}");
}

#[test]
fn every_cut_of_two_windows_on_three_ranks() {
    let mut count = 0;
    for (index, first) in first_windows().into_iter().enumerate().step_by(7) {
        let Some(graph) = two(first, index / 7, 5, false) else {
            continue;
        };
        let wanted = uncut(&graph);
        let pairs = |length: usize| -> Vec<[usize; 2]> {
            let upper = |a: usize| (a..=length).map(move |b| [a, b]);
            (0..=length).flat_map(upper).collect()
        };
        for a in pairs(height(&graph, 0)) {
            for b in pairs(height(&graph, 2)) {
                let number = a[0] + a[1] + b[0] + b[1];
                count += right(&graph, &wanted, &cut(&a, &b, &graph, number));
            }
        }
    }
    println!("{count} cuts");
    assert!(count > 3_000, "{count}");
}

#[test]
fn every_grid_of_two_windows() {
    let mut count = 0;
    for (index, first) in first_windows().into_iter().enumerate().step_by(5) {
        let Some(graph) = two(first, index / 5, 5, true) else {
            continue;
        };
        let wanted = uncut(&graph);
        let length = height(&graph, 2) as u64;
        // Shares that cut the last map at every row and column; both must be cut somewhere.
        let shares = |at: u64| vec![at, length - at];
        for y in 0..=length {
            for x in 0..=length {
                let last = graph.nodes[2].origin.as_str();
                let at = match (x + y) % 3 {
                    0 => behind(&[last]),
                    _ => Exchange::Each,
                };
                let long = graph.activation(graph.nodes[2].outputs[0]).shape[2] > 1;
                let at = if long { at } else { Exchange::Each };
                let grid = GridSpec {
                    grid: (2, 2),
                    rows: shares(y),
                    columns: shares(x),
                    exchange: ExchangeSpec {
                        at,
                        overlap: x % 2 == 0,
                        gather: true,
                    },
                };
                let stages = vec![stage(None, &[2, 0, 3, 1], SplitSpec::Grid(grid))];
                count += right(&graph, &wanted, &spec(stages));
            }
        }
    }
    println!("{count} grids");
    assert!(count > 500, "{count}");
}

/// Graphs of all shapes under specs of all kinds: pure, and so very many.
#[test]
fn random_graphs_under_random_specs() {
    let asked = std::env::var("AUTODICE_CASES").ok();
    let cases = asked.map_or(3000, |text| text.parse().expect("a number"));
    let (mut ran, mut refused) = (0, 0);
    for seed in 0..cases {
        let mut random = Random(seed * 77 + 5);
        let nodes = 2 + random.below(12);
        let graph = random_graph(&mut random, nodes);
        let spec = random_spec(&mut random, &graph);
        match compile(&graph, &spec) {
            Ok(_) => {
                println!("seed {seed}");
                right(&graph, &uncut(&graph), &spec);
                ran += 1;
            }
            Err(error) => {
                assert!(
                    !error.path.is_empty() && !error.message.is_empty(),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    println!("{ran} specs ran, {refused} were refused");
    assert!(ran > 2 * refused, "{ran} ran, {refused} refused");
}
