//! Plans by hand, of the kinds that the literature's splits come down to.

use autodice::geometry::{Interval, Region};
use autodice::graph::Graph;
use autodice::ids::{ActivationId, NodeId, PartId, Rank};
use autodice::plan::{compile_owners, Plan, PlanBuilder};

use super::graph_builder::{square, GraphBuilder};

const R0: Rank = Rank(0);
const R1: Rank = Rank(1);
const R2: Rank = Rank(2);

fn nodes(ids: &[u32]) -> Vec<NodeId> {
    ids.iter().map(|&id| NodeId(id)).collect()
}

fn rows(graph: &Graph, id: ActivationId, start: usize, end: usize) -> Region {
    graph.whole(id).with_axis(2, Interval::new(start, end))
}

/// conv0 relu1 conv2: x a0, y a2 behind relu1, z a3.
fn two_convolutions(height: usize) -> Graph {
    let mut b = GraphBuilder::new("two convolutions");
    let x = b.input(&[1, 2, height, 5]);
    let y = b.conv(x, 6, square(3, 1, 1), 1);
    let y = b.relu(y);
    let z = b.conv(y, 3, square(3, 1, 1), 1);
    b.finish(&[z])
}

const X: ActivationId = ActivationId(0);
const Y: ActivationId = ActivationId(2);
const Z: ActivationId = ActivationId(3);

/// Two ranks share eight rows, four each. Each makes the row that the other needs first, sends
/// it, and makes the others while it travels. Rank 0 has its halo in the same part as its own
/// rows, rank 1 in a part beside it.
pub fn row_halo() -> (Graph, Plan) {
    let graph = two_convolutions(8);
    let g = &graph;
    let mut b = PlanBuilder::new(g, 2, 2, 1);
    let x0 = b.input(X);
    let x1 = b.part(R1, X, rows(g, X, 3, 8));
    b.message((R0, x0), (R1, x1), rows(g, X, 3, 8));
    let y0 = b.part(R0, Y, rows(g, Y, 0, 5));
    let y1 = b.part(R1, Y, rows(g, Y, 4, 8));
    let halo = b.part(R1, Y, rows(g, Y, 3, 4));
    let (z0, z1) = (b.whole(R0, Z), b.part(R1, Z, rows(g, Z, 4, 8)));
    let front = nodes(&[0, 1]);
    let run = |b: &mut PlanBuilder, rank, nodes: &[NodeId], from: &[PartId], into, region| {
        let piece = b.piece_needing(rank, nodes, from, vec![(into, region)]);
        b.run(rank, piece.expect("boxes that fit"));
    };
    run(&mut b, R0, &front, &[x0], y0, rows(g, Y, 3, 4));
    run(&mut b, R1, &front, &[x1], y1, rows(g, Y, 4, 5));
    let down = b.transfer((R0, y0), (R1, halo), rows(g, Y, 3, 4));
    let up = b.transfer((R1, y1), (R0, y0), rows(g, Y, 4, 5));
    b.send(down);
    b.send(up);
    run(&mut b, R0, &front, &[x0], y0, rows(g, Y, 0, 3));
    run(&mut b, R1, &front, &[x1], y1, rows(g, Y, 5, 8));
    b.receive(up);
    b.receive(down);
    run(&mut b, R0, &nodes(&[2]), &[y0], z0, rows(g, Z, 0, 4));
    run(&mut b, R1, &nodes(&[2]), &[halo, y1], z1, rows(g, Z, 4, 8));
    b.message((R1, z1), (R0, z0), rows(g, Z, 4, 8));
    b.output(z0);
    b.release_after_last_use();
    let plan = b.build();
    (graph, plan)
}

