//! Hand-written plans, one for each thing that a compiler will want of the waist, bit for bit
//! against the uncut model under random delays, start orders and windows.

use autodice::geometry::{Interval, Region};
use autodice::graph::{Graph, Value};
use autodice::ids::{ActivationId, NodeId, PartId, Rank};
use autodice::model::builder::{Conv, ModelBuilder, Pool, Weights};
use autodice::plan::{compile_owners, Plan, PlanBuilder};

use crate::support::equality::{random_integers, Fixture};

/// conv_a → relu_a → conv_b → relu_b → pool on 12 × 8, small integers throughout.
fn fixture() -> Fixture {
    let mut model = ModelBuilder::with_weights("chain", Weights::Integers { seed: 7, max: 2 });
    let x = model.input("x", &[1, 2, 12, 8]);
    let a = model.conv("conv_a", x, Conv::new(4, 3).pad(1));
    let a = model.relu("relu_a", a);
    let b = model.conv("conv_b", a, Conv::new(4, 3).pad(1));
    let b = model.relu("relu_b", b);
    let y = model.max_pool("pool", b, Pool::new(2).stride(2));
    model.output(y);
    Fixture::new(&model)
}

fn id(graph: &Graph, name: &str) -> ActivationId {
    let at = graph
        .activations
        .iter()
        .position(|activation| activation.name == name);
    ActivationId::new(at.unwrap_or_else(|| panic!("activation {name}")))
}

fn node(graph: &Graph, name: &str) -> NodeId {
    graph.nodes_named(name)[0]
}

fn rows(graph: &Graph, activation: ActivationId, start: usize, end: usize) -> Region {
    graph
        .whole(activation)
        .with_axis(2, Interval::new(start, end))
}

fn channels(graph: &Graph, activation: ActivationId, start: usize, end: usize) -> Region {
    graph
        .whole(activation)
        .with_axis(1, Interval::new(start, end))
}

const R: [Rank; 3] = [Rank(0), Rank(1), Rank(2)];

/// Sends what each rank holds to rank 0, which puts it together and hands it out.
fn gather(
    plan: &mut PlanBuilder<'_>,
    graph: &Graph,
    name: &str,
    own: PartId,
    others: &[(Rank, PartId)],
) {
    let activation = id(graph, name);
    let mut from = vec![own];
    for &(rank, part) in others {
        let region = plan.plan().part(rank, part).region.clone();
        let copy = plan.part(R[0], activation, region.clone());
        plan.message((rank, part), (R[0], copy), region);
        from.push(copy);
    }
    let whole = plan.whole(R[0], activation);
    plan.assemble(R[0], &from, whole);
    plan.output(whole);
}

/// Both convolutions by rows on two ranks; the row that the neighbour needs is computed and sent
/// first, the interior while it travels.
fn row_halo_with_overlap(graph: &Graph, window: u32) -> Plan {
    let (x, a, y) = (id(graph, "x"), id(graph, "relu_a"), id(graph, "pool"));
    let first = [node(graph, "conv_a"), node(graph, "relu_a")];
    let second = [
        node(graph, "conv_b"),
        node(graph, "relu_b"),
        node(graph, "pool"),
    ];
    let mut plan = PlanBuilder::new(graph, 2, window, 1);
    let whole = plan.input(x);
    let lower = plan.part(R[1], x, rows(graph, x, 5, 12));
    plan.message((R[0], whole), (R[1], lower), rows(graph, x, 5, 12));
    // Rows held of relu_a: own ones and one of the neighbour's.
    let held = [
        plan.part(R[0], a, rows(graph, a, 0, 7)),
        plan.part(R[1], a, rows(graph, a, 5, 12)),
    ];
    let boundary = [rows(graph, a, 5, 6), rows(graph, a, 6, 7)];
    let interior = [rows(graph, a, 0, 5), rows(graph, a, 7, 12)];
    let source = [whole, lower];
    let down = plan.transfer((R[0], held[0]), (R[1], held[1]), boundary[0].clone());
    let up = plan.transfer((R[1], held[1]), (R[0], held[0]), boundary[1].clone());
    for (i, (send, receive)) in [(down, up), (up, down)].into_iter().enumerate() {
        let edge = vec![(held[i], boundary[i].clone())];
        let edge = plan
            .piece_needing(R[i], &first, &[source[i]], edge)
            .expect("rows fit");
        let rest = vec![(held[i], interior[i].clone())];
        let rest = plan
            .piece_needing(R[i], &first, &[source[i]], rest)
            .expect("rows fit");
        plan.run(R[i], edge);
        plan.send(send);
        plan.run(R[i], rest);
        plan.receive(receive);
    }
    let mut made = vec![];
    for (i, (start, end)) in [(0, 3), (3, 6)].into_iter().enumerate() {
        let part = plan.part(R[i], y, rows(graph, y, start, end));
        let outputs = vec![(part, rows(graph, y, start, end))];
        let piece = plan
            .piece_needing(R[i], &second, &[held[i]], outputs)
            .expect("rows fit");
        plan.run(R[i], piece);
        made.push(part);
    }
    gather(&mut plan, graph, "pool", made[0], &[(R[1], made[1])]);
    plan.release_after_last_use();
    plan.build()
}

