//! The oracles themselves: a planted fault must be caught, by `plan::check` where it is in a
//! plan, by the comparison with the uncut model where it is in a sub-model.

use std::collections::BTreeSet;
use std::sync::Arc;

use autodice::geometry::{Interval, Region};
use autodice::graph::{Graph, PoolKind, SubModel, Value};
use autodice::ids::Rank;
use autodice::model::builder::{Conv, ModelBuilder, Weights};
use autodice::plan::{check, compile, Plan, Step, Terms};
use autodice::spec::{Exchange, Pairing, ReduceSpec, SplitSpec, ZoneRows};

use crate::plan::check::{judge, Count};
use crate::support::equality::{Change, Fixture};
use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::specs::{behind, channels, frames, grid, pair, rows, spec, stage, zone};

/// conv_a → relu_a → conv_b → flat → fc, on small integers.
fn model() -> Fixture {
    let mut m = ModelBuilder::with_weights("oracle", Weights::Integers { seed: 4, max: 2 });
    let x = m.input("x", &[1, 3, 10, 7]);
    let x = m.conv("conv_a", x, Conv::new(8, 3).pad(1));
    let x = m.relu("relu_a", x);
    let x = m.conv("conv_b", x, Conv::new(6, 3).pad(1));
    let y = m.flatten("flat", x);
    let y = m.gemm("fc", y, 5);
    m.output(y);
    m.output(x);
    Fixture::new(&m)
}

fn compiled(graph: &Graph, ranks: &[usize], split: SplitSpec) -> Plan {
    let plan = compile(graph, &spec(vec![stage(None, ranks, split)])).expect("a plan");
    check(graph, &plan, None).expect("a right plan");
    plan
}

/// Moves a box by one along an axis, where the activation is long enough.
fn moved(region: &Region, axis: usize, length: usize) -> Option<Region> {
    let Interval { start, end } = region.0[axis];
    match (start, end) {
        (0, end) if end == length => None,
        (start, end) if end < length => {
            Some(region.with_axis(axis, Interval::new(start + 1, end + 1)))
        }
        (start, end) => Some(region.with_axis(axis, Interval::new(start - 1, end - 1))),
    }
}

/// Every message and every box that a piece reads or writes, moved by one row: what a halo that
/// is wrong by one comes to.
#[test]
fn a_halo_off_by_one_is_refused() {
    let fixture = model();
    let graph = &fixture.graph;
    let two = rows(&[], Exchange::Each, false);
    let overlapped = rows(&[2, 1, 2], Exchange::Each, true);
    let block = rows(&[1, 2], behind(&["conv_b"]), false);
    let cells = grid((2, 2), Exchange::Each, true);
    for (ranks, split) in [
        (&[0, 1][..], two),
        (&[1, 0, 2], overlapped),
        (&[0, 1], block),
        (&[0, 1, 2, 3], cells),
    ] {
        let plan = compiled(graph, ranks, split);
        let mut count = 0;
        let mut refused = |mutant: Plan, what: &str| {
            assert!(check(graph, &mutant, None).is_err(), "{what} was accepted");
            count += 1;
        };
        for (index, transfer) in plan.transfers.iter().enumerate() {
            let part = plan.part(transfer.from, transfer.from_part);
            let length = graph.activation(part.activation).shape.get(2).copied();
            let region = length.and_then(|length| moved(&transfer.region, 2, length));
            if let Some(region) = region {
                let mut mutant = plan.clone();
                mutant.transfers[index].region = region;
                refused(mutant, &format!("transfer {index}"));
            }
        }
        for (r, held) in plan.ranks.iter().enumerate() {
            for (p, piece) in held.pieces.iter().enumerate() {
                for (k, (part, region)) in piece.inputs.iter().enumerate() {
                    let shape = &graph.activation(held.parts[part.index()].activation).shape;
                    let length = shape.get(2).copied();
                    if let Some(region) = length.and_then(|length| moved(region, 2, length)) {
                        let mut mutant = plan.clone();
                        mutant.ranks[r].pieces[p].inputs[k].1 = region.clone();
                        // The part as well, so that the box is inside of it.
                        mutant.ranks[r].parts[part.index()].region = region;
                        refused(mutant, &format!("rank {r}, piece {p}, input {k}"));
                    }
                }
                for (k, (_, region)) in piece.outputs.iter().enumerate() {
                    let length = region.0.get(2).map(|rows| rows.end + 1);
                    if let Some(region) = length.and_then(|length| moved(region, 2, length)) {
                        let mut mutant = plan.clone();
                        mutant.ranks[r].pieces[p].outputs[k].1 = region;
                        refused(mutant, &format!("rank {r}, piece {p}, output {k}"));
                    }
                }
            }
        }
        assert!(count >= 6, "only {count} faults planted");
    }
}

