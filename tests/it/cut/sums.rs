//! Shared sums: summands with one bias add up to the whole, and planted faults show.

use autodice::geometry::{Interval, Region};
use autodice::graph::{SubModel, Value};
use autodice::ids::{ActivationId, NodeId};
use autodice::plan::Plan;
use prost::Message;
use tract_onnx::pb;

use super::fixture::{add, cuts, int, ints, Fixture, Net, RANK};

/// A plan with one piece for each member: `nodes` up to the output `out` over `region`, the sum
/// of `shared` split at these boxes of its first input.
fn members(
    fixture: &Fixture,
    nodes: &[NodeId],
    shared: NodeId,
    boxes: &[Region],
    (out, region): (ActivationId, &Region),
) -> Plan {
    let mut builder = fixture.builder();
    let sum = builder.sum(shared, boxes.to_vec());
    let graph = &fixture.source.graph;
    let made = |id| nodes.iter().any(|&n| graph.node(n).outputs.contains(&id));
    let mut reads: Vec<_> = nodes
        .iter()
        .flat_map(|&n| graph.node(n).activations())
        .collect();
    reads.retain(|&id| !made(id));
    reads.dedup();
    for member in 0..boxes.len() {
        let inputs: Vec<_> = reads.iter().map(|&id| builder.whole(RANK, id)).collect();
        let part = builder.partial(RANK, out, region.clone(), sum, &[member as u32]);
        let outputs = vec![(part, region.clone())];
        builder
            .piece_needing(RANK, nodes, &inputs, outputs)
            .unwrap();
    }
    builder.build()
}

/// Runs all members and adds them up.
fn total(fixture: &Fixture, plan: &Plan, change: impl Fn(usize, &mut SubModel)) -> Value {
    let pieces = 0..plan.ranks[0].pieces.len();
    let values: Vec<Value> = pieces
        .map(|piece| {
            let mut sub_model = fixture.cut(plan, piece).unwrap_or_else(|e| panic!("{e:#}"));
            change(piece, &mut sub_model);
            let inputs = fixture.inputs(plan, piece);
            fixture.run_on(sub_model, &inputs).unwrap().remove(0)
        })
        .collect();
    add(&values)
}

fn check_sum(fixture: &Fixture, nodes: &[&str], shared: &str, boxes: &[Region], region: &Region) {
    let nodes: Vec<_> = nodes.iter().map(|name| fixture.node(name)).collect();
    let last = *nodes.last().unwrap();
    let out = fixture.source.graph.node(last).outputs[0];
    let plan = members(fixture, &nodes, fixture.node(shared), boxes, (out, region));
    let found = total(fixture, &plan, |_, _| ());
    assert_eq!(
        found,
        fixture.crop(out, region),
        "{nodes:?} {region} {boxes:?}"
    );
}

fn pair() -> Fixture {
    let mut net = Net::new(13, 21);
    let x = net.input("x", &[1, 3, 8, 8]);
    let a = net.conv("a", &x, (3, 4), 3);
    let a = net.node("Relu", "ar", &[&a], &[]);
    let pool = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    let a = net.node("MaxPool", "ap", &[&a], &pool);
    let b = net.conv("b", &a, (4, 5), 3);
    let b = net.node(
        "AveragePool",
        "bp",
        &[&b],
        &[("kernel_shape", ints(&[2, 2]))],
    );
    net.conv("c", &b, (5, 2), 3);
    net.finish()
}

#[test]
fn out_channels_then_in_channels_are_one_piece() {
    let fixture = pair();
    let shape = [1, 4, 4, 4];
    let whole = fixture.source.graph.whole(fixture.activation("b"));
    let rows = whole.with_axis(2, Interval::new(1, 3));
    for halves in cuts(4) {
        let boxes = halves.map(|half| Region::whole(&shape).with_axis(1, half));
        for region in [&whole, &rows] {
            check_sum(&fixture, &["b"], "b", &boxes, region);
            check_sum(&fixture, &["a", "ar", "ap", "b"], "b", &boxes, region);
        }
    }
    let single: Vec<_> = (0..4)
        .map(|i| Region::whole(&shape).with_axis(1, Interval::new(i, i + 1)))
        .collect();
    check_sum(&fixture, &["a", "ar", "ap", "b"], "b", &single, &whole);
}

