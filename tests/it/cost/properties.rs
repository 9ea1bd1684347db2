//! What holds for every plan: all frames come out, bytes are the tally's, causes come first.

use autodice::cost::{Cost, Kind};
use autodice::graph::Graph;
use autodice::plan::{tally, transfer_bytes, Plan, Step};

use super::{close, hosts, network, replay};
use crate::support::hand_plans;

const FRAMES: u64 = 12;

fn check(name: &str, graph: &Graph, plan: &Plan, alpha: u64, cost: &Cost) {
    assert_eq!(cost.frames.len() as u64, FRAMES, "{name}");
    assert!(
        cost.frames.iter().all(|frame| frame.latency_us() > 0.0),
        "{name}"
    );
    let tally = tally(graph, plan).unwrap();
    for interval in &cost.intervals {
        assert!(
            0.0 <= interval.start_us && interval.start_us <= interval.end_us,
            "{name}"
        );
    }
    for rank in 0..plan.ranks.len() {
        let own = cost.intervals.iter().filter(|i| i.rank.index() == rank);
        let mut sent = 0;
        let mut runs: Vec<(f64, f64)> = vec![];
        for interval in own {
            match interval.kind {
                Kind::Run(_) | Kind::Copy => runs.push((interval.start_us, interval.end_us)),
                Kind::Send(id) => sent += transfer_bytes(graph, plan, id),
                Kind::Receive(id) => {
                    let send = cost.intervals.iter().find(|other| {
                        other.kind == Kind::Send(id) && other.sequence == interval.sequence
                    });
                    let left = send.expect("what is received was sent").end_us;
                    let arrived = left + alpha as f64;
                    assert!(interval.end_us >= arrived - 1e-6, "{name}: {id}");
                }
            }
        }
        // One thing at a time on the compute thread.
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(runs.windows(2).all(|w| w[0].1 <= w[1].0 + 1e-6), "{name}");
        let busy: f64 = runs.iter().map(|(a, b)| b - a).sum();
        let period = cost.period_us().unwrap() * FRAMES as f64;
        assert!(
            close((busy / period).min(1.0), cost.ranks[rank].busy),
            "{name}"
        );
        let turns = &tally.ranks[rank].turns;
        let planned = (0..FRAMES).map(|n| turns[n as usize % turns.len()].sent_bytes);
        assert_eq!(sent, planned.sum::<u64>(), "{name}: rank {rank}");
    }
    let sends = plan
        .ranks
        .iter()
        .flat_map(|rank| rank.turns.iter().flatten());
    assert!(
        sends.filter(|step| matches!(step, Step::Send(_))).count() > 0,
        "{name}"
    );
}

#[test]
fn every_kind_of_plan_runs_through() {
    for (name, graph, plan) in hand_plans::all() {
        if plan.transfers.is_empty() {
            continue;
        }
        for alpha in [0, 100] {
            for window in [1, plan.window, 7] {
                let plan = Plan {
                    window,
                    ..plan.clone()
                };
                let platform = hosts(plan.ranks.len(), &network(alpha));
                let cost = replay(&graph, &plan, &platform, FRAMES);
                check(name, &graph, &plan, alpha, &cost);
                assert_eq!(
                    cost,
                    replay(&graph, &plan, &platform, FRAMES),
                    "{name}: the same again"
                );
            }
        }
    }
}

#[test]
fn a_faster_link_is_never_slower_for_one_frame() {
    for (name, graph, plan) in hand_plans::all() {
        let latency = |rate: f64| {
            let text = format!("{{link: {{alpha_us: 10, mb_per_s: {rate}}}}}");
            let cost = replay(&graph, &plan, &hosts(plan.ranks.len(), &text), 1);
            cost.frames[0].latency_us()
        };
        let found = [0.1, 1.0, 10.0, 1000.0].map(latency);
        assert!(
            found.windows(2).all(|w| w[0] >= w[1] - 1e-6),
            "{name}: {found:?}"
        );
    }
}
