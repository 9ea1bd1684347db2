//! Geometry, exhaustively on small cases.

use std::collections::BTreeSet;

use autodice::geometry::{copy_box, runs, shares_to_intervals, Interval, Region, Window};
use autodice::graph::{
    channelwise, computable, cuttable, input_needs, macs, piece_regions, Graph, PoolKind,
};
use autodice::ids::{ActivationId, NodeId};

use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::interpreter::{indices, Evaluator};
use crate::support::random_graph::{random_graph, Random};

/// All windows of up to 7 taps, stride 3, dilation 2, with paddings from none to more than the
/// window spans.
fn windows() -> Vec<Window> {
    let mut all = Vec::new();
    for kernel in 1..=7 {
        for stride in 1..=3 {
            for dilation in 1..=2 {
                for (pad_before, pad_after) in [(0, 0), (1, 1), (0, 2), (3, 1), (3, 3)] {
                    for ceil in [false, true] {
                        all.push(Window {
                            kernel,
                            stride,
                            dilation,
                            pad_before,
                            pad_after,
                            ceil,
                        });
                    }
                }
            }
        }
    }
    all
}

/// The input indices under the taps of one output index; none for taps in padding.
fn taps(window: &Window, output: usize, input: usize) -> Vec<Option<usize>> {
    let first = (output * window.stride) as i64 - window.pad_before as i64;
    (0..window.kernel)
        .map(|tap| first + (tap * window.dilation) as i64)
        .map(|i| (0..input as i64).contains(&i).then_some(i as usize))
        .collect()
}

/// Output indices counted one by one.
fn counted(window: &Window, input: usize) -> usize {
    let extent = window.dilation * (window.kernel - 1) + 1;
    let padded = window.pad_before + input + window.pad_after;
    let fits = |start: usize| start + extent <= padded;
    if !fits(0) {
        return 0;
    }
    // In ceil mode the window behind the last whole one counts, if there is anything left for it
    // and it starts before the padding behind the input.
    let mut count = 0;
    let mut start = 0;
    while fits(start) {
        count += 1;
        start += window.stride;
    }
    let left = padded > start - window.stride + extent;
    if window.ceil && left && start < window.pad_before + input {
        count += 1;
    }
    // ONNX drops the last one that it counted, once: where nothing is left that is a whole one.
    if window.ceil && !left && (count - 1) * window.stride >= window.pad_before + input {
        count -= 1;
    }
    count
}

#[test]
fn output_counts_the_windows_that_fit() {
    for window in windows() {
        for input in 1..=12 {
            assert_eq!(
                window.output(input),
                counted(&window, input),
                "{window:?} on {input}"
            );
        }
    }
}

#[test]
fn need_is_the_smallest_interval_around_all_taps() {
    let mut padded = 0;
    for window in windows() {
        for input in 1..=12 {
            let length = window.output(input);
            for start in 0..length {
                for end in start + 1..=length {
                    let need = window.need(Interval::new(start, end), input);
                    let all: Vec<Option<usize>> =
                        (start..end).flat_map(|o| taps(&window, o, input)).collect();
                    let inside: Vec<usize> = all.iter().copied().flatten().collect();
                    let at = format!("{window:?} on {input}, {start}..{end}: {need:?}");
                    let span = (end - start - 1) * window.stride + window.extent();
                    assert_eq!(
                        need.interval.len() + need.pad_before + need.pad_after,
                        span,
                        "{at}"
                    );
                    let (low, high) = (inside.iter().min(), inside.iter().max());
                    if let (Some(&low), Some(&high)) = (low, high) {
                        let contains = Interval::new(low, high + 1);
                        assert!(need.interval.contains(contains), "{at}");
                        // Tight, but for gaps between taps or windows at a border.
                        let sees = |o| taps(&window, o, input).iter().any(Option::is_some);
                        if window.dilation == 1 && sees(start) && sees(end - 1) {
                            assert_eq!(need.interval, contains, "{at}");
                        }
                    }
                    padded += usize::from(need.pad_before > 0 || need.pad_after > 0);
                }
            }
            let nothing = window.need(Interval::new(0, 0), input);
            assert!(nothing.interval.is_empty());
        }
    }
    assert!(padded > 1000, "padding occurs");
}

