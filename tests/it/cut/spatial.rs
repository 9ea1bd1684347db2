//! Transposed convolutions, enlarging, padding and operators across axes, over parts of their
//! output.

use std::process::Command;

use autodice::geometry::{Interval, Region, Window};
use autodice::graph::{channelwise, cuttable, Attribute, Dtype, Op, PoolKind, Value};
use autodice::ids::NodeId;
use autodice::model::folder::write;

use super::fixture::{add, cuts, int, ints, Fixture, Net, Random, RANK};

fn text(text: &str) -> Attribute {
    Attribute::Text(text.into())
}

fn integers(items: &[i64]) -> Value {
    Value {
        dtype: Dtype::I64,
        shape: vec![items.len()],
        bytes: items.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// A Resize by scales, as the opset writes it.
fn resize(net: &mut Net, opset: i64, name: &str, x: &str, scales: &[f32], how: [&str; 2]) {
    let scales = Value::from_f32(&[scales.len()], scales);
    let scales = net.constant(&format!("{name}.scales"), &scales);
    let mode = ("mode", text("nearest"));
    if opset < 11 {
        net.node("Resize", name, &[x, &scales], &[mode]);
        return;
    }
    let roi = net.constant(&format!("{name}.roi"), &Value::from_f32(&[0], &[]));
    let attributes = [
        mode,
        ("coordinate_transformation_mode", text(how[0])),
        ("nearest_mode", text(how[1])),
    ];
    net.node("Resize", name, &[x, &roi, &scales], &attributes);
}

fn pad(net: &mut Net, opset: i64, name: &str, x: &str, pads: &[i64]) {
    if opset < 11 {
        let pads = ("pads", Attribute::Ints(pads.to_vec()));
        net.node("Pad", name, &[x], &[pads]);
        return;
    }
    let pads = net.constant(&format!("{name}.pads"), &integers(pads));
    net.node("Pad", name, &[x, &pads], &[]);
}

/// Whether pieces of the node over this box are what the whole model has there.
fn equal(fixture: &Fixture, node: NodeId, region: &Region) -> bool {
    let output = fixture.source.graph.node(node).outputs[0];
    let plan = fixture.piece(&[node], &[(output, region.clone())]);
    let Ok(sub_model) = fixture.cut(&plan, 0) else {
        return false;
    };
    let found = fixture.run_on(sub_model, &fixture.inputs(&plan, 0));
    let expected = fixture.crop(output, region);
    let exact = fixture.source.graph.node(node).op_type != "Softmax";
    found.is_ok_and(|found| match exact {
        true => found == [expected],
        false => near(&found[0], &expected),
    })
}

/// tract has two exponentials, one for lines that lie together and one for others; both are right
/// to a few units of the last place, and which one runs follows from the shape.
fn near(found: &Value, expected: &Value) -> bool {
    let pairs = expected.to_f32();
    let mut pairs = found.to_f32().into_iter().zip(pairs);
    found.shape == expected.shape && pairs.all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs())
}

/// Every interval of an axis of every node.
fn check_intervals(fixture: &Fixture, axis: usize) -> usize {
    let mut pieces = 0;
    for id in fixture.source.graph.node_ids() {
        let output = fixture.source.graph.node(id).outputs[0];
        let whole = fixture.source.graph.whole(output);
        let length = whole.0[axis].len();
        for start in 0..length {
            for end in start + 1..=length {
                fixture.check_node(id, &whole.with_axis(axis, Interval::new(start, end)));
                pieces += 1;
            }
        }
    }
    pieces
}

fn check_boxes(fixture: &Fixture, seed: u64, count: usize) {
    let mut random = Random(seed);
    let graph = &fixture.source.graph;
    for id in graph.node_ids() {
        let whole = graph.whole(graph.node(id).outputs[0]);
        let halves = (1..whole.rank()).flat_map(|axis| {
            let halves = cuts(whole.0[axis].len()).flatten();
            let whole = &whole;
            halves.map(move |half| whole.with_axis(axis, half))
        });
        let boxes = (0..count).map(|_| random.region(&whole.shape()));
        for region in std::iter::once(whole.clone()).chain(halves).chain(boxes) {
            let node = graph.node(id);
            assert!(equal(fixture, id, &region), "{region} of {node:?}");
        }
    }
}

#[test]
fn every_interval_of_every_small_1d_transposed_convolution() {
    let mut net = Net::new(13, 30);
    let x = net.input("x", &[1, 2, 3]);
    let mut nodes = 0;
    for k in 1..=4usize {
        for (s, d) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)] {
            for (before, after) in [(0, 0), (1, 0), (0, 2), (2, 1)] {
                for extra in 0..s.max(d).min(2) {
                    let extent = d * (k - 1) + 1;
                    if 2 * s + extent + extra <= before + after {
                        continue;
                    }
                    let name = format!("t{nodes}");
                    let w = net.weight(&format!("{name}.w"), &[2, 1, k]);
                    let b = net.weight(&format!("{name}.b"), &[1]);
                    let attributes = [
                        ("strides", ints(&[s])),
                        ("pads", ints(&[before, after])),
                        ("dilations", ints(&[d])),
                        ("output_padding", ints(&[extra])),
                    ];
                    net.node("ConvTranspose", &name, &[&x, &w, &b], &attributes);
                    nodes += 1;
                }
            }
        }
    }
    let fixture = net.finish();
    assert_eq!(fixture.source.graph.nodes.len(), nodes);
    let known = |op: &Op| matches!(op, Op::ConvTranspose { .. });
    assert!(fixture.source.graph.nodes.iter().all(|n| known(&n.op)));
    let pieces = check_intervals(&fixture, 2);
    assert!(nodes > 140 && pieces > 4000, "{nodes} {pieces}");
}

