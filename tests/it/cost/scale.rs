//! How long a prediction itself takes.

use std::time::Instant;

use autodice::cost::{cost, Asked};
use autodice::graph::Graph;
use autodice::plan::compile;
use autodice::spec::Exchange;

use super::{hosts, network};
use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::specs::{alone, behind, rows, spec, stage};

/// Thirteen convolutions, two pools, as high as it takes to give every rank rows.
fn tower(height: usize) -> Graph {
    let mut b = GraphBuilder::new("tower");
    let mut x = b.input(&[1, 3, height, 64]);
    for _ in 0..13 {
        x = b.conv(x, 8, square(3, 1, 1), 1);
        x = b.relu(x);
    }
    b.finish(&[x])
}

fn seconds(graph: &Graph, ranks: usize, frames: u64, at: Exchange) -> f64 {
    let all: Vec<usize> = (0..ranks).collect();
    let split = rows(&vec![1; ranks], at, true);
    let spec = spec(vec![stage(Some("relu23"), &all, split), alone(None, &[0])]);
    let plan = compile(graph, &spec).unwrap();
    let platform = hosts(ranks, &network(100));
    let places = platform.places(&vec![None; ranks]).unwrap();
    let asked = Asked {
        frames,
        warmup: 0,
        intervals: false,
    };
    let started = Instant::now();
    let cost = cost(graph, &plan, &platform, &places, asked).unwrap();
    let took = started.elapsed().as_secs_f64();
    let (steps, messages) = (
        plan.ranks
            .iter()
            .map(|rank| rank.turns[0].len())
            .sum::<usize>(),
        plan.transfers.len(),
    );
    println!(
        "{frames} frames on {ranks} ranks, {steps} steps and {messages} messages a frame: {took:.3} s \
         for {:.1} ms",
        cost.frames.last().unwrap().landed_us / 1e3
    );
    took
}

#[test]
fn a_thousand_ranks_and_a_thousand_frames_take_a_second() {
    // Generous: the machine may be busy. Alone it is well below one.
    assert!(seconds(&tower(2000), 1000, 1, Exchange::Each) < 5.0);
    assert!(seconds(&tower(2000), 1000, 1, behind(&["relu11", "relu23"])) < 5.0);
    assert!(seconds(&tower(256), 8, 1000, Exchange::Each) < 5.0);
}