/// Three ranks split a convolution by its output channels and the next by its input channels;
/// the sum goes round a ring, a third of the rows at a time.
pub fn channel_pair() -> (Graph, Plan) {
    let graph = two_convolutions(6);
    let g = &graph;
    let mut b = PlanBuilder::new(g, 3, 3, 1);
    let ranks = [R0, R1, R2];
    let after = |r: usize, by: usize| (r + by) % 3;
    let channels = |a, r: usize| g.whole(a).with_axis(1, Interval::new(2 * r, 2 * r + 2));
    let chunk = |r: usize| rows(g, Z, 2 * r, 2 * r + 2);
    let sum = b.sum(NodeId(2), (0..3).map(|r| channels(Y, r)).collect());
    let x0 = b.input(X);
    let xs = ranks.map(|rank| match rank {
        R0 => x0,
        _ => {
            let x = b.whole(rank, X);
            b.message((R0, x0), (rank, x), g.whole(X));
            x
        }
    });
    let mut partial = Vec::new();
    for (r, rank) in ranks.into_iter().enumerate() {
        let x = xs[r];
        let y = b.part(rank, Y, channels(Y, r));
        let front = b.piece(rank, &nodes(&[0, 1]), &[x], &[y]);
        b.run(rank, front);
        let z = b.partial(rank, Z, g.whole(Z), sum, &[r as u32]);
        let back = b.piece(rank, &nodes(&[2]), &[y], &[z]);
        b.run(rank, back);
        partial.push(z);
    }
    // Twice round: rank r sends chunk r, then what it has added up of chunk r - 1.
    let mut sums = partial.clone();
    for round in 0..2 {
        let mut added: Vec<PartId> = Vec::new();
        let mut landed = Vec::new();
        for r in 0..3 {
            let to = after(r, 1);
            let of = after(r, 3 - round);
            let members: Vec<u32> = (0..=round).map(|k| after(r, 3 - k) as u32).collect();
            let part = b.partial(ranks[to], Z, chunk(of), sum, &members);
            let transfer = b.transfer((ranks[r], sums[r]), (ranks[to], part), chunk(of));
            b.send(transfer);
            landed.push((transfer, part, of, members));
        }
        for r in 0..3 {
            let (transfer, part, of, members) = landed[after(r, 2)].clone();
            b.receive(transfer);
            let members = [&members[..], &[r as u32]].concat();
            let into = b.partial(ranks[r], Z, chunk(of), sum, &members);
            b.add(ranks[r], &[part, partial[r]], into);
            added.push(into);
        }
        sums = added;
    }
    // Rank r has chunk r + 1 complete; twice round again brings all chunks to all.
    let whole: Vec<PartId> = (0..3).map(|r| b.whole(ranks[r], Z)).collect();
    for r in 0..3 {
        b.assemble(ranks[r], &[sums[r]], whole[r]);
    }
    for round in 0..2 {
        let transfers: Vec<_> = (0..3)
            .map(|r| {
                let (to, of) = (after(r, 1), after(r, 4 - round));
                let ends = ((ranks[r], whole[r]), (ranks[to], whole[to]));
                let transfer = b.transfer(ends.0, ends.1, chunk(of));
                b.send(transfer);
                transfer
            })
            .collect();
        for transfer in transfers {
            b.receive(transfer);
        }
    }
    b.output(whole[0]);
    b.release_after_last_use();
    let plan = b.build();
    (graph, plan)
}

/// Rank 0 runs the first stage; ranks 1 and 2 take whole frames of the second in turn.
pub fn replicas() -> (Graph, Plan) {
    let graph = two_convolutions(6);
    let mut b = PlanBuilder::new(&graph, 3, 4, 2);
    let (x0, y0, z0) = (b.whole(R0, X), b.whole(R0, Y), b.whole(R0, Z));
    let front = b.piece(R0, &nodes(&[0, 1]), &[x0], &[y0]);
    for (turn, rank) in [R1, R2].into_iter().enumerate() {
        b.turn(turn);
        let (y, z) = (b.whole(rank, Y), b.whole(rank, Z));
        let back = b.piece(rank, &nodes(&[2]), &[y], &[z]);
        b.step(R0, autodice::plan::Step::Input(x0));
        b.run(R0, front);
        b.message((R0, y0), (rank, y), graph.whole(Y));
        b.run(rank, back);
        b.message((rank, z), (R0, z0), graph.whole(Z));
        b.output(z0);
    }
    b.release_after_last_use();
    let plan = b.build();
    (graph, plan)
}

/// Ranks 0, 1 and 0 again, four frames in flight.
pub fn interleaved() -> (Graph, Plan) {
    let graph = two_convolutions(6);
    let plan = compile_owners(&graph, &[R0, R1, R0], 2, 4);
    (graph, plan)
}

