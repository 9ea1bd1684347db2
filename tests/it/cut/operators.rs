//! Every kind of operator over part of its output: channels, columns, blocks, partial operands.

use autodice::geometry::{Interval, Region};
use autodice::graph::{Op, Value};
use autodice::ids::NodeId;

use super::fixture::{cuts, int, ints, Fixture, Net, Random, RANK};

/// Checks every node over its whole output, every cut of every axis and some random boxes.
fn check_all(fixture: &Fixture, seed: u64) {
    let mut random = Random(seed);
    let graph = &fixture.source.graph;
    for id in graph.node_ids() {
        let output = graph.node(id).outputs[0];
        if fixture.known[output.index()].is_none() {
            continue;
        }
        let whole = graph.whole(output);
        fixture.check_node(id, &whole);
        for axis in 0..whole.rank() {
            for half in cuts(whole.0[axis].len()).flatten() {
                fixture.check_node(id, &whole.with_axis(axis, half));
            }
        }
        for _ in 0..8 {
            fixture.check_node(id, &random.region(&whole.shape()));
        }
    }
}

fn kinds(fixture: &Fixture, op: fn(&Op) -> bool) -> usize {
    fixture
        .source
        .graph
        .nodes
        .iter()
        .filter(|n| op(&n.op))
        .count()
}

#[test]
fn element_wise_and_per_channel_nodes_at_every_cut() {
    for opset in [9, 13, 17] {
        let mut net = Net::new(opset, 5);
        let x = net.input("x", &[1, 3, 4, 5]);
        let y = net.input("y", &[1, 1, 4, 1]);
        net.node("Relu", "relu", &[&x], &[]);
        net.node("Add", "add", &[&x, &y], &[]);
        net.node("Mul", "mul", &[&y, &x], &[]);
        let bias = net.weight("bias", &[3, 1, 1]);
        net.node("Add", "bias_add", &[&x, &bias], &[]);
        let slope = net.weight("slope", &[3, 1, 1]);
        net.node("PRelu", "prelu", &[&x, &slope], &[]);
        let full = net.weight("full", &[1, 3, 4, 5]);
        net.node("Sub", "sub", &[&full, &x], &[]);
        if opset > 10 {
            let low = net.constant("low", &Value::from_f32(&[], &[-1.0]));
            let high = net.constant("high", &Value::from_f32(&[], &[2.0]));
            net.node("Clip", "clip", &[&x, &low, &high], &[]);
            net.node("Clip", "clip_high", &[&x, "", &high], &[]);
        }
        let [gamma, beta, mean] = ["gamma", "beta", "mean"].map(|name| net.weight(name, &[3]));
        let ones = net.constant("var", &Value::from_f32(&[3], &[1.0; 3]));
        let exact = autodice::graph::Attribute::Float(0f32.to_bits());
        let inputs = [&x[..], &gamma, &beta, &mean, &ones];
        net.node("BatchNormalization", "bn", &inputs, &[("epsilon", exact)]);
        let fixture = net.finish();
        assert_eq!(kinds(&fixture, |op| *op == Op::PerChannel), 1);
        assert_eq!(kinds(&fixture, |op| *op == Op::Opaque), 0);
        check_all(&fixture, 6);
    }
}

#[test]
fn concat_reads_only_the_operands_that_the_box_meets() {
    for axis in 1..4 {
        let mut net = Net::new(13, 7);
        let mut shapes = [[1, 3, 4, 5]; 3];
        (shapes[0][axis], shapes[1][axis], shapes[2][axis]) = (2, 1, 3);
        let names: Vec<_> = (0..3)
            .map(|i| net.input(&format!("x{i}"), &shapes[i]))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        net.node("Concat", "concat", &names, &[("axis", int(axis as i64))]);
        let fixture = net.finish();
        assert_eq!(kinds(&fixture, |op| matches!(op, Op::Concat { .. })), 1);
        check_all(&fixture, 8);
    }
}