/// Each tile computed from its own slice and padding alone is the whole, computed at once.
#[test]
fn tiles_with_halo_compute_exactly_the_whole() {
    let value = |i: usize| (i * i * 31 + 7 * i) as i64 % 101;
    let weight = |tap: usize| (tap * 5 + 3) as i64;
    let mut tiles_seen = 0;
    for window in windows() {
        for input in 1..=12 {
            let length = window.output(input);
            let whole: Vec<i64> = (0..length)
                .map(|o| {
                    let taps = taps(&window, o, input).into_iter().enumerate();
                    taps.map(|(t, i)| weight(t) * i.map_or(0, value)).sum()
                })
                .collect();
            for count in 1..=4 {
                let mut joined = Vec::new();
                for tile in shares_to_intervals(length, &vec![1; count]) {
                    if tile.is_empty() {
                        continue;
                    }
                    tiles_seen += 1;
                    let need = window.need(tile, input);
                    // What the piece sees: its padding, its slice, its padding.
                    let mut slice = vec![0; need.pad_before];
                    slice.extend((need.interval.start..need.interval.end).map(value));
                    slice.extend(vec![0; need.pad_after]);
                    let piece = Window {
                        pad_before: 0,
                        pad_after: 0,
                        ceil: false,
                        ..window
                    };
                    let made = piece.output(slice.len());
                    assert_eq!(made, tile.len(), "{window:?} on {input}, tile {tile}");
                    for o in 0..made {
                        let first = o * window.stride;
                        let taps = (0..window.kernel).map(|t| (t, first + t * window.dilation));
                        joined.push(taps.map(|(t, i)| weight(t) * slice[i]).sum::<i64>());
                    }
                }
                assert_eq!(joined, whole, "{window:?} on {input} in {count} tiles");
            }
        }
    }
    assert!(tiles_seen > 10_000);
}

#[test]
fn owned_intervals_partition_the_axis() {
    for length in 0..=12 {
        for shares in [
            vec![1],
            vec![1, 1],
            vec![0, 1, 3],
            vec![5, 0, 0, 1],
            vec![0, 0],
            vec![u64::MAX, u64::MAX, 1],
        ] {
            let parts = shares_to_intervals(length, &shares);
            assert_eq!(parts.len(), shares.len());
            let joined: Vec<usize> = parts.iter().flat_map(|p| p.start..p.end).collect();
            assert_eq!(
                joined,
                (0..length).collect::<Vec<_>>(),
                "{length} by {shares:?}"
            );
        }
    }
}

/// The wrong rules that real programs have: padding kept at inner borders, and a halo of half a
/// kernel whatever the padding (algorithms.md, V12).
#[test]
fn inner_borders_have_rows_of_the_neighbour_and_no_padding() {
    let same = square(3, 1, 1)[0];
    for (tile, wanted) in [((0, 6), (0, 7)), ((6, 12), (5, 12))] {
        let need = same.need(Interval::new(tile.0, tile.1), 12);
        assert_eq!((need.interval.start, need.interval.end), wanted);
        let piece = Window {
            pad_before: need.pad_before,
            pad_after: need.pad_after,
            ..same
        };
        assert_eq!(piece.output(need.interval.len()), 6, "not 7");
    }
    let unpadded = square(3, 1, 0)[0];
    assert_eq!(
        unpadded.need(Interval::new(0, 13), 28).interval,
        Interval::new(0, 15)
    );
}

/// VGG-16's convolutions and pools on one channel path; the channels are its own.
fn vgg16() -> (Graph, Vec<ActivationId>) {
    let mut b = GraphBuilder::new("vgg16");
    let mut x = b.input(&[1, 3, 224, 224]);
    let mut all = Vec::new();
    for (channels, count) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..count {
            x = b.conv(x, channels, square(3, 1, 1), 1);
            all.push(x);
            x = b.relu(x);
        }
        x = b.pool(x, PoolKind::Max, square(2, 2, 0));
        all.push(x);
    }
    (b.finish(&[x]), all)
}

#[test]
fn vgg16_has_its_published_heights_and_work() {
    let (graph, all) = vgg16();
    let heights: Vec<usize> = all.iter().map(|&a| graph.activation(a).shape[2]).collect();
    assert_eq!(
        heights,
        [224, 224, 112, 112, 112, 56, 56, 56, 56, 28, 28, 28, 28, 14, 14, 14, 14, 7]
    );
    let total: u64 = graph.node_ids().map(|id| macs(&graph, id)).sum();
    assert_eq!(total, 15_346_630_656, "15.347 G");
}