/// conv_a by output channels and conv_b by the same input channels, as one piece on each of three
/// ranks; the partial sums are added up by a ring all-reduce over blocks of rows.
fn channel_pair_with_ring(graph: &Graph, window: u32) -> Plan {
    let (x, a, z, y) = (
        id(graph, "x"),
        id(graph, "relu_a"),
        id(graph, "conv_b"),
        id(graph, "pool"),
    );
    let pair = [
        node(graph, "conv_a"),
        node(graph, "relu_a"),
        node(graph, "conv_b"),
    ];
    let mut plan = PlanBuilder::new(graph, 3, window, 1);
    let cuts = [(0, 2), (2, 3), (3, 4)];
    let members = cuts
        .iter()
        .map(|&(start, end)| channels(graph, a, start, end))
        .collect();
    let sum = plan.sum(node(graph, "conv_b"), members);
    let whole = plan.input(x);
    let mut partial = vec![];
    for i in 0..3 {
        let source = match i {
            0 => whole,
            _ => {
                let copy = plan.whole(R[i], x);
                plan.message((R[0], whole), (R[i], copy), graph.whole(x));
                copy
            }
        };
        let part = plan.partial(R[i], z, graph.whole(z), sum, &[i as u32]);
        let piece = plan.piece(R[i], &pair, &[source], &[part]);
        plan.run(R[i], piece);
        partial.push(part);
    }
    let blocks = [
        rows(graph, z, 0, 4),
        rows(graph, z, 4, 8),
        rows(graph, z, 8, 12),
    ];
    // Reduce-scatter: in step s rank i passes block i - s on, with the members added so far.
    let mut running: Vec<(PartId, Vec<u32>)> =
        (0..3).map(|i| (partial[i], vec![i as u32])).collect();
    for step in 0..2 {
        let mut next = vec![];
        for i in 0..3 {
            let before = (i + 2) % 3;
            let block = &blocks[(before + 3 - step) % 3];
            let (source, members) = running[before].clone();
            let arrived = plan.partial(R[i], z, block.clone(), sum, &members);
            let message = plan.transfer((R[before], source), (R[i], arrived), block.clone());
            let mut more = members.clone();
            more.push(i as u32);
            let added = plan.partial(R[i], z, block.clone(), sum, &more);
            next.push((message, arrived, added, more));
        }
        next.iter().for_each(|&(message, ..)| plan.send(message));
        for (i, (message, arrived, added, _)) in next.iter().enumerate() {
            plan.receive(*message);
            plan.add(R[i], &[*arrived, partial[i]], *added);
        }
        running = next
            .into_iter()
            .map(|(_, _, added, more)| (added, more))
            .collect();
    }
    // All-gather: rank i has the whole of block i + 1, and passes it round.
    let mut held: Vec<Vec<PartId>> = running.iter().map(|(part, _)| vec![*part]).collect();
    for step in 0..2 {
        let mut messages = vec![];
        for i in 0..3 {
            let before = (i + 2) % 3;
            let block = blocks[(before + 1 + 3 - step) % 3].clone();
            let source = held[before][step];
            let part = plan.part(R[i], z, block.clone());
            messages.push((
                plan.transfer((R[before], source), (R[i], part), block),
                part,
            ));
        }
        messages.iter().for_each(|&(message, _)| plan.send(message));
        for (i, &(message, part)) in messages.iter().enumerate() {
            plan.receive(message);
            held[i].push(part);
        }
    }
    let sums = plan.whole(R[0], z);
    let from = held[0].clone();
    plan.assemble(R[0], &from, sums);
    let out = plan.whole(R[0], y);
    let rest = plan.piece(
        R[0],
        &[node(graph, "relu_b"), node(graph, "pool")],
        &[sums],
        &[out],
    );
    plan.run(R[0], rest);
    plan.output(out);
    plan.release_after_last_use();
    plan.build()
}

/// The first stage on rank 0, the second by whole frames on ranks 1 and 2 in turn.
fn replicas(graph: &Graph, window: u32) -> Plan {
    let (x, a, y) = (id(graph, "x"), id(graph, "relu_a"), id(graph, "pool"));
    let first = [node(graph, "conv_a"), node(graph, "relu_a")];
    let second = [
        node(graph, "conv_b"),
        node(graph, "relu_b"),
        node(graph, "pool"),
    ];
    let mut plan = PlanBuilder::new(graph, 3, window, 2);
    let source = plan.whole(R[0], x);
    let middle = plan.whole(R[0], a);
    let stage = plan.piece(R[0], &first, &[source], &[middle]);
    for (turn, replica) in [R[1], R[2]].into_iter().enumerate() {
        plan.turn(turn);
        plan.step(R[0], autodice::plan::Step::Input(source));
        plan.run(R[0], stage);
        let copy = plan.whole(replica, a);
        plan.message((R[0], middle), (replica, copy), graph.whole(a));
        let made = plan.whole(replica, y);
        let rest = plan.piece(replica, &second, &[copy], &[made]);
        plan.run(replica, rest);
        let out = plan.whole(R[0], y);
        plan.message((replica, made), (R[0], out), graph.whole(y));
        plan.output(out);
    }
    plan.release_after_last_use();
    plan.build()
}

