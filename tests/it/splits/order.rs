//! In which order a rank sends what several lack.

use autodice::graph::Graph;
use autodice::ids::Rank;
use autodice::plan::{compile, Plan, Step};
use autodice::spec::{Pairing, ReduceSpec};

use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::specs::{channels, pair, spec, stage};

fn two_convolutions() -> Graph {
    let mut b = GraphBuilder::new("two");
    let x = b.input(&[1, 12, 6, 8]);
    let x = b.conv(x, 24, square(3, 1, 1), 1);
    let x = b.conv(x, 36, square(3, 1, 1), 1);
    b.finish(&[x])
}

/// The receivers of what a rank sends without another step in between, each time.
fn rounds(plan: &Plan, rank: Rank) -> Vec<Vec<Rank>> {
    let steps = &plan.ranks[rank.index()].turns[0];
    let to = |step: &Step| match step {
        Step::Send(id) => Some(plan.transfers[id.index()].to),
        _ => None,
    };
    let rounds = steps.split(|step| to(step).is_none());
    let rounds = rounds.map(|sends| sends.iter().filter_map(to).collect());
    rounds
        .filter(|round: &Vec<Rank>| !round.is_empty())
        .collect()
}

#[test]
fn where_all_send_to_all_each_is_the_first_receiver_of_one() {
    let graph = two_convolutions();
    let summed = Pairing::List(vec![pair(&["conv0"], ReduceSpec::Scatter)]);
    for pairing in [Pairing::None, summed] {
        for n in 3..=5_u32 {
            let ranks: Vec<usize> = (0..n as usize).collect();
            let split = channels(pairing.clone());
            let plan = compile(&graph, &spec(vec![stage(None, &ranks, split)])).expect("a plan");
            for rank in 0..n {
                let turns: Vec<Rank> = (1..n).map(|k| Rank((rank + k) % n)).collect();
                let all: Vec<_> = rounds(&plan, Rank(rank))
                    .into_iter()
                    .filter(|round| round.len() == turns.len())
                    .collect();
                assert!(!all.is_empty(), "rank {rank} of {n} sends to all");
                for round in all {
                    assert_eq!(round, turns, "rank {rank} of {n}");
                }
            }
        }
    }
}