#[test]
fn a_partial_sum_goes_on_through_linear_nodes_with_every_bias_once() {
    let fixture = pair();
    let shape = [1, 4, 4, 4];
    let boxes =
        [(0, 1), (1, 4)].map(|(a, b)| Region::whole(&shape).with_axis(1, Interval::new(a, b)));
    let whole = fixture.source.graph.whole(fixture.activation("c"));
    check_sum(&fixture, &["b", "bp", "c"], "b", &boxes, &whole);

    // Likewise where the partial sum arrives from outside: piece 2 + m goes on with member m.
    let [b, bp, c] = ["b", "bp", "c"].map(|name| fixture.node(name));
    let (ab, ac) = (fixture.activation("b"), fixture.activation("c"));
    let mut builder = fixture.builder();
    let sum = builder.sum(b, boxes.to_vec());
    let ap = builder.whole(RANK, fixture.activation("ap"));
    let region = fixture.source.graph.whole(ab);
    let parts = [0, 1].map(|m| builder.partial(RANK, ab, region.clone(), sum, &[m]));
    let outs = [0, 1].map(|m| builder.partial(RANK, ac, whole.clone(), sum, &[m]));
    for part in parts {
        builder
            .piece_needing(RANK, &[b], &[ap], vec![(part, region.clone())])
            .unwrap();
    }
    for m in 0..2 {
        builder.piece(RANK, &[bp, c], &[parts[m]], &[outs[m]]);
    }
    let plan = builder.build();
    let values = [0, 1].map(|m| {
        let first = fixture.run(&plan, m).remove(0);
        let second = fixture.cut(&plan, 2 + m).unwrap();
        fixture.run_on(second, &[first]).unwrap().remove(0)
    });
    assert_eq!(add(&values), fixture.crop(ac, &whole));
}

#[test]
fn a_partial_sum_stops_before_what_is_not_linear() {
    let mut net = Net::new(13, 22);
    let x = net.input("x", &[1, 4, 3, 3]);
    let a = net.conv("a", &x, (4, 2), 3);
    net.node("Relu", "r", &[&a], &[]);
    let k = net.weight("k", &[2, 1, 1]);
    net.node("Add", "k_add", &[&a, &k], &[]);
    net.node("Concat", "cat", &[&a, &x], &[("axis", int(1))]);
    let fixture = net.finish();
    let boxes = [(0, 2), (2, 4)]
        .map(|(s, e)| Region::whole(&[1, 4, 3, 3]).with_axis(1, Interval::new(s, e)));
    for last in ["r", "k_add", "cat"] {
        let nodes = ["a", last].map(|name| fixture.node(name));
        let out = fixture.activation(last);
        let whole = fixture.source.graph.whole(out);
        let plan = members(&fixture, &nodes, nodes[0], &boxes, (out, &whole));
        let error = format!("{:#}", fixture.cut(&plan, 0).unwrap_err());
        assert!(error.contains(&format!("node {last} (")), "{error}");
    }
}

#[test]
fn products_share_their_sum_by_blocks_of_the_flattened_input() {
    for opset in [9, 13] {
        let mut net = Net::new(opset, 23);
        let x = net.input("x", &[1, 4, 2, 3]);
        let flat = net.node("Flatten", "flat", &[&x], &[]);
        let (w, b) = (net.weight("w", &[24, 5]), net.weight("b", &[5]));
        net.node("Gemm", "gemm", &[&flat, &w, &b], &[]);
        let (wt, bt) = (net.weight("wt", &[5, 24]), net.weight("bt", &[5]));
        net.node("Gemm", "gemm_t", &[&flat, &wt, &bt], &[("transB", int(1))]);
        net.node("MatMul", "matmul", &[&flat, &w], &[]);
        let fixture = net.finish();
        let columns = Region::whole(&[1, 5]).with_axis(1, Interval::new(1, 4));
        for halves in cuts(24) {
            let boxes = halves.map(|half| Region::whole(&[1, 24]).with_axis(1, half));
            for name in ["gemm", "gemm_t", "matmul"] {
                for region in [&Region::whole(&[1, 5]), &columns] {
                    check_sum(&fixture, &[name], name, &boxes, region);
                    check_sum(&fixture, &["flat", name], name, &boxes, region);
                }
            }
        }
    }
}

#[test]
fn a_global_average_is_a_sum_by_rows_and_a_division() {
    for opset in [9, 13, 18] {
        let mut net = Net::new(opset, 24);
        let x = net.input("x", &[1, 3, 8, 4]);
        net.node("GlobalAveragePool", "gap", &[&x], &[]);
        let mut fixture = net.finish();
        let graph = &fixture.source.graph;
        assert_eq!(graph.nodes.len(), 2);
        let (sum, divide) = (NodeId(0), NodeId(1));
        let middle = graph.node(sum).outputs[0];
        let region = graph.whole(middle);
        let some = region.with_axis(1, Interval::new(1, 3));
        for halves in cuts(8) {
            let boxes = halves.map(|half| Region::whole(&[1, 3, 8, 4]).with_axis(2, half));
            for region in [&region, &some] {
                let plan = members(&fixture, &[sum], sum, &boxes, (middle, region));
                let value = total(&fixture, &plan, |_, _| ());
                let out = fixture.source.graph.node(divide).outputs[0];
                let plan = fixture.piece(&[divide], &[(out, region.clone())]);
                let found = fixture
                    .run_on(fixture.cut(&plan, 0).unwrap(), &[value])
                    .unwrap();
                assert_eq!(found[0], fixture.crop(out, region));
            }
        }
        // Whole, in one piece.
        let out = fixture.source.graph.node(divide).outputs[0];
        fixture.known[middle.index()] = None;
        fixture.check(&[sum, divide], &[(out, region)]);
    }
}

