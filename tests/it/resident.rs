//! A rank that runs several pieces over the same weights holds one copy of them, packed once.

use autodice::engine::tract::Tract;
use autodice::engine::{Engine, Executable};
use autodice::geometry::{Interval, Region};
use autodice::graph::{Graph, Operand};
use autodice::ids::{ActivationId, NodeId, Rank};
use autodice::model::cut::cut;
use autodice::model::standard::{build, Options};
use autodice::plan::{check, compile_owners, loading, tally, Plan, PlanBuilder};

use crate::support::equality::{random_integers, Fixture};

const R: [Rank; 2] = [Rank(0), Rank(1)];

/// Convolutions with what follows each up to the next, and the nodes behind the last pool.
fn layers(graph: &Graph) -> (Vec<Vec<NodeId>>, Vec<NodeId>) {
    let mut layers: Vec<Vec<NodeId>> = vec![];
    let mut rest = vec![];
    for id in graph.node_ids() {
        let node = graph.node(id);
        match &node.op_type[..] {
            "Conv" => layers.push(vec![id]),
            _ if graph.activation(node.outputs[0]).shape.len() < 4 => rest.push(id),
            _ => layers.last_mut().expect("a convolution first").push(id),
        }
    }
    (layers, rest)
}

fn rows(graph: &Graph, id: ActivationId, start: usize, end: usize) -> Region {
    graph.whole(id).with_axis(2, Interval::new(start, end))
}

/// Every layer by rows on two ranks: the row that the neighbour needs first, the others while it
/// travels; what follows the last pool on rank 0.
fn rows_with_overlap(graph: &Graph) -> Plan {
    let (layers, rest) = layers(graph);
    let mut plan = PlanBuilder::new(graph, 2, 1, 1);
    let input = graph.inputs[0];
    let whole = plan.input(input);
    let height = graph.activation(input).shape[2];
    // Where the last activation is cut in the middle, scaled up through the pools.
    let last = graph.node(rest[0]).inputs.iter();
    let last = last.filter_map(|operand| match operand {
        Operand::Activation(id) => Some(graph.activation(*id).shape[2]),
        _ => None,
    });
    let last = last.max().expect("an activation of rows");
    let lower = rows(graph, input, last / 2 * (height / last) - 1, height);
    let below = plan.part(R[1], input, lower.clone());
    plan.message((R[0], whole), (R[1], below), lower);
    let mut held = [whole, below];
    for (index, nodes) in layers.iter().enumerate() {
        let made = graph.node(*nodes.last().expect("a node")).outputs[0];
        let height = graph.activation(made).shape[2];
        let cut = last / 2 * (height / last);
        let is_last = index + 1 == layers.len();
        let halo = usize::from(!is_last);
        let source = held;
        held = [
            plan.part(R[0], made, rows(graph, made, 0, cut + halo)),
            plan.part(R[1], made, rows(graph, made, cut - halo, height)),
        ];
        let edges = [(cut - 1, cut), (cut, cut + 1)].map(|(a, b)| rows(graph, made, a, b));
        let inner = [(0, cut - halo), (cut + halo, height)];
        let ends = [0, 1].map(|i| (R[i], held[i]));
        let across = (!is_last).then(|| {
            let down = plan.transfer(ends[0], ends[1], edges[0].clone());
            [down, plan.transfer(ends[1], ends[0], edges[1].clone())]
        });
        for i in 0..2 {
            let run = |region: Region, plan: &mut PlanBuilder<'_>| {
                if region.is_empty() {
                    return;
                }
                let outputs = vec![(held[i], region)];
                let piece = plan.piece_needing(R[i], nodes, &[source[i]], outputs);
                plan.run(R[i], piece.expect("rows that fit"));
            };
            if let Some(across) = across {
                run(edges[i].clone(), &mut plan);
                plan.send(across[i]);
            }
            run(rows(graph, made, inner[i].0, inner[i].1), &mut plan);
            if let Some(across) = across {
                plan.receive(across[1 - i]);
            }
        }
    }
    let made = plan.plan().part(R[0], held[0]).activation;
    let all = plan.whole(R[0], made);
    let region = plan.plan().part(R[1], held[1]).region.clone();
    let copy = plan.part(R[0], made, region.clone());
    plan.message((R[1], held[1]), (R[0], copy), region);
    plan.assemble(R[0], &[held[0], copy], all);
    let out = plan.whole(R[0], graph.outputs[0]);
    let piece = plan.piece(R[0], &rest, &[all], &[out]);
    plan.run(R[0], piece);
    plan.output(out);
    plan.release_after_last_use();
    plan.build()
}