/// Transposed convolutions of everything that may vary, on `[1, 4, 5, 6]`.
fn transposed(seed: u64, opset: i64) -> Fixture {
    let mut random = Random(seed);
    let mut net = Net::new(opset, seed);
    let x = net.input("x", &[1, 4, 5, 6]);
    for i in 0..24 {
        let mut pick = |low: usize, high: usize| low + random.below(high - low + 1);
        let (k, s) = ([pick(1, 5), pick(1, 5)], [pick(1, 3), pick(1, 3)]);
        let d = [pick(1, 2), pick(1, 2)];
        let groups = [1, 1, 2, 4][pick(0, 3)];
        let out = groups * pick(1, 2);
        let name = format!("n{i}");
        let w = net.weight(&format!("{name}.w"), &[4, out / groups, k[0], k[1]]);
        let b = net.weight(&format!("{name}.b"), &[out]);
        let mut attributes = vec![
            ("strides", ints(&s)),
            ("dilations", ints(&d)),
            ("group", int(groups as i64)),
        ];
        match pick(0, 4) {
            0 => attributes.push(("auto_pad", text("VALID"))),
            1 if (0..2).all(|axis| (k[axis] - 1) * d[axis] >= s[axis]) => {
                let same = ["SAME_UPPER", "SAME_LOWER"][pick(0, 1)];
                attributes.push(("auto_pad", text(same)));
            }
            _ => {
                attributes.push((
                    "pads",
                    ints(&[pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2)]),
                ));
                let extra = [pick(0, s[0].max(d[0]) - 1), pick(0, s[1].max(d[1]) - 1)];
                attributes.push(("output_padding", ints(&extra)));
            }
        }
        let inputs = [&x[..], &w, &b];
        net.node("ConvTranspose", &name, &inputs[..pick(2, 3)], &attributes);
    }
    net.finish()
}