/// Runs a plan whose sub-models a test has its hands in; whether the outputs are still right.
fn still_right(fixture: &Fixture, plan: &Plan, change: &Change<'_>) -> bool {
    let inputs = fixture.integers(2, 5, 3);
    fixture.run_changed(plan, &inputs, None, change) == fixture.uncut(&inputs)
}

fn swap_channels(value: &mut Value) {
    let step = value.bytes.len() / value.shape[0];
    let (first, rest) = value.bytes.split_at_mut(step);
    first.swap_with_slice(&mut rest[..step]);
}

fn double(value: &mut Value) {
    let twice: Vec<f32> = value.to_f32().iter().map(|x| x + x).collect();
    *value = Value::from_f32(&value.shape, &twice);
}

/// The weights of a sub-model with so many axes and at least two output channels.
fn with_axes(sub_model: &mut SubModel, axes: usize) -> impl Iterator<Item = &mut Value> {
    let all = sub_model
        .weights
        .iter_mut()
        .map(|(_, value)| Arc::make_mut(value));
    all.filter(move |value| value.shape.len() == axes && value.shape[0] > 1)
}

#[test]
fn swapped_channels_in_a_sub_model_are_seen() {
    let fixture = model();
    let list = vec![pair(&["conv_a", "conv_b"], ReduceSpec::Scatter)];
    for (ranks, split) in [
        (&[0, 1][..], channels(Pairing::None)),
        (&[1, 0, 2], channels(Pairing::Auto)),
        (&[0, 1], channels(Pairing::List(list))),
        (&[0, 1], rows(&[], Exchange::Each, true)),
    ] {
        let plan = compiled(&fixture.graph, ranks, split);
        assert!(still_right(&fixture, &plan, &|_, _, _| {}));
        let mut planted = 0;
        for rank in 0..ranks.len() {
            for piece in 0..plan.ranks[rank].pieces.len() {
                for axes in [4, 2] {
                    let hit = std::sync::atomic::AtomicBool::new(false);
                    let right = still_right(&fixture, &plan, &|r, p, sub_model| {
                        if (r, p) == (Rank::new(rank), piece) {
                            for weight in with_axes(sub_model, axes) {
                                swap_channels(weight);
                                hit.store(true, std::sync::atomic::Ordering::Relaxed);
                            }
                        }
                    });
                    let hit = hit.into_inner();
                    assert_ne!(right, hit, "rank {rank}, piece {piece}, {axes} axes");
                    planted += usize::from(hit);
                }
            }
        }
        assert!(planted >= ranks.len(), "{planted}");
    }
}