/// HALP's zone: the host, rank 0, computes rows 5..7 between its two neighbours, which never
/// talk to each other.
fn host_zone(graph: &Graph, window: u32) -> Plan {
    let (x, a, y) = (id(graph, "x"), id(graph, "relu_a"), id(graph, "relu_b"));
    let first = [node(graph, "conv_a"), node(graph, "relu_a")];
    let second = [node(graph, "conv_b"), node(graph, "relu_b")];
    let mut plan = PlanBuilder::new(graph, 3, window, 1);
    let whole = plan.input(x);
    let own = [(5, 7), (0, 5), (7, 12)];
    let needed = [(4, 8), (0, 6), (6, 12)];
    let mut source = vec![whole];
    for i in [1, 2] {
        let region = rows(graph, x, needed[i].0, needed[i].1);
        let part = plan.part(R[i], x, region.clone());
        plan.message((R[0], whole), (R[i], part), region);
        source.push(part);
    }
    let held: Vec<_> = (0..3)
        .map(|i| plan.part(R[i], a, rows(graph, a, needed[i].0, needed[i].1)))
        .collect();
    for i in 0..3 {
        let outputs = vec![(held[i], rows(graph, a, own[i].0, own[i].1))];
        let piece = plan
            .piece_needing(R[i], &first, &[source[i]], outputs)
            .expect("rows fit");
        plan.run(R[i], piece);
    }
    let exchange = [(0, 1, 5, 6), (0, 2, 6, 7), (1, 0, 4, 5), (2, 0, 7, 8)];
    let messages: Vec<_> = exchange
        .iter()
        .map(|&(from, to, start, end)| {
            let region = rows(graph, a, start, end);
            plan.transfer((R[from], held[from]), (R[to], held[to]), region)
        })
        .collect();
    messages.iter().for_each(|&message| plan.send(message));
    messages.iter().for_each(|&message| plan.receive(message));
    let mut made = vec![];
    for i in 0..3 {
        let region = rows(graph, y, own[i].0, own[i].1);
        let part = plan.part(R[i], y, region.clone());
        let piece = plan
            .piece_needing(R[i], &second, &[held[i]], vec![(part, region)])
            .expect("rows fit");
        plan.run(R[i], piece);
        made.push(part);
    }
    let copies = [(R[1], made[1]), (R[2], made[2])];
    let mut copied = vec![made[0]];
    for (rank, part) in copies {
        let region = plan.plan().part(rank, part).region.clone();
        let copy = plan.part(R[0], y, region.clone());
        plan.message((rank, part), (R[0], copy), region);
        copied.push(copy);
    }
    let all = plan.whole(R[0], y);
    plan.assemble(R[0], &copied, all);
    let out = plan.whole(R[0], id(graph, "pool"));
    let pool = plan.piece(R[0], &[node(graph, "pool")], &[all], &[out]);
    plan.run(R[0], pool);
    plan.output(out);
    plan.release_after_last_use();
    plan.build()
}

fn frames(count: u64) -> Vec<Vec<Value>> {
    (0..count)
        .map(|seed| vec![random_integers(seed, &[1, 2, 12, 8], 4)])
        .collect()
}

#[test]
fn rows_with_halo_and_overlap() {
    let fixture = fixture();
    for window in 1..=3 {
        fixture.assert_exact(
            &row_halo_with_overlap(&fixture.graph, window),
            &frames(5),
            window,
        );
    }
}

#[test]
fn a_channel_pair_with_a_ring() {
    let fixture = fixture();
    for window in 1..=3 {
        fixture.assert_exact(
            &channel_pair_with_ring(&fixture.graph, window),
            &frames(5),
            window,
        );
    }
}

#[test]
fn replicas_take_frames_in_turn() {
    let fixture = fixture();
    for window in 1..=5 {
        fixture.assert_exact(&replicas(&fixture.graph, window), &frames(9), window);
    }
}

#[test]
fn a_host_zone_between_ranks_that_never_talk() {
    let fixture = fixture();
    for window in 1..=3 {
        fixture.assert_exact(&host_zone(&fixture.graph, window), &frames(5), window);
    }
}

#[test]
fn ranks_0_1_0_with_four_frames_in_flight() {
    let fixture = fixture();
    let owners = [R[0], R[0], R[1], R[1], R[0]];
    for window in 1..=4 {
        let plan = compile_owners(&fixture.graph, &owners, 2, window);
        fixture.assert_exact(&plan, &frames(12), window);
    }
}