#[test]
fn random_boxes_of_2d_transposed_convolutions() {
    for (seed, opset) in [(31, 9), (32, 13), (33, 17)] {
        let fixture = transposed(seed, opset);
        let nodes = fixture.source.graph.nodes.iter();
        let known = |op: &Op| matches!(op, Op::ConvTranspose { .. });
        assert!(nodes.into_iter().all(|node| known(&node.op)));
        check_boxes(&fixture, seed, 8);
    }
}

#[test]
fn a_transposed_convolutions_sum_is_shared_over_channels() {
    let fixture = transposed(34, 13);
    let graph = &fixture.source.graph;
    let mut random = Random(35);
    let mut shared = 0;
    for id in graph.node_ids() {
        let node = graph.node(id);
        if !matches!(node.op, Op::ConvTranspose { groups: 1, .. }) {
            continue;
        }
        let input = node.activations().next().unwrap();
        let whole = graph.whole(input);
        for halves in cuts(4) {
            let boxes = halves.map(|half| whole.with_axis(1, half));
            let out = node.outputs[0];
            let region = random.region(&graph.activation(out).shape);
            let mut builder = fixture.builder();
            let sum = builder.sum(id, boxes.to_vec());
            let source = builder.whole(RANK, input);
            for member in 0..2 {
                let part = builder.partial(RANK, out, region.clone(), sum, &[member]);
                let outputs = vec![(part, region.clone())];
                builder
                    .piece_needing(RANK, &[id], &[source], outputs)
                    .unwrap();
            }
            let plan = builder.build();
            // Where the region needs nothing of the input, a summand is the bias alone.
            if plan.ranks[0].pieces[0].inputs.is_empty() {
                continue;
            }
            let values: Vec<_> = (0..2)
                .map(|piece| fixture.run(&plan, piece).remove(0))
                .collect();
            assert_eq!(add(&values), fixture.crop(out, &region), "{region}");
            shared += 1;
        }
    }
    assert!(shared > 20, "{shared}");
}

#[test]
fn enlarging_by_whole_factors_is_cut_where_it_repeats() {
    for opset in [10, 11, 13, 18] {
        let mut net = Net::new(opset, 36);
        let x = net.input("x", &[1, 2, 3, 4]);
        let line = net.input("line", &[1, 3, 5]);
        let floor = ["asymmetric", "floor"];
        let largest = if opset == 10 { 2.0 } else { 3.0 };
        resize(
            &mut net,
            opset,
            "both",
            &x,
            &[1.0, 1.0, 2.0, largest],
            floor,
        );
        resize(&mut net, opset, "rows", &x, &[1.0, 1.0, 2.0, 1.0], floor);
        resize(&mut net, opset, "line2", &line, &[1.0, 1.0, 2.0], floor);
        if opset > 10 {
            let half = ["half_pixel", "round_prefer_floor"];
            resize(&mut net, opset, "half", &x, &[1.0, 1.0, 4.0, 3.0], half);
            let two = ["asymmetric", "round_prefer_floor"];
            resize(&mut net, opset, "two", &x, &[1.0, 1.0, 2.0, 2.0], two);
            let roi = net.constant("roi", &Value::from_f32(&[0], &[]));
            let none = net.constant("none", &Value::from_f32(&[0], &[]));
            let sizes = net.constant("sizes", &integers(&[1, 2, 9, 8]));
            let nearest = [
                ("mode", text("nearest")),
                ("coordinate_transformation_mode", text("asymmetric")),
                ("nearest_mode", text("floor")),
            ];
            let inputs = [&x[..], &roi, &none, &sizes];
            net.node("Resize", "sized", &inputs, &nearest);
        }
        let fixture = net.finish();
        for node in &fixture.source.graph.nodes {
            assert!(matches!(node.op, Op::Resize { .. }), "{opset} {node:?}");
        }
        check_boxes(&fixture, 37, 8);
    }
}