#[test]
fn vgg16_pool5_sees_212_rows_and_jumps_32() {
    let (graph, all) = vgg16();
    let pool5 = all[all.len() - 1];
    let nodes: Vec<NodeId> = graph.node_ids().collect();
    let seen = |row: usize| {
        let asked = graph.whole(pool5).with_axis(2, Interval::new(row, row + 1));
        let outputs = [(pool5, asked)];
        let regions = piece_regions(&graph, &nodes, &outputs, &Default::default());
        regions.expect("rows that fit")[&graph.inputs[0]].0[2]
    };
    // A receptive field of 212 rows, 32 apart; the first begins 90 rows above the image.
    for row in 0..7 {
        let start = 32 * row as i64 - 90;
        let clamp = |i: i64| i.clamp(0, 224) as usize;
        assert_eq!(
            seen(row),
            Interval::new(clamp(start), clamp(start + 212)),
            "row {row}"
        );
    }
}

fn boxes(shape: &[usize]) -> Vec<Region> {
    let mut all = vec![vec![]];
    for &length in shape {
        let mut next = Vec::new();
        for axes in &all {
            for start in 0..=length {
                for end in start..=length {
                    let mut axes: Vec<Interval> = axes.clone();
                    axes.push(Interval::new(start, end));
                    next.push(axes);
                }
            }
        }
        all = next;
    }
    all.into_iter().map(Region).collect()
}

fn elements(region: &Region) -> BTreeSet<Vec<usize>> {
    indices(region).into_iter().collect()
}

#[test]
fn boxes_are_sets_of_elements() {
    let all = boxes(&[3, 4]);
    for a in &all {
        let own = elements(a);
        assert_eq!((own.len(), own.is_empty()), (a.volume(), a.is_empty()));
        for b in &all {
            let other = elements(b);
            assert_eq!(elements(&a.intersect(b)), &own & &other, "{a} and {b}");
            assert_eq!(a.contains(b), other.is_subset(&own), "{a} and {b}");
            let rest = a.minus(b);
            let joined: Vec<_> = rest.iter().flat_map(indices).collect();
            assert_eq!(
                joined.len(),
                (&own - &other).len(),
                "disjoint: {a} minus {b}"
            );
            assert_eq!(joined.into_iter().collect::<BTreeSet<_>>(), &own - &other);
            let hull = a.hull(b);
            assert!(hull.contains(a) && hull.contains(b));
            let tight = boxes(&[3, 4])
                .into_iter()
                .filter(|c| c.contains(a) && c.contains(b));
            assert_eq!(
                tight.map(|c| c.volume()).min(),
                Some(hull.volume()),
                "{a} and {b}"
            );
        }
    }
}