#[test]
fn flatten_and_products_at_every_column() {
    for opset in [9, 13] {
        let mut net = Net::new(opset, 9);
        let x = net.input("x", &[1, 3, 2, 2]);
        let flat = net.node("Flatten", "flat", &[&x], &[]);
        let (w, b) = (net.weight("w", &[12, 5]), net.weight("b", &[5]));
        net.node("Gemm", "gemm", &[&flat, &w, &b], &[]);
        let (wt, bt) = (net.weight("wt", &[5, 12]), net.weight("bt", &[1, 5]));
        net.node("Gemm", "gemm_t", &[&flat, &wt, &bt], &[("transB", int(1))]);
        let one = net.weight("one", &[1]);
        net.node("Gemm", "gemm_one", &[&flat, &w, &one], &[]);
        net.node("MatMul", "matmul", &[&flat, &w], &[]);
        let fixture = net.finish();
        assert_eq!(kinds(&fixture, |op| matches!(op, Op::Gemm { .. })), 4);
        check_all(&fixture, 10);
        // Flatten and product together: the columns of the product.
        let [flat, gemm] = ["flat", "gemm"].map(|name| fixture.node(name));
        let out = fixture.activation("gemm");
        for half in cuts(5).flatten() {
            let region = Region::whole(&[1, 5]).with_axis(1, half);
            fixture.check(&[flat, gemm], &[(out, region)]);
        }
    }
}

