//! Many random small models, random pieces of them, random boxes of what they make.

use std::process::Command;

use autodice::geometry::{Interval, Region};
use autodice::ids::{NodeId, PieceId};
use autodice::model::folder::{write, Folder};

use crate::skip::skipped;

use super::fixture::{add, int, ints, Cut, Fixture, Net, Random, RANK};

/// A model of a dozen nodes that read any earlier activation.
fn net(seed: u64) -> Fixture {
    let mut random = Random(seed);
    let opset = [9, 11, 13, 17][random.below(4)];
    let mut net = Net::new(opset, seed);
    let (height, width) = (5 + random.below(6), 4 + random.below(6));
    let x = net.input("x", &[1, 4, height, width]);
    // Every activation has the same shape, so that any two can be added.
    let mut all = vec![x];
    for i in 0..12 {
        let a = all[random.below(all.len())].clone();
        let b = all[random.below(all.len())].clone();
        let name = format!("n{i}");
        let (before, after) = [(1, 1), (0, 2), (2, 0)][random.below(3)];
        let pads = ("pads", ints(&[before, 1, after, 1]));
        let out = match random.below(8) {
            0 | 1 => {
                let groups = [1, 2, 4][random.below(3)];
                let w = net.weight(&format!("{name}.w"), &[4, 4 / groups, 3, 3]);
                let bias = net.weight(&format!("{name}.b"), &[4]);
                let group = ("group", int(groups as i64));
                net.node("Conv", &name, &[&a, &w, &bias], &[pads, group])
            }
            2 => {
                let kernel = ("kernel_shape", ints(&[3, 3]));
                net.node("MaxPool", &name, &[&a], &[kernel, pads])
            }
            3 => {
                let concat = format!("{name}.cat");
                net.node("Concat", &concat, &[&a, &b], &[("axis", int(1))]);
                let w = net.weight(&format!("{name}.w"), &[4, 8, 1, 1]);
                net.node("Conv", &name, &[&concat, &w], &[])
            }
            4 => {
                let scale = net.weight(&format!("{name}.s"), &[4, 1, 1]);
                net.node("Add", &name, &[&a, &scale], &[])
            }
            5 => net.node("Relu", &name, &[&a], &[]),
            _ => net.node("Add", &name, &[&a, &b], &[]),
        };
        // Larger values would not be exact.
        let out = match i % 2 {
            0 => out,
            _ => {
                let clipped = format!("{name}.small");
                small(&mut net, &out, &clipped, opset)
            }
        };
        all.push(out);
    }
    net.finish()
}

/// Brings values back to -4 … 4.
fn small(net: &mut Net, x: &str, name: &str, opset: i64) -> String {
    use autodice::graph::{Attribute, Value};
    if opset < 11 {
        let bound = |x: f32| Attribute::Float(x.to_bits());
        return net.node(
            "Clip",
            name,
            &[x],
            &[("min", bound(-4.0)), ("max", bound(4.0))],
        );
    }
    let low = net.constant(&format!("{name}.low"), &Value::from_f32(&[], &[-4.0]));
    let high = net.constant(&format!("{name}.high"), &Value::from_f32(&[], &[4.0]));
    net.node("Clip", name, &[x, &low, &high], &[])
}

/// Some nodes in a row (a gap could read what the piece makes) and boxes of what they make.
fn random_cut(fixture: &Fixture, random: &mut Random) -> Cut {
    let graph = &fixture.source.graph;
    let count = graph.nodes.len();
    let (a, b) = (random.below(count), random.below(count));
    let nodes: Vec<_> = (a.min(b)..=a.max(b)).map(NodeId::new).collect();
    let outputs = (0..1 + random.below(3)).map(|_| {
        let id = graph.node(nodes[random.below(nodes.len())]).outputs[0];
        (id, random.region(&graph.activation(id).shape))
    });
    let outputs = outputs.collect();
    (nodes, outputs)
}

#[test]
fn random_pieces_of_random_models() {
    for seed in 100..140 {
        let fixture = net(seed);
        let mut random = Random(seed);
        for _ in 0..12 {
            let (nodes, outputs) = random_cut(&fixture, &mut random);
            fixture.check(&nodes, &outputs);
        }
    }
}

/// Needs python3 with the package onnx; says so where it is not there.
#[test]
fn sub_models_pass_the_checker_of_onnx() {
    let has_onnx = Command::new("python3").args(["-c", "import onnx"]).output();
    if !has_onnx.is_ok_and(|output| output.status.success()) {
        skipped("python3 has no package onnx");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for seed in 300..312 {
        let fixture = net(seed);
        let mut random = Random(seed);
        let cuts: Vec<_> = (0..8).map(|_| random_cut(&fixture, &mut random)).collect();
        let plan = fixture.pieces(&cuts);
        let graph = &fixture.source.graph;
        let own = dir.path().join(seed.to_string());
        write(&own, "", graph, &plan, &fixture.source, false).unwrap();
        let folder = Folder::open(&own, RANK).unwrap();
        for piece in 0..cuts.len() {
            let sub_model = folder.sub_model(PieceId::new(piece)).unwrap();
            assert_eq!(sub_model, fixture.cut(&plan, piece).unwrap());
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_onnx.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("96 of 96"), "{text}");
}

#[test]
fn random_sums_of_random_models() {
    let mut shared = 0;
    for seed in 200..220 {
        let fixture = net(seed);
        let graph = &fixture.source.graph;
        let mut random = Random(seed);
        for id in graph.node_ids() {
            let node = graph.node(id);
            if node.op_type != "Conv" || graph.weight(node.weights().next().unwrap()).shape[1] < 4 {
                continue;
            }
            shared += 1;
            let input = node.activations().next().unwrap();
            let shape = graph.activation(input).shape.clone();
            let at = 1 + random.below(shape[1] - 1);
            let boxes = [(0, at), (at, shape[1])]
                .map(|(a, b)| Region::whole(&shape).with_axis(1, Interval::new(a, b)));
            let region = random.region(&graph.activation(node.outputs[0]).shape);
            let mut builder = fixture.builder();
            let sum = builder.sum(id, boxes.to_vec());
            let source = builder.whole(RANK, input);
            for member in 0..2 {
                let out = node.outputs[0];
                let part = builder.partial(RANK, out, region.clone(), sum, &[member]);
                let outputs = vec![(part, region.clone())];
                builder
                    .piece_needing(RANK, &[id], &[source], outputs)
                    .unwrap();
            }
            let plan = builder.build();
            let values: Vec<_> = (0..2)
                .map(|piece| fixture.run(&plan, piece).remove(0))
                .collect();
            assert_eq!(add(&values), fixture.crop(node.outputs[0], &region));
        }
    }
    assert!(shared > 20, "{shared}");
}