#[test]
fn sums_that_cannot_be_shared_are_refused() {
    let mut net = Net::new(13, 25);
    let x = net.input("x", &[1, 4, 6, 6]);
    let w = net.weight("w", &[4, 2, 3, 3]);
    net.node("Conv", "grouped", &[&x, &w], &[("group", int(2))]);
    net.conv("full", &x, (4, 4), 3);
    let fixture = net.finish();
    let whole = Region::whole(&[1, 4, 6, 6]);
    let halves = |axis: usize, at: usize| {
        [(0, at), (at, whole.0[axis].end)].map(|(a, b)| whole.with_axis(axis, Interval::new(a, b)))
    };
    for (name, boxes) in [("grouped", halves(1, 1)), ("full", halves(2, 3))] {
        let (node, out) = (fixture.node(name), fixture.activation(name));
        let region = fixture.source.graph.whole(out);
        let plan = members(&fixture, &[node], node, &boxes, (out, &region));
        let error = format!("{:#}", fixture.cut(&plan, 0).unwrap_err());
        assert!(error.contains(&format!("node {name} (Conv)")), "{error}");
    }
}

/// The tests above compare in the same way; these faults show that they would see one.
#[test]
fn planted_faults_are_seen() {
    let fixture = pair();
    let boxes = [(0, 2), (2, 4)]
        .map(|(a, b)| Region::whole(&[1, 4, 4, 4]).with_axis(1, Interval::new(a, b)));
    let (node, out) = (fixture.node("b"), fixture.activation("b"));
    let whole = fixture.source.graph.whole(out);
    let right = fixture.crop(out, &whole);
    let plan = members(&fixture, &[node], node, &boxes, (out, &whole));
    assert_eq!(total(&fixture, &plan, |_, _| ()), right);

    // The bias of the first member is also added by the second.
    let bias = fixture.cut(&plan, 0).unwrap().weights.pop().unwrap();
    assert!(bias.0.ends_with("b.b"), "{}", bias.0);
    let doubled = total(&fixture, &plan, |piece, sub_model| {
        if piece == 0 {
            let name = bias.0.clone();
            let value = &mut sub_model
                .weights
                .iter_mut()
                .find(|w| w.0 == name)
                .unwrap()
                .1;
            *value = add(&[(**value).clone(), (**value).clone()]).into();
        }
    });
    assert_ne!(doubled, right);

    // Two input channels of the kernel change places.
    let swapped = total(&fixture, &plan, |piece, sub_model| {
        let kernel = std::sync::Arc::make_mut(&mut sub_model.weights[0].1);
        assert_eq!(kernel.shape, [5, 2, 3, 3]);
        if piece == 1 {
            for pair in kernel.bytes.chunks_exact_mut(2 * 9 * 4) {
                pair.rotate_left(9 * 4);
            }
        }
    });
    assert_ne!(swapped, right);

    // The halo is off by one row; the model's zeros stand where the neighbour's row belongs.
    let rows = whole.with_axis(2, Interval::new(2, 4));
    let plan = fixture.piece(&[node], &[(out, rows.clone())]);
    let inputs = fixture.inputs(&plan, 0);
    let (part, held) = plan.ranks[0].pieces[0].inputs[0].clone();
    let activation = plan.part(RANK, part).activation;
    let run = |sub_model, inputs: &[Value]| fixture.run_on(sub_model, inputs).unwrap().remove(0);
    assert_eq!(
        run(fixture.cut(&plan, 0).unwrap(), &inputs),
        fixture.crop(out, &rows)
    );
    let shifted = held.with_axis(2, Interval::new(held.0[2].start - 1, held.0[2].end - 1));
    let moved = fixture.crop(activation, &shifted);
    assert_ne!(
        run(fixture.cut(&plan, 0).unwrap(), &[moved]),
        fixture.crop(out, &rows)
    );
    let mut padded = fixture.cut(&plan, 0).unwrap();
    let mut proto = pb::ModelProto::decode(&padded.onnx[..]).unwrap();
    let node = &mut proto.graph.as_mut().unwrap().node[0];
    let pads = node
        .attribute
        .iter_mut()
        .find(|a| a.name == "pads")
        .unwrap();
    assert_eq!(pads.ints, [0, 1, 1, 1]);
    pads.ints = vec![1, 1, 0, 1];
    padded.onnx = proto.encode_to_vec();
    assert_ne!(run(padded, &inputs), fixture.crop(out, &rows));
}