/// The convolutions uncut on one rank, a piece each: one packed copy of their weights.
fn uncut_layers(graph: &Graph) -> Plan {
    let mut plan = PlanBuilder::new(graph, 1, 1, 1);
    let mut held = plan.input(graph.inputs[0]);
    for nodes in layers(graph).0 {
        let made = plan.whole(R[0], graph.node(*nodes.last().expect("a node")).outputs[0]);
        let piece = plan.piece(R[0], &nodes, &[held], &[made]);
        plan.run(R[0], piece);
        held = made;
    }
    plan.build()
}

/// Loads a rank as the runner does; the bytes that it holds, and what holds them.
fn load(fixture: &Fixture, plan: &Plan, rank: Rank) -> (usize, Vec<Box<dyn Executable>>) {
    let engine = Tract::new(1).expect("an engine");
    let order = loading(&fixture.graph, plan, rank).expect("a plan");
    let load = |&piece| {
        let sub_model = cut(&fixture.graph, plan, rank, piece, fixture.source());
        let sub_model = sub_model.expect("the piece is cut");
        engine.load(sub_model).expect("the piece is loaded")
    };
    let pieces = order.pieces.iter().map(load).collect();
    (engine.held_bytes(), pieces)
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// At its published size where `AUTODICE_WHOLE_VGG16` is set: that takes seconds and 2 GB.
#[test]
fn a_row_cut_rank_of_vgg16_holds_one_packed_copy_of_its_weights() {
    let mut options = Options {
        size: Some((64, 64)),
        width: Some(0.5),
        ..Options::default()
    };
    if std::env::var_os("AUTODICE_WHOLE_VGG16").is_some() {
        options = Options::default();
    }
    let fixture = Fixture::new(&build("vgg16", &options).expect("a model"));
    let plan = rows_with_overlap(&fixture.graph);
    check(&fixture.graph, &plan, None).expect("the plan is accepted");
    let (one_copy, uncut) = load(&fixture, &uncut_layers(&fixture.graph), R[0]);
    drop(uncut);
    let before = resident_kib();
    let (held, pieces) = load(&fixture, &plan, R[1]);
    let more = resident_kib().saturating_sub(before);
    let said = tally(&fixture.graph, &plan).expect("a tally").ranks[1].clone();
    let ratio = held as f64 / one_copy as f64;
    println!(
        "{} pieces hold {held} bytes, {ratio:.3} × one packed copy ({one_copy}); said {}, {} at the \
         worst of loading; VmRSS grew by {} bytes",
        pieces.len(),
        said.held_bytes,
        said.loading_peak,
        more * 1024
    );
    assert!(ratio <= 1.15, "{ratio}");
    assert!(held.abs_diff(said.held_bytes as usize) < held / 16);
    drop(pieces);
    let shape = fixture
        .graph
        .activation(fixture.graph.inputs[0])
        .shape
        .clone();
    fixture.assert_exact(&plan, &[vec![random_integers(1, &shape, 4)]], 1);
}

#[test]
fn a_tally_says_nearly_what_an_engine_holds() {
    for name in [
        "lenet5",
        "squeezenet",
        "mobilenet_v2",
        "densenet121",
        "resnet18",
    ] {
        let fixture = Fixture::new(&build(name, &Options::default()).expect("a model"));
        let graph = &fixture.graph;
        let plan = compile_owners(graph, &vec![R[0]; graph.nodes.len()], 1, 1);
        let tally = &tally(graph, &plan).expect("a tally").ranks[0];
        let (held, _pieces) = load(&fixture, &plan, R[0]);
        let said = tally.held_bytes as usize;
        println!(
            "{name}: {held} bytes held, {said} said, {} raw",
            tally.weight_bytes
        );
        // A few kilobytes of constants belong to no weight.
        assert!(
            held <= said + said / 16 + (1 << 16),
            "{name}: {held} of {said}"
        );
        assert!(said <= held + held / 8, "{name}: {held} of {said}");
    }
}