/// HALP: rank 0 is the host and makes the rows around the border between ranks 1 and 2, which
/// never talk to each other.
pub fn host_zone() -> (Graph, Plan) {
    let graph = two_convolutions(12);
    let g = &graph;
    let mut b = PlanBuilder::new(g, 3, 2, 1);
    let x0 = b.input(X);
    // (rank, rows that it makes, rows of y that it needs, rows of x that it needs)
    let shares = [
        (R0, 5..7, 4..8, 4..8),
        (R1, 0..5, 0..6, 0..6),
        (R2, 7..12, 6..12, 6..12),
    ];
    let xs = shares.clone().map(|(rank, _, _, x_rows)| match rank {
        R0 => x0,
        _ => {
            let region = rows(g, X, x_rows.start, x_rows.end);
            let x = b.part(rank, X, region.clone());
            b.message((R0, x0), (rank, x), region);
            x
        }
    });
    let mut ys = Vec::new();
    for ((rank, own, y_rows, _), x) in shares.clone().into_iter().zip(xs) {
        let y = b.part(rank, Y, rows(g, Y, y_rows.start, y_rows.end));
        let made = rows(g, Y, own.start, own.end);
        let front = b.piece_needing(rank, &nodes(&[0, 1]), &[x], vec![(y, made)]);
        b.run(rank, front.expect("rows that fit"));
        ys.push(y);
    }
    let halos = [(0, 1, 5), (0, 2, 6), (1, 0, 4), (2, 0, 7)];
    let transfers = halos.map(|(from, to, row)| {
        let ends = ((Rank::new(from), ys[from]), (Rank::new(to), ys[to]));
        let transfer = b.transfer(ends.0, ends.1, rows(g, Y, row, row + 1));
        b.send(transfer);
        transfer
    });
    transfers
        .into_iter()
        .for_each(|transfer| b.receive(transfer));
    let z0 = b.whole(R0, Z);
    for (index, (rank, own, ..)) in shares.into_iter().enumerate() {
        let made = rows(g, Z, own.start, own.end);
        let z = if rank == R0 {
            z0
        } else {
            b.part(rank, Z, made.clone())
        };
        let back = b.piece_needing(rank, &nodes(&[2]), &[ys[index]], vec![(z, made.clone())]);
        b.run(rank, back.expect("rows that fit"));
        if rank != R0 {
            b.message((rank, z), (R0, z0), made);
        }
    }
    b.output(z0);
    b.release_after_last_use();
    let plan = b.build();
    (graph, plan)
}

/// Two ranks add up half of the rows each, flatten what they have and multiply it: the product is
/// linear, and only the rank with member 0 adds its bias. Rank 0 does it in two pieces.
pub fn shared_pooling() -> (Graph, Plan) {
    let mut b = GraphBuilder::new("shared pooling");
    let x = b.input(&[1, 3, 6, 4]);
    let sum = b.global_sum(x);
    let flat = b.flatten(sum);
    let product = b.gemm(flat, 2);
    let graph = b.finish(&[product]);
    let g = &graph;
    let mut b = PlanBuilder::new(g, 2, 2, 1);
    let halves = [rows(g, x, 0, 3), rows(g, x, 3, 6)];
    let shared = b.sum(NodeId(0), halves.to_vec());
    let x0 = b.input(x);
    let x1 = b.part(R1, x, halves[1].clone());
    b.message((R0, x0), (R1, x1), halves[1].clone());
    let flat0 = b.partial(R0, flat, g.whole(flat), shared, &[0]);
    let ends = [(R0, 0), (R1, 1), (R0, 1)];
    let [product0, product1, other] =
        ends.map(|(rank, member)| b.partial(rank, product, g.whole(product), shared, &[member]));
    for (rank, ids, from, into) in [
        (R0, &[0, 1][..], x0, flat0),
        (R0, &[2], flat0, product0),
        (R1, &[0, 1, 2], x1, product1),
    ] {
        let made = b.plan().part(rank, into).region.clone();
        let piece = b.piece_needing(rank, &nodes(ids), &[from], vec![(into, made)]);
        b.run(rank, piece.expect("boxes that fit"));
    }
    b.message((R1, product1), (R0, other), g.whole(product));
    let out = b.whole(R0, product);
    b.add(R0, &[product0, other], out);
    b.output(out);
    b.release_after_last_use();
    let plan = b.build();
    (graph, plan)
}

/// All of them, with their names.
pub fn all() -> Vec<(&'static str, Graph, Plan)> {
    let plans = [
        ("row_halo", row_halo()),
        ("channel_pair", channel_pair()),
        ("replicas", replicas()),
        ("interleaved", interleaved()),
        ("host_zone", host_zone()),
        ("shared_pooling", shared_pooling()),
    ];
    plans
        .into_iter()
        .map(|(name, (graph, plan))| (name, graph, plan))
        .collect()
}