#[test]
fn what_is_left_of_a_box_is_disjoint_and_complete() {
    let mut random = Random(5);
    let all = boxes(&[3, 3, 3]);
    let mut pick = || all[random.below(all.len())].clone();
    for _ in 0..3000 {
        let (whole, holes) = (pick(), [pick(), pick(), pick()]);
        let mut wanted = elements(&whole);
        for hole in &holes {
            wanted = &wanted - &elements(hole);
        }
        let joined: Vec<_> = whole.minus_all(&holes).iter().flat_map(indices).collect();
        assert_eq!(joined.len(), wanted.len());
        assert_eq!(joined.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
    let scalar = Region(vec![]);
    assert_eq!(scalar.volume(), 1);
    assert!(scalar.minus(&scalar).is_empty());
    assert_eq!(runs(&scalar, &scalar, &scalar).len(), 1);
}

#[test]
fn copies_move_each_element_of_the_box_and_no_other() {
    let mut random = Random(6);
    let all: Vec<Region> = boxes(&[2, 3, 3])
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    let flat = |outer: &Region, index: &[usize]| {
        let axes = outer.0.iter().zip(index);
        axes.fold(0, |flat, (axis, i)| flat * axis.len() + i - axis.start)
    };
    let mut copied = 0;
    for _ in 0..6000 {
        let (source, target) = (&all[random.below(all.len())], &all[random.below(all.len())]);
        let common = source.intersect(target);
        let inner: Vec<&Region> = all.iter().filter(|r| common.contains(r)).collect();
        if inner.is_empty() {
            continue;
        }
        let region = inner[random.below(inner.len())];
        let from: Vec<u8> = (0..2 * source.volume()).map(|i| i as u8 + 1).collect();
        let mut into = vec![0; 2 * target.volume()];
        copy_box((&from, source), (&mut into, target), region, 2);
        let mut wanted = vec![0; 2 * target.volume()];
        for index in indices(region) {
            let (a, b) = (2 * flat(source, &index), 2 * flat(target, &index));
            wanted[b..b + 2].copy_from_slice(&from[a..a + 2]);
        }
        assert_eq!(into, wanted, "{region} of {source} into {target}");
        let length: usize = runs(source, target, region)
            .iter()
            .map(|run| run.length)
            .sum();
        assert_eq!(length, region.volume());
        copied += 1;
    }
    assert!(copied > 1000, "{copied}");
}

/// Needs are what evaluation asks for: never less, and for one node not more where the operator's
/// own rounding and gaps between taps leave nothing out.
#[test]
fn a_pieces_regions_contain_all_that_its_outputs_ask_for() {
    let mut exact = 0;
    for seed in 0..150 {
        let mut random = Random(seed);
        let size = 2 + random.below(8);
        let graph = random_graph(&mut random, size);
        let nodes: Vec<NodeId> = graph.node_ids().collect();
        for &output in &graph.outputs {
            let mut asked = graph.whole(output);
            for axis in 1..asked.rank() {
                let (a, b) = (
                    random.below(asked.0[axis].len()),
                    random.below(asked.0[axis].len()),
                );
                asked.0[axis] = Interval::new(a.min(b), a.max(b) + 1);
            }
            let outputs = [(output, asked.clone())];
            let found = piece_regions(&graph, &nodes, &outputs, &Default::default());
            let found = found.expect("a box that fits");
            let mut evaluator = Evaluator::new(&graph, &nodes);
            graph
                .inputs
                .iter()
                .for_each(|&input| evaluator.give_whole(input));
            for index in indices(&asked) {
                evaluator.at(output, &index).expect("a whole model");
            }
            for (activation, region) in &evaluator.asked {
                let need = &found[activation];
                assert!(
                    need.contains(region),
                    "seed {seed}: {activation} {region}, {need}"
                );
                exact += usize::from(need == region);
            }
        }
    }
    assert!(exact > 500, "{exact} are exact");
}

#[test]
fn every_operator_needs_what_its_elements_ask_for() {
    let mut b = GraphBuilder::new("operators");
    let x = b.input(&[1, 4, 5, 6]);
    let grouped = b.conv(x, 6, square(3, 2, 1), 2);
    let joined = b.concat(&[x, x]);
    let normal = b.normalize(joined);
    let summed = b.global_sum(normal);
    let flat = b.flatten(x);
    let dense = b.gemm(flat, 3);
    let soft = b.softmax(dense);
    let halves = b.halves(x);
    let pooled = b.pool(x, PoolKind::Max, square(3, 2, 1));
    let graph = b.finish(&[grouped, summed, soft, halves[0], pooled]);
    let nodes: Vec<NodeId> = graph.node_ids().collect();
    for id in graph.node_ids() {
        let node = graph.node(id);
        let shape = graph.activation(node.outputs[0]).shape.clone();
        for asked in boxes_of(&shape) {
            let made = autodice::graph::computable(&graph, id, &asked);
            assert!(made.contains(&asked), "{}", node.name);
            let mut evaluator = Evaluator::new(&graph, &nodes);
            graph
                .inputs
                .iter()
                .for_each(|&input| evaluator.give_whole(input));
            for index in indices(&made) {
                evaluator
                    .at(node.outputs[0], &index)
                    .expect("a whole model");
            }
            for (_, activation, need) in input_needs(&graph, id, &made) {
                let Some(region) = evaluator.asked.get(&activation) else {
                    assert!(need.is_empty(), "{}: {need} is not asked for", node.name);
                    continue;
                };
                let hull = input_needs(&graph, id, &made)
                    .into_iter()
                    .filter(|(_, other, _)| *other == activation)
                    .fold(need, |hull, (_, _, need)| hull.hull(&need));
                // Its own producers ask too where the activation is not an input.
                if graph.activation(activation).producer.is_none() && node.activations().count() > 0
                {
                    let direct = node.activations().any(|a| a == activation);
                    assert!(
                        direct && hull == *region,
                        "{} {asked}: {hull}, {region}",
                        node.name
                    );
                } else {
                    assert!(
                        hull.contains(region),
                        "{} {asked}: {hull}, {region}",
                        node.name
                    );
                }
            }
        }
    }
}

/// Some boxes of a shape: every interval along one axis, whole along the others.
fn boxes_of(shape: &[usize]) -> Vec<Region> {
    let whole = Region::whole(shape);
    let mut all = vec![whole.clone()];
    for (axis, &length) in shape.iter().enumerate().skip(1) {
        for start in 0..length {
            for end in start + 1..=length {
                all.push(whole.with_axis(axis, Interval::new(start, end)));
            }
        }
    }
    all
}

/// The rule against a list of every tap, and the piece that it describes: as long as what is
/// asked for, with every tap where the whole model has it.
#[test]
fn transposed_windows_need_what_their_taps_reach() {
    let mut cases = 0;
    for (k, s, d) in (1..=4).flat_map(|k| (1..=4).flat_map(move |s| [(k, s, 1), (k, s, 2)])) {
        for (pad_before, pad_after, extra) in [
            (0, 0, 0),
            (1, 0, 0),
            (0, 2, 1),
            (2, 1, 0),
            (1, 1, 3),
            (5, 0, 6),
        ] {
            let window = Window {
                kernel: k,
                stride: s,
                dilation: d,
                pad_before,
                pad_after,
                ceil: false,
            };
            for input in 1..=4usize {
                let Some(length) = window.transposed_output(input, extra) else {
                    continue;
                };
                let taps: Vec<(usize, i64)> = (0..input)
                    .flat_map(|i| (0..k).map(move |t| (i, (i * s + t * d) as i64)))
                    .map(|(i, full)| (i, full - pad_before as i64))
                    .collect();
                for (a, b) in (0..length).flat_map(|a| (a + 1..=length).map(move |b| (a, b))) {
                    check_transposed(&window, (a, b), input, &taps);
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 20_000, "{cases}");
    let none = Window::POINT.transposed_need(Interval::new(2, 2), 4);
    assert!(none.interval.is_empty());
}

fn check_transposed(window: &Window, (a, b): (usize, usize), input: usize, taps: &[(usize, i64)]) {
    let place = format!("{window:?}: {a}:{b} of {input}");
    let inside = |to: i64| (a as i64..b as i64).contains(&to);
    let reaching = taps.iter().filter(|tap| inside(tap.1)).map(|tap| tap.0);
    let (low, high) = (reaching.clone().min(), reaching.max());
    let need = window.transposed_need(Interval::new(a, b), input);
    match (low, high) {
        (Some(low), Some(high)) => {
            assert_eq!(need.interval, Interval::new(low, high + 1), "{place}")
        }
        _ => assert!(need.interval.is_empty(), "{place}"),
    }
    let held = need.zeros_before + need.interval.len() + need.zeros_after;
    let piece = Window {
        pad_before: need.crop_before,
        pad_after: need.crop_after,
        ..*window
    };
    assert_eq!(piece.transposed_output(held, 0), Some(b - a), "{place}");
    for i in need.interval.start..need.interval.end {
        let own = (need.zeros_before + i - need.interval.start) * window.stride;
        let own = own as i64 - need.crop_before as i64;
        let whole = (i * window.stride) as i64 - window.pad_before as i64;
        assert_eq!(own, whole - a as i64, "{place}");
    }
}

/// One node over random boxes: what it needs is the hull of what evaluation asks for.
#[test]
fn needs_of_one_node_are_what_its_elements_ask_for() {
    let mut random = Random(8);
    let mut exact = 0;
    for case in 0..400 {
        let mut builder = GraphBuilder::new("one");
        let shape = [1, 4, 2 + random.below(4), 2 + random.below(4)];
        let x = builder.input(&shape);
        let mut windows = |least: usize| -> Vec<Window> {
            (0..2)
                .map(|_| Window {
                    kernel: least + random.below(4),
                    stride: 1 + random.below(3),
                    dilation: 1 + random.below(2),
                    pad_before: random.below(2),
                    pad_after: random.below(2),
                    ceil: false,
                })
                .collect()
        };
        let made = match case % 4 {
            0 => {
                let windows = windows(3);
                let groups = [1, 2, 4][random.below(3)];
                builder.conv_transpose(x, 4, windows, (groups, random.below(3)))
            }
            1 => {
                let pads = windows(1).into_iter().map(|w| Window {
                    pad_before: w.pad_before,
                    pad_after: w.pad_after,
                    ..Window::POINT
                });
                builder.pad(x, pads.collect())
            }
            2 => builder.resize(x, &[1 + random.below(3), 1 + random.below(3)]),
            _ => builder.across(x, &[vec![1], vec![2], vec![2, 3], vec![]][random.below(4)]),
        };
        let graph = builder.finish(&[made]);
        let node = graph.activation(made).producer.expect("a node");
        for _ in 0..6 {
            let mut asked = graph.whole(made);
            for axis in 1..4 {
                let length = asked.0[axis].len();
                let (a, b) = (random.below(length), random.below(length));
                asked.0[axis] = Interval::new(a.min(b), a.max(b) + 1);
            }
            let asked = computable(&graph, node, &asked);
            let nodes = [node];
            let mut evaluator = Evaluator::new(&graph, &nodes);
            evaluator.give_whole(x);
            for index in indices(&asked) {
                evaluator.at(made, &index).expect("a whole model");
            }
            let need = input_needs(&graph, node, &asked).remove(0).2;
            match evaluator.asked.get(&x) {
                Some(hull) => assert_eq!(need, *hull, "{:?} {asked}", graph.node(node).op),
                None => assert!(need.is_empty(), "{:?} {asked}: {need}", graph.node(node).op),
            }
            exact += 1;
        }
    }
    assert_eq!(exact, 2400);
}

/// The answers by kind, and against the needs: where a node is not to be cut along an axis, one
/// index of the output needs all of the input's.
#[test]
fn what_can_be_cut_along_an_axis() {
    let mut b = GraphBuilder::new("kinds");
    let x = b.input(&[1, 4, 6, 6]);
    let windows = square(3, 1, 1);
    let one = b.global_sum(x);
    let flat = b.flatten(x);
    let cases = [
        (b.conv(x, 4, windows.clone(), 1), [true, true], false),
        (b.conv(x, 8, windows.clone(), 4), [true, true], true),
        (
            b.conv_transpose(x, 4, windows.clone(), (1, 0)),
            [true, true],
            false,
        ),
        (
            b.conv_transpose(x, 4, windows.clone(), (2, 0)),
            [true, true],
            true,
        ),
        (b.pool(x, PoolKind::Max, windows), [true, true], true),
        (b.pad(x, square(1, 1, 2)), [true, true], true),
        (b.resize(x, &[2, 3]), [true, true], true),
        (b.relu(x), [true, true], true),
        (b.normalize(x), [true, true], true),
        (b.concat(&[x, x]), [true, true], false),
        (b.across(x, &[1]), [true, true], false),
        (b.across(x, &[2, 3]), [false, false], true),
        (one, [false, false], true),
        (b.relu(one), [false, false], true),
        (flat, [false, false], true),
        (b.gemm(flat, 5), [false, false], false),
        (b.softmax(x), [false, false], false),
    ];
    let outputs: Vec<ActivationId> = cases.iter().map(|case| case.0).collect();
    let graph = b.finish(&outputs);
    for (made, space, channels) in cases {
        let node = graph.activation(made).producer.expect("a node");
        let op = &graph.node(node).op;
        let found = [cuttable(&graph, node, 2), cuttable(&graph, node, 3)];
        assert_eq!(
            (found, channelwise(&graph, node)),
            (space, channels),
            "{op:?}"
        );
        for axis in 2..graph.whole(made).rank() {
            let one = graph.whole(made).with_axis(axis, Interval::new(0, 1));
            let one = computable(&graph, node, &one);
            let (_, read, need) = input_needs(&graph, node, &one).remove(0);
            let whole = need.0[axis] == graph.whole(read).0[axis];
            assert_eq!(whole, !space[axis - 2], "{op:?}");
        }
    }
}
