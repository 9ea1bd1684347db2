//! Convolutions and pools over every cut of small outputs, and over random boxes.

use autodice::geometry::Region;
use autodice::graph::Op;
use autodice::ids::NodeId;

use super::fixture::{cuts, int, ints, Fixture, Net, Random};

/// Every (kernel, stride, pad before, pad after, dilation) of the exhaustive cases.
fn windows() -> Vec<[usize; 5]> {
    let mut all = vec![];
    for k in 1..=4 {
        for s in 1..=3 {
            for before in 0..=2 {
                for after in 0..=2 {
                    all.extend((1..=2).map(|d| [k, s, before, after, d]));
                }
            }
        }
    }
    all
}

/// Checks every node over every cut of its axis into two.
fn check_cuts(fixture: &Fixture, axis: usize) -> usize {
    let mut pieces = 0;
    for id in fixture.source.graph.node_ids() {
        let output = fixture.source.graph.node(id).outputs[0];
        let whole = fixture.source.graph.whole(output);
        for half in cuts(whole.0[axis].len()).flatten() {
            fixture.check_node(id, &whole.with_axis(axis, half));
            pieces += 1;
        }
    }
    pieces
}

#[test]
fn every_row_cut_of_every_small_1d_convolution() {
    for (groups, channels) in [(1, 2), (2, 4), (3, 3)] {
        let mut net = Net::new(13, 1);
        let x = net.input("x", &[1, channels, 7]);
        for (i, [k, s, before, after, d]) in windows().into_iter().enumerate() {
            let w = net.weight(&format!("w{i}"), &[channels, channels / groups, k]);
            let b = net.weight(&format!("b{i}"), &[channels]);
            let attributes = [
                ("strides", ints(&[s])),
                ("pads", ints(&[before, after])),
                ("dilations", ints(&[d])),
                ("group", int(groups as i64)),
            ];
            if 7 + before + after < d * (k - 1) + 1 {
                continue;
            }
            net.node("Conv", &format!("c{i}"), &[&x, &w, &b], &attributes);
        }
        let fixture = net.finish();
        assert_eq!(fixture.source.graph.nodes.len(), 216);
        let pieces = check_cuts(&fixture, 2);
        assert!(pieces > 1000, "{pieces}");
    }
}

#[test]
fn every_row_cut_of_every_small_1d_pool() {
    for (kind, ceil) in (0..6usize).map(|i| (i / 2, i64::from(i % 2 == 1))) {
        let mut net = Net::new(19, 2);
        let x = net.input("x", &[1, 1, 7]);
        for (i, [k, s, before, after, d]) in windows().into_iter().enumerate() {
            // Padding must be smaller than the kernel.
            if before.max(after) >= k {
                continue;
            }
            let mut attributes = vec![
                ("kernel_shape", ints(&[k])),
                ("strides", ints(&[s])),
                ("pads", ints(&[before, after])),
                ("ceil_mode", int(ceil)),
            ];
            if d > 1 {
                attributes.push(("dilations", ints(&[d])));
            }
            if kind == 2 {
                attributes.push(("count_include_pad", int(1)));
            }
            let op_type = ["MaxPool", "AveragePool", "AveragePool"][kind];
            net.node(op_type, &format!("p{i}"), &[&x], &attributes);
        }
        let fixture = net.finish();
        let pools = fixture.source.graph.nodes.iter();
        assert!(pools
            .into_iter()
            .all(|node| matches!(node.op, Op::Pool { .. })));
        let pieces = check_cuts(&fixture, 2);
        assert!(pieces > 400, "{pieces}");
    }
}

#[test]
fn random_boxes_of_2d_convolutions_and_pools() {
    let mut random = Random(3);
    let mut net = Net::new(13, 3);
    let x = net.input("x", &[1, 4, 8, 9]);
    for i in 0..120 {
        let mut pick = |low: usize, high: usize| low + random.below(high - low + 1);
        let k = [pick(1, 4), pick(1, 4)];
        let s = [pick(1, 3), pick(1, 3)];
        let conv = i % 2 == 0;
        let d = if conv {
            [pick(1, 2), pick(1, 2)]
        } else {
            [1, 1]
        };
        let most = |k: usize| if conv { 2 } else { 2.min(k - 1) };
        let pads = [
            pick(0, most(k[0])),
            pick(0, most(k[1])),
            pick(0, most(k[0])),
            pick(0, most(k[1])),
        ];
        let mut attributes = vec![("strides", ints(&s)), ("pads", ints(&pads))];
        let name = format!("n{i}");
        if conv {
            let groups = [1, 1, 2, 4][pick(0, 3)];
            let w = net.weight(&format!("w{i}"), &[4, 4 / groups, k[0], k[1]]);
            let b = net.weight(&format!("b{i}"), &[4]);
            attributes.push(("dilations", ints(&d)));
            attributes.push(("group", int(groups as i64)));
            let inputs = [&x[..], &w, &b];
            net.node("Conv", &name, &inputs[..pick(2, 3)], &attributes);
        } else {
            let op_type = ["MaxPool", "AveragePool"][pick(0, 1)];
            attributes.push(("kernel_shape", ints(&k)));
            net.node(op_type, &name, &[&x], &attributes);
        }
    }
    let fixture = net.finish();
    for id in fixture.source.graph.node_ids() {
        let output = fixture.source.graph.node(id).outputs[0];
        let shape = fixture.source.graph.activation(output).shape.clone();
        fixture.check_node(id, &Region::whole(&shape));
        for _ in 0..12 {
            fixture.check_node(id, &random.region(&shape));
        }
    }
}

#[test]
fn an_average_over_padding_alone_is_refused() {
    let mut net = Net::new(13, 4);
    let x = net.input("x", &[1, 1, 5]);
    let attributes = [("kernel_shape", ints(&[3])), ("pads", ints(&[2, 2]))];
    net.node("AveragePool", "p", &[&x], &attributes);
    let mut fixture = net.finish();
    let Op::Pool { windows, .. } = &mut fixture.source.graph.nodes[0].op else {
        panic!("a pool");
    };
    windows[0].pad_before = 3;
    let output = fixture.source.graph.node(NodeId(0)).outputs[0];
    let first = Region::whole(&[1, 1, 1]);
    let error = fixture.cut(&fixture.piece(&[NodeId(0)], &[(output, first)]), 0);
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("node p (AveragePool)"), "{error}");
}