/// A bias that is added by every summand is the bias times their number.
#[test]
fn a_bias_that_counts_twice_is_seen() {
    let fixture = model();
    for reduce in [ReduceSpec::Root, ReduceSpec::Ring, ReduceSpec::Scatter] {
        let list = vec![pair(&["conv_a", "conv_b"], reduce), pair(&["fc"], reduce)];
        let plan = compiled(&fixture.graph, &[0, 1], channels(Pairing::List(list)));
        let mut planted = 0;
        for piece in 0..plan.ranks[0].pieces.len() {
            let hit = std::sync::atomic::AtomicBool::new(false);
            let right = still_right(&fixture, &plan, &|r, p, sub_model| {
                if (r, p) == (Rank(0), piece) {
                    for bias in with_axes(sub_model, 1) {
                        double(bias);
                        hit.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
            let hit = hit.into_inner();
            assert_ne!(right, hit, "piece {piece}");
            planted += usize::from(hit);
        }
        assert!(planted >= 2, "{planted}");
        assert_eq!(biased(&fixture, &plan, "conv_b"), [Rank(0)]);
        assert_eq!(biased(&fixture, &plan, "fc"), [Rank(0)]);
    }
}

/// The ranks with a piece that has the bias of a node.
fn biased(fixture: &Fixture, plan: &Plan, name: &str) -> Vec<Rank> {
    let id = fixture.graph.nodes_named(name)[0];
    let mut found = BTreeSet::new();
    for (index, held) in plan.ranks.iter().enumerate() {
        let rank = Rank::new(index);
        for piece in &held.pieces {
            let work = autodice::plan::piece_work(&fixture.graph, plan, rank, piece);
            let weights = work.expect("a piece that fits").weights;
            let bias = |&(node, operand, ..): &(_, usize, _, _)| node == id && operand == 2;
            found.extend(weights.iter().any(bias).then_some(rank));
        }
    }
    found.into_iter().collect()
}

/// Both ranks as member 0, and members of a sum in another order.
#[test]
fn a_plan_with_two_biases_is_refused() {
    let fixture = model();
    let list = vec![pair(&["conv_a", "conv_b"], ReduceSpec::Root)];
    let plan = compiled(&fixture.graph, &[0, 1], channels(Pairing::List(list)));
    let mut planted = 0;
    for r in 0..2 {
        for at in 0..plan.ranks[r].parts.len() {
            let mut mutant = plan.clone();
            let part = &mut mutant.ranks[r].parts[at];
            if let Terms::Some { members, .. } = &mut part.terms {
                members[0] = 1 - members[0];
                planted += 1;
                assert!(check(&fixture.graph, &mutant, None).is_err(), "{r} {at}");
            }
        }
    }
    assert!(planted >= 3, "{planted}");
}

/// A small graph with everything that splits treat in its own way.
fn graph() -> Graph {
    let mut b = GraphBuilder::new("mutants");
    let x = b.input(&[1, 2, 5, 3]);
    let x = b.conv(x, 4, square(3, 1, 1), 1);
    let y = b.relu(x);
    let y = b.conv(y, 2, square(3, 1, 1), 1);
    let y = b.pool(y, PoolKind::Max, square(2, 1, 0));
    let z = b.flatten(y);
    let z = b.gemm(z, 2);
    b.finish(&[z, y])
}

/// Every single fault in plans of every kind of split: refused, or without a consequence.
#[test]
fn faults_in_compiled_splits_are_refused() {
    let graph = graph();
    let list = |reduce| Pairing::List(vec![pair(&["conv0", "conv2"], reduce)]);
    let all = [
        ("rows", &[0, 1][..], rows(&[], Exchange::Each, false)),
        ("overlap", &[1, 0], rows(&[], Exchange::Each, true)),
        ("block", &[0, 1], rows(&[], behind(&["conv2"]), true)),
        ("zone", &[1, 0, 2], zone(0, ZoneRows::Min)),
        ("grid", &[0, 1, 2, 3], grid((2, 2), Exchange::Each, false)),
        ("channels", &[0, 1], channels(Pairing::None)),
        ("root", &[0, 1], channels(list(ReduceSpec::Root))),
        ("ring", &[0, 1], channels(list(ReduceSpec::Ring))),
        ("scatter", &[1, 0], channels(list(ReduceSpec::Scatter))),
        ("frames", &[0, 1], frames(&[])),
    ];
    let mut count = Count::new();
    for (name, ranks, split) in all {
        let plan = compiled(&graph, ranks, split);
        assert!(plan.ranks.iter().all(|rank| {
            let runs = |step: &Step| matches!(step, Step::Run(_));
            rank.turns.iter().flatten().any(runs)
        }));
        judge(name, &graph, &plan, &mut count);
    }
    println!("refused and accepted: {count:?}");
    let refused: usize = count.values().map(|c| c.0).sum();
    assert!(refused > 5000, "{refused}");
}