#[test]
fn enlarging_that_does_not_repeat_stays_whole() {
    let mut net = Net::new(11, 38);
    let x = net.input("x", &[1, 2, 3, 4]);
    let three = [1.0, 1.0, 3.0, 3.0];
    resize(
        &mut net,
        11,
        "rounded",
        &x,
        &three,
        ["asymmetric", "round_prefer_floor"],
    );
    resize(&mut net, 11, "early", &x, &three, ["half_pixel", "floor"]);
    resize(
        &mut net,
        11,
        "corners",
        &x,
        &three,
        ["align_corners", "floor"],
    );
    let part = [1.0, 1.0, 2.4, 2.0];
    resize(&mut net, 11, "part", &x, &part, ["asymmetric", "floor"]);
    let fixture = net.finish();
    for node in &fixture.source.graph.nodes {
        assert_eq!(node.op, Op::Opaque, "{}", node.name);
    }
    check_boxes(&fixture, 39, 2);
}

#[test]
fn zeros_around_the_image_belong_to_its_borders() {
    for opset in [9, 13, 18] {
        let mut net = Net::new(opset, 40);
        let x = net.input("x", &[1, 2, 4, 3]);
        pad(&mut net, opset, "around", &x, &[0, 0, 1, 2, 0, 0, 3, 1]);
        pad(&mut net, opset, "rows", &x, &[0, 0, 2, 0, 0, 0, 2, 0]);
        pad(&mut net, opset, "none", &x, &[0; 8]);
        let line = net.input("line", &[1, 2, 5]);
        pad(&mut net, opset, "line_around", &line, &[0, 0, 2, 0, 0, 1]);
        let fixture = net.finish();
        for node in &fixture.source.graph.nodes {
            assert!(matches!(node.op, Op::Pad { .. }), "{opset} {node:?}");
        }
        check_boxes(&fixture, 41, 12);
    }
    // Other paddings are made whole.
    let mut net = Net::new(13, 42);
    let x = net.input("x", &[1, 2, 4, 3]);
    pad(&mut net, 13, "channels", &x, &[0, 1, 1, 1, 0, 0, 1, 1]);
    let pads = net.constant("pads", &integers(&[0, 0, 1, 1, 0, 0, 1, 1]));
    let one = net.constant("one", &Value::from_f32(&[], &[1.0]));
    net.node("Pad", "ones", &[&x, &pads, &one], &[]);
    net.node("Pad", "edge", &[&x, &pads], &[("mode", text("edge"))]);
    let fixture = net.finish();
    for node in &fixture.source.graph.nodes {
        assert_eq!(node.op, Op::Opaque, "{}", node.name);
    }
    check_boxes(&fixture, 43, 2);
}