#[test]
fn a_reshape_that_is_a_flatten_leaves_its_target_out() {
    let mut net = Net::new(13, 11);
    let x = net.input("x", &[1, 3, 2, 2]);
    let target = Value {
        dtype: autodice::graph::Dtype::I64,
        shape: vec![2],
        bytes: [1i64, -1].iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let target = net.constant("target", &target);
    net.node("Reshape", "flat", &[&x, &target], &[]);
    let fixture = net.finish();
    assert_eq!(fixture.source.graph.nodes[0].op, Op::Flatten { axis: 1 });
    check_all(&fixture, 12);
}

#[test]
fn opaque_nodes_are_made_whole_and_sliced() {
    let mut net = Net::new(11, 13);
    let x = net.input("x", &[1, 4, 2, 3]);
    let split = [("axis", int(1)), ("split", ints(&[1, 3]))];
    net.node_of("Split", "split", &[&x], &["s0", "s1"], &split);
    net.node(
        "Transpose",
        "turn",
        &["s1"],
        &[("perm", ints(&[0, 1, 3, 2]))],
    );
    let blocks = [("blocksize", int(2))];
    net.node("DepthToSpace", "deep", &[&x], &blocks);
    let fixture = net.finish();
    assert_eq!(kinds(&fixture, |op| *op == Op::Opaque), 3);
    check_all(&fixture, 14);
    let [s0, s1, turn] = ["s0", "s1", "turn"].map(|name| fixture.activation(name));
    let nodes = [fixture.node("split"), fixture.node("turn")];
    let small = Region(
        [(0, 1), (1, 3), (0, 1), (1, 2)]
            .iter()
            .map(|&(a, b)| Interval::new(a, b))
            .collect(),
    );
    let whole = fixture.source.graph.whole(s0);
    fixture.check(&nodes[..1], &[(s1, small.clone())]);
    fixture.check(&nodes, &[(turn, small.clone()), (s1, small), (s0, whole)]);
}

#[test]
fn chains_and_residual_blocks_over_random_boxes() {
    let mut net = Net::new(13, 15);
    let x = net.input("x", &[1, 4, 9, 8]);
    let a = net.conv("a", &x, (4, 4), 3);
    let a = net.node("Relu", "ar", &[&a], &[]);
    let w = net.weight("dw.w", &[4, 1, 3, 3]);
    let attributes = [("group", int(4)), ("pads", ints(&[1, 0, 0, 2]))];
    let d = net.node("Conv", "dw", &[&a, &w], &attributes);
    let d = net.conv("b", &d, (4, 4), 1);
    let pads = [
        ("pads", ints(&[0, 1, 1, 0])),
        ("kernel_shape", ints(&[2, 2])),
        ("strides", ints(&[1, 1])),
    ];
    let p = net.node("MaxPool", "skip", &[&a], &pads);
    let p = net.node("Concat", "cat", &[&p, &a], &[("axis", int(1))]);
    let p = net.conv("project", &p, (8, 4), 1);
    let small = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    let d = net.node("MaxPool", "dp", &[&d], &small);
    let p = net.node("AveragePool", "pp", &[&p], &small);
    let s = net.node("Add", "sum", &[&d, &p], &[]);
    let s = net.node("Relu", "out", &[&s], &[]);
    let f = net.node("Flatten", "flat", &[&s], &[]);
    let fw = net.weight("fc.w", &[64, 6]);
    net.node("Gemm", "fc", &[&f, &fw], &[]);
    let fixture = net.finish();
    check_all(&fixture, 16);
    let graph = &fixture.source.graph;
    let all: Vec<NodeId> = graph.node_ids().collect();
    let mut random = Random(17);
    for _ in 0..60 {
        // Some nodes in a row, and boxes of some of what they make.
        let (a, b) = (random.below(all.len()), random.below(all.len()));
        let nodes = &all[a.min(b)..=a.max(b)];
        let last = graph.node(nodes[nodes.len() - 1]).outputs[0];
        let other = graph.node(nodes[random.below(nodes.len())]).outputs[0];
        let mut outputs = vec![(last, random.region(&graph.activation(last).shape))];
        outputs.push((other, random.region(&graph.activation(other).shape)));
        fixture.check(nodes, &outputs);
    }
}

#[test]
fn inputs_pass_through_and_outputs_repeat() {
    let mut net = Net::new(13, 18);
    let x = net.input("x", &[1, 2, 5, 3]);
    net.conv("c", &x, (2, 2), 3);
    let fixture = net.finish();
    let (c, x, node) = (
        fixture.activation("c"),
        fixture.activation("x"),
        fixture.node("c"),
    );
    let whole = fixture.source.graph.whole(c);
    let rows = |a, b| whole.with_axis(2, Interval::new(a, b));
    // The same activation in several boxes, and the input itself, whole and in part.
    let outputs = [
        (c, rows(0, 5)),
        (c, rows(0, 5)),
        (c, rows(2, 3)),
        (x, rows(0, 5)),
        (x, rows(1, 4)),
    ];
    fixture.check(&[node], &outputs);
    fixture.check(&[], &[(x, rows(1, 2))]);
    fixture.check(&[], &[(x, rows(0, 5))]);
}

#[test]
fn boxes_of_one_activation_are_joined_where_they_tile() {
    let mut net = Net::new(13, 19);
    let x = net.input("x", &[1, 2, 8, 3]);
    net.conv("c", &x, (2, 2), 3);
    let fixture = net.finish();
    let (c, x, node) = (
        fixture.activation("c"),
        fixture.activation("x"),
        fixture.node("c"),
    );
    let whole = fixture.source.graph.whole(x);
    let rows = |a, b| whole.with_axis(2, Interval::new(a, b));
    let columns = |region: &Region, a, b| region.with_axis(3, Interval::new(a, b));
    let build = |boxes: &[Region]| {
        let mut builder = fixture.builder();
        let inputs = boxes
            .iter()
            .map(|r| (builder.part(RANK, x, r.clone()), r.clone()));
        let inputs = inputs.collect();
        let out = rows(2, 6);
        let outputs = vec![(builder.part(RANK, c, out.clone()), out)];
        builder.piece_of_boxes(RANK, &[node], inputs, outputs);
        builder.build()
    };
    let cases = [
        vec![rows(0, 8)],
        vec![rows(0, 4), rows(4, 8)],
        vec![rows(4, 8), rows(0, 5)],
        vec![rows(6, 8), rows(1, 2), rows(2, 6), rows(0, 1)],
        vec![columns(&rows(1, 7), 0, 1), columns(&rows(0, 8), 1, 3)],
    ];
    for boxes in &cases {
        let plan = build(boxes);
        assert_eq!(
            fixture.run(&plan, 0),
            [fixture.crop(c, &rows(2, 6))],
            "{boxes:?}"
        );
    }
    let holes = [
        vec![rows(0, 3), rows(4, 8)],
        vec![rows(2, 8)],
        vec![columns(&rows(0, 4), 0, 3), columns(&rows(4, 8), 0, 2)],
        vec![],
    ];
    for boxes in &holes {
        let error = format!("{:#}", fixture.cut(&build(boxes), 0).unwrap_err());
        assert!(
            error.starts_with("rank 0 piece 0 (c): node c (Conv): x ["),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn opsets_decide_how_bounds_are_written() {
    for opset in [7, 9, 10, 12, 13, 18] {
        let mut net = Net::new(opset, 20);
        let x = net.input("x", &[1, 2, 6, 6]);
        let c = net.conv("c", &x, (2, 2), 3);
        let pads = [
            ("kernel_shape", ints(&[2, 2])),
            ("pads", ints(&[1, 1, 0, 0])),
            ("count_include_pad", int(1)),
        ];
        net.node("AveragePool", "p", &[&c], &pads);
        let fixture = net.finish();
        let (c, p) = (fixture.activation("c"), fixture.activation("p"));
        let nodes = [fixture.node("c"), fixture.node("p")];
        let whole = fixture.source.graph.whole(p);
        for half in cuts(6).flatten() {
            let region = whole.with_axis(2, half);
            fixture.check(
                &nodes,
                &[
                    (p, region.clone()),
                    (c, region.with_axis(3, Interval::new(1, 3))),
                ],
            );
        }
    }
}
