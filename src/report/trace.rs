//! Intervals as Chrome trace JSON, predicted or measured alike: open both in Perfetto
//! (ui.perfetto.dev) or chrome://tracing and lay them side by side.
//!
//! A process for each rank, with the compute thread's steps; messages are drawn apart, since many
//! are under way at once. Times are µs from the first opening.

use serde_json::{json, Value};

use crate::cost::{Interval, Kind};
use crate::graph::Graph;
use crate::ids::{PieceId, Rank};
use crate::plan::Plan;

/// The trace of some frames; `hosts` has the name of every rank's machine.
pub fn chrome_trace(
    graph: &Graph,
    plan: &Plan,
    hosts: &[String],
    intervals: &[Interval],
) -> String {
    let mut events: Vec<Value> = vec![];
    for (rank, host) in hosts.iter().enumerate() {
        let name = format!("rank {rank} on {host}");
        events
            .push(json!({"ph": "M", "pid": rank, "name": "process_name", "args": {"name": name}}));
        events.push(
            json!({"ph": "M", "pid": rank, "tid": 0, "name": "thread_name",
            "args": {"name": "compute"}}),
        );
    }
    for (index, interval) in intervals.iter().enumerate() {
        let (pid, frame) = (interval.rank.index(), interval.sequence);
        let name = interval_name(graph, plan, interval);
        let args = json!({"frame": frame});
        match interval.kind {
            Kind::Run(_) | Kind::Copy => events.push(json!({
                "ph": "X", "pid": pid, "tid": 0, "cat": "compute", "name": name, "args": args,
                "ts": interval.start_us, "dur": interval.end_us - interval.start_us,
            })),
            Kind::Send(_) | Kind::Receive(_) => {
                for (phase, time) in [("b", interval.start_us), ("e", interval.end_us)] {
                    events.push(json!({
                        "ph": phase, "pid": pid, "tid": 1, "cat": "message", "id": index,
                        "name": name, "args": args, "ts": time,
                    }));
                }
            }
        }
    }
    // An event a line, so that `grep` and `diff` see events.
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let lines = lines.join(",\n");
    format!("{{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n{lines}\n]}}\n")
}

/// What an interval was spent on, in words.
pub(super) fn interval_name(graph: &Graph, plan: &Plan, interval: &Interval) -> String {
    match interval.kind {
        Kind::Run(id) => piece_name(graph, plan, interval.rank, id),
        Kind::Copy => "copy".into(),
        Kind::Send(id) => format!("{id} to rank {}", plan.transfer(id).to),
        Kind::Receive(id) => format!("{id} from rank {}", plan.transfer(id).from),
    }
}

/// `conv1_1 … pool1`.
fn piece_name(graph: &Graph, plan: &Plan, rank: Rank, id: PieceId) -> String {
    let nodes = &plan.ranks[rank.index()].pieces[id.index()].nodes;
    let name = |at: usize| graph.node(nodes[at]).name.as_str();
    match nodes.len() {
        0 => id.to_string(),
        1 => name(0).into(),
        count => format!("{} … {}", name(0), name(count - 1)),
    }
}