/// Softmax, LRN and reductions, with the axes that each works across.
fn across(opset: i64) -> (Fixture, Vec<(&'static str, Vec<usize>)>) {
    let mut net = Net::new(opset, 44);
    let x = net.input("x", &[1, 5, 4, 6]);
    let mut all = vec![];
    for (name, size) in [("lrn3", 3), ("lrn4", 4)] {
        let float = |x: f32| Attribute::Float(x.to_bits());
        let attributes = [
            ("size", int(size)),
            ("alpha", float(3.0)),
            ("bias", float(2.0)),
        ];
        net.node("LRN", name, &[&x], &attributes);
        all.push((name, vec![1]));
    }
    for (name, axis) in [("soft1", 1), ("soft2", 2), ("soft3", 3)] {
        net.node("Softmax", name, &[&x], &[("axis", int(axis as i64))]);
        all.push((
            name,
            if opset < 13 {
                (axis..4).collect()
            } else {
                vec![axis]
            },
        ));
    }
    let kept = ("keepdims", int(1));
    for (name, op_type, axis) in [
        ("mean1", "ReduceMean", 1),
        ("most1", "ReduceMax", 1),
        ("least3", "ReduceMin", 3),
    ] {
        if opset < 18 {
            let axes = ("axes", ints(&[axis]));
            net.node(op_type, name, &[&x], &[axes, kept.clone()]);
        } else {
            let axes = net.constant(&format!("{name}.axes"), &integers(&[axis as i64]));
            net.node(op_type, name, &[&x, &axes], std::slice::from_ref(&kept));
        }
        all.push((name, vec![axis]));
    }
    if opset < 13 {
        let axes = ("axes", ints(&[1]));
        net.node("ReduceSum", "sum1", &[&x], &[axes, kept]);
    } else {
        let axes = net.constant("sum1.axes", &integers(&[1]));
        net.node("ReduceSum", "sum1", &[&x, &axes], &[kept]);
    }
    all.push(("sum1", vec![1]));
    (net.finish(), all)
}

#[test]
fn what_works_across_an_axis_is_cut_along_the_others() {
    for opset in [9, 13, 18] {
        let (fixture, all) = across(opset);
        for (name, axes) in all {
            let node = fixture.source.graph.node(fixture.node(name));
            assert_eq!(node.op, Op::Across { axes }, "opset {opset} {name}");
        }
        check_boxes(&fixture, 45, 8);
    }
}

#[test]
fn counted_padding_and_what_rounding_up_adds_in_two_axes() {
    let mut random = Random(46);
    let mut net = Net::new(13, 46);
    let x = net.input("x", &[1, 2, 7, 8]);
    for i in 0..60 {
        let mut pick = |low: usize, high: usize| low + random.below(high - low + 1);
        let (k, s) = ([pick(1, 5), pick(1, 5)], [pick(1, 3), pick(1, 3)]);
        let mut pad = |axis: usize| pick(0, 2.min(k[axis] - 1));
        let pads = [pad(0), pad(1), pad(0), pad(1)];
        let attributes = [
            ("kernel_shape", ints(&k)),
            ("strides", ints(&s)),
            ("pads", ints(&pads)),
            ("ceil_mode", int(1)),
            ("count_include_pad", int(i % 4 / 2)),
        ];
        net.node("AveragePool", &format!("p{i}"), &[&x], &attributes);
    }
    let fixture = net.finish();
    for node in &fixture.source.graph.nodes {
        assert!(matches!(node.op, Op::Pool { .. }), "{node:?}");
    }
    check_boxes(&fixture, 47, 6);
    for id in fixture.source.graph.node_ids() {
        mean_of_windows(&fixture, id);
    }
}

/// The whole model's means against ONNX's words: padding counts where it is asked for, what
/// rounding up adds behind it never does.
fn mean_of_windows(fixture: &Fixture, id: NodeId) {
    let graph = &fixture.source.graph;
    let node = graph.node(id);
    let Op::Pool { windows, kind } = &node.op else {
        panic!("a pool");
    };
    let counts = kind.eq(&PoolKind::Average {
        count_padding: true,
    });
    let (x, y) = (node.activations().next().unwrap(), node.outputs[0]);
    let (shape, made) = (&graph.activation(x).shape, &graph.activation(y).shape);
    let data = fixture.crop(x, &graph.whole(x)).to_f32();
    let found = fixture.crop(y, &graph.whole(y)).to_f32();
    let mut found = found.into_iter();
    for channel in 0..shape[1] {
        for (row, column) in (0..made[2]).flat_map(|r| (0..made[3]).map(move |c| (r, c))) {
            let (mut sum, mut count) = (0.0, 0);
            let [tall, wide] = [windows[0].kernel, windows[1].kernel];
            for (a, b) in (0..tall).flat_map(|a| (0..wide).map(move |b| (a, b))) {
                let at = [row * windows[0].stride + a, column * windows[1].stride + b];
                let held = |axis: usize| {
                    let from = windows[axis].pad_before;
                    at[axis] >= from && at[axis] < from + shape[axis + 2]
                };
                let padded = |axis: usize| {
                    let window = &windows[axis];
                    at[axis] < window.pad_before + shape[axis + 2] + window.pad_after
                };
                if held(0) && held(1) {
                    let (r, c) = (at[0] - windows[0].pad_before, at[1] - windows[1].pad_before);
                    sum += data[(channel * shape[2] + r) * shape[3] + c];
                    count += 1;
                } else if counts && padded(0) && padded(1) {
                    count += 1;
                }
            }
            let mean = sum / count as f32;
            let own = found.next().unwrap();
            assert!((own - mean).abs() < 1e-5, "{node:?}: {own}, {mean}");
        }
    }
}

/// A network that goes down and up again, as for segmentation.
fn down_and_up() -> Fixture {
    let mut net = Net::new(13, 60);
    let x = net.input("x", &[1, 2, 8, 6]);
    let clip = |net: &mut Net, x: &str, name: &str| {
        let low = net.constant(&format!("{name}.low"), &Value::from_f32(&[], &[-4.0]));
        let high = net.constant(&format!("{name}.high"), &Value::from_f32(&[], &[4.0]));
        net.node("Clip", name, &[x, &low, &high], &[])
    };
    let a = net.conv("a", &x, (2, 4), 3);
    let a = clip(&mut net, &a, "a.small");
    let pool = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    let low = net.node("MaxPool", "low", &[&a], &pool);
    let low = net.conv("b", &low, (4, 3), 3);
    let low = clip(&mut net, &low, "b.small");
    let w = net.weight("up.w", &[3, 2, 3, 3]);
    let b = net.weight("up.b", &[2]);
    let attributes = [
        ("strides", ints(&[2, 2])),
        ("pads", ints(&[1, 1, 1, 1])),
        ("output_padding", ints(&[1, 1])),
    ];
    let up = net.node("ConvTranspose", "up", &[&low, &w, &b], &attributes);
    let up = clip(&mut net, &up, "up.small");
    resize(
        &mut net,
        13,
        "twice",
        &low,
        &[1.0, 1.0, 2.0, 2.0],
        ["asymmetric", "floor"],
    );
    let joined = net.node("Concat", "joined", &["twice", &up, &a], &[("axis", int(1))]);
    pad(&mut net, 13, "around", &joined, &[0, 0, 1, 0, 0, 0, 0, 2]);
    let w = net.weight("c.w", &[3, 9, 2, 3]);
    let c = net.node("Conv", "c", &["around", &w], &[]);
    let axes = [("axes", ints(&[1])), ("keepdims", int(1))];
    net.node("ReduceMax", "most", &[&c], &axes);
    net.finish()
}

#[test]
fn a_network_that_goes_down_and_up_again_over_random_boxes() {
    let fixture = down_and_up();
    let graph = &fixture.source.graph;
    assert!(graph.nodes.iter().all(|node| node.op != Op::Opaque));
    let all: Vec<NodeId> = graph.node_ids().collect();
    let most = fixture.activation("most");
    for half in cuts(8).flatten() {
        let region = graph.whole(most).with_axis(2, half);
        fixture.check(&all, &[(most, region)]);
    }
    let mut random = Random(61);
    for _ in 0..120 {
        let (a, b) = (random.below(all.len()), random.below(all.len()));
        let nodes = &all[a.min(b)..=a.max(b)];
        let made = |node: NodeId| graph.node(node).outputs[0];
        let last = made(nodes[nodes.len() - 1]);
        let other = made(nodes[random.below(nodes.len())]);
        let outputs = [last, other].map(|id| (id, random.region(&graph.activation(id).shape)));
        fixture.check(nodes, &outputs);
    }
}

#[test]
fn a_partial_sum_goes_on_through_enlarging_and_padding_with_every_bias_once() {
    let mut net = Net::new(13, 62);
    let x = net.input("x", &[1, 4, 3, 4]);
    net.conv("a", &x, (4, 2), 3);
    resize(
        &mut net,
        13,
        "twice",
        "a",
        &[1.0, 1.0, 2.0, 2.0],
        ["asymmetric", "floor"],
    );
    pad(&mut net, 13, "around", "twice", &[0, 0, 1, 0, 0, 0, 0, 2]);
    let (w, b) = (net.weight("up.w", &[2, 3, 3, 3]), net.weight("up.b", &[3]));
    let strides = [("strides", ints(&[2, 1]))];
    net.node("ConvTranspose", "up", &["around", &w, &b], &strides);
    let fixture = net.finish();
    let graph = &fixture.source.graph;
    let nodes = ["a", "twice", "around", "up"].map(|name| fixture.node(name));
    let (x, up) = (fixture.activation("x"), fixture.activation("up"));
    let mut random = Random(63);
    for halves in cuts(4) {
        let boxes = halves.map(|half| graph.whole(x).with_axis(1, half));
        for _ in 0..6 {
            let region = random.region(&graph.activation(up).shape);
            let mut builder = fixture.builder();
            let sum = builder.sum(nodes[0], boxes.to_vec());
            let source = builder.whole(RANK, x);
            for member in 0..2 {
                let part = builder.partial(RANK, up, region.clone(), sum, &[member]);
                let outputs = vec![(part, region.clone())];
                builder
                    .piece_needing(RANK, &nodes, &[source], outputs)
                    .unwrap();
            }
            let plan = builder.build();
            if plan.ranks[0].pieces[0].inputs.is_empty() {
                continue;
            }
            let values: Vec<_> = (0..2)
                .map(|piece| fixture.run(&plan, piece).remove(0))
                .collect();
            assert_eq!(add(&values), fixture.crop(up, &region), "{region}");
        }
    }
}

/// A model of each kind that is cut by regions, all planted with a wrong rule in turn: each must
/// be seen in some interval.
#[test]
fn a_wrong_rule_shows_in_some_interval() {
    let caught = |fixture: &Fixture, name: &str, axis: usize| {
        let node = fixture.node(name);
        let whole = fixture.source.graph.whole(fixture.activation(name));
        let mut halves = cuts(whole.0[axis].len()).flatten();
        halves.any(|half| !equal(fixture, node, &whole.with_axis(axis, half)))
    };
    let plant = |fixture: &mut Fixture, name: &str, op: Op| {
        let node = fixture.node(name);
        std::mem::replace(&mut fixture.source.graph.nodes[node.index()].op, op)
    };
    let mut net = Net::new(13, 48);
    let x = net.input("x", &[1, 2, 5, 4]);
    let w = net.weight("w", &[2, 2, 3, 3]);
    let up = [("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))];
    net.node("ConvTranspose", "up", &[&x, &w], &up);
    resize(
        &mut net,
        13,
        "repeat",
        &x,
        &[1.0, 1.0, 2.0, 2.0],
        ["asymmetric", "floor"],
    );
    pad(&mut net, 13, "pad", &x, &[0, 0, 1, 1, 0, 0, 1, 1]);
    let average = [
        ("kernel_shape", ints(&[3, 3])),
        ("strides", ints(&[2, 2])),
        ("pads", ints(&[1, 1, 0, 0])),
        ("ceil_mode", int(1)),
        ("count_include_pad", int(1)),
    ];
    net.node("AveragePool", "mean", &[&x], &average);
    let size = [
        ("size", int(3)),
        ("alpha", Attribute::Float(2f32.to_bits())),
    ];
    net.node("LRN", "lrn", &[&x], &size);
    net.node("Softmax", "soft", &[&x], &[("axis", int(2))]);
    let mut fixture = net.finish();
    for name in ["up", "repeat", "pad", "mean", "lrn", "soft"] {
        assert!((1..4).all(|axis| !caught(&fixture, name, axis)), "{name}");
    }

    let window = |change: &dyn Fn(&mut Window), of: &Op| {
        let mut op = of.clone();
        match &mut op {
            Op::ConvTranspose { windows, .. } | Op::Pad { windows } | Op::Pool { windows, .. } => {
                change(&mut windows[0]);
            }
            other => panic!("{other:?} has no window"),
        }
        op
    };
    for name in ["up", "pad", "mean"] {
        let right = fixture.source.graph.node(fixture.node(name)).op.clone();
        let more: &dyn Fn(&mut Window) = &|w| w.pad_before += 1;
        let less: &dyn Fn(&mut Window) = &|w| w.pad_before -= 1;
        for change in [more, less] {
            plant(&mut fixture, name, window(change, &right));
            assert!(caught(&fixture, name, 2), "{name}");
        }
        plant(&mut fixture, name, right);
    }
    let kind = PoolKind::Average {
        count_padding: false,
    };
    let Op::Pool { windows, .. } = fixture.source.graph.node(fixture.node("mean")).op.clone()
    else {
        panic!("a pool");
    };
    let right = plant(&mut fixture, "mean", Op::Pool { windows, kind });
    assert!(caught(&fixture, "mean", 2));
    plant(&mut fixture, "mean", right);
    plant(
        &mut fixture,
        "repeat",
        Op::Resize {
            factors: vec![3, 2],
        },
    );
    assert!(caught(&fixture, "repeat", 2));
    for (name, axis) in [("lrn", 1), ("soft", 2)] {
        plant(&mut fixture, name, Op::Elementwise);
        assert!(caught(&fixture, name, axis), "{name}");
    }
}

#[test]
fn the_answers_on_cutting_match_what_regions_need() {
    let (fixture, _) = across(13);
    let graph = &fixture.source.graph;
    for (name, rows, columns, channels) in [
        ("lrn3", true, true, false),
        ("soft1", true, true, false),
        ("soft2", false, true, true),
        ("soft3", true, false, true),
        ("mean1", true, true, false),
        ("least3", true, false, true),
    ] {
        let node = fixture.node(name);
        let found = [cuttable(graph, node, 2), cuttable(graph, node, 3)];
        assert_eq!(
            (found, channelwise(graph, node)),
            ([rows, columns], channels),
            "{name}"
        );
        assert!(
            !cuttable(graph, node, 0) && !cuttable(graph, node, 1) && !cuttable(graph, node, 4)
        );
    }
}

/// Needs python3 with the package onnx; says so where it is not there.
#[test]
fn these_sub_models_pass_the_checker_of_onnx() {
    let has_onnx = Command::new("python3").args(["-c", "import onnx"]).output();
    if !has_onnx.is_ok_and(|output| output.status.success()) {
        crate::skip::skipped("python3 has no package onnx");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for opset in [9, 11, 13, 18] {
        let mut net = Net::new(opset, 49);
        let x = net.input("x", &[1, 4, 5, 6]);
        if opset > 10 {
            let scales = [1.0, 1.0, 2.0, 3.0];
            resize(&mut net, opset, "up", &x, &scales, ["asymmetric", "floor"]);
        }
        pad(&mut net, opset, "pad", &x, &[0, 0, 1, 1, 0, 0, 2, 1]);
        net.node("LRN", "lrn", &[&x], &[("size", int(3))]);
        net.node("Softmax", "soft", &[&x], &[("axis", int(1))]);
        let models = [net.finish(), transposed(50, opset), across(opset).0];
        for (place, fixture) in models.into_iter().enumerate() {
            let graph = &fixture.source.graph;
            let mut random = Random(51);
            let pieces: Vec<_> = graph
                .node_ids()
                .map(|id| {
                    let output = graph.node(id).outputs[0];
                    let region = random.region(&graph.activation(output).shape);
                    (vec![id], vec![(output, region)])
                })
                .collect();
            count += pieces.len();
            let plan = fixture.pieces(&pieces);
            let own = dir.path().join(format!("{opset}-{place}"));
            write(&own, "", graph, &plan, &fixture.source, false).unwrap();
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_onnx.py");
    let output = Command::new("python3").arg(script).arg(dir.path()).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{count} of {count}")), "{text}");
}
