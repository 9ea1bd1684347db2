//! A predicted cost as the table that people read, and as JSON for programs.

use serde_json::{json, Value};

use super::table::{kibibytes, lay_out, mebibytes, number, Column, Side};
use crate::cost::{Cost, RankCost};
use crate::stats::Summary;

/// The ranks: header lines begin with `#`, data lines do not. Times are medians of frames.
pub fn cost_table(cost: &Cost) -> String {
    use Side::{Left, Right};
    let rows: Vec<(usize, &RankCost)> = cost.ranks.iter().enumerate().collect();
    let column = |name, unit, side, cell: &dyn Fn(&(usize, &RankCost)) -> String| Column {
        name,
        unit,
        side,
        cells: rows.iter().map(cell).collect(),
    };
    let ms = |summary: &Summary| number(summary.p50 / 1e3);
    let columns = [
        column("rank", "", Right, &|r| r.0.to_string()),
        column("host", "", Left, &|r| r.1.host.clone()),
        column("wait", "(ms)", Right, &|r| ms(&r.1.wait_us)),
        column("compute", "(ms)", Right, &|r| ms(&r.1.compute_us)),
        column("transfer", "(ms)", Right, &|r| ms(&r.1.transfer_us)),
        column("received", "(KiB)", Right, &|r| {
            kibibytes(r.1.received_bytes)
        }),
        column("sent", "(KiB)", Right, &|r| kibibytes(r.1.sent_bytes)),
        column("busy", "(%)", Right, &|r| {
            format!("{:.1}", 100.0 * r.1.busy)
        }),
        column("memory", "(MiB)", Right, &|r| memory(r.1)),
        column("joules", "(J)", Right, &|r| {
            r.1.joules.map_or("-".into(), number)
        }),
    ];
    let (head, body) = lay_out(&columns);
    let head = head.iter().map(|row| format!("#{row}\n"));
    head.chain(body.iter().map(|row| format!(" {row}\n")))
        .collect()
}

/// With a `!` where it is more than the host has.
fn memory(rank: &RankCost) -> String {
    let over = rank
        .memory_limit_bytes
        .is_some_and(|limit| rank.memory_bytes > limit);
    format!(
        "{}{}",
        mebibytes(rank.memory_bytes),
        if over { "!" } else { "" }
    )
}

/// Lines after the ranks: what the whole comes to, and what binds.
pub fn cost_lines(cost: &Cost) -> Vec<String> {
    let latency = cost.latency_us();
    let ms = |us: f64| number(us / 1e3);
    let mut lines = vec![
        format!(
            "# latency p50 {} p95 {} max {} ms",
            ms(latency.p50),
            ms(latency.p95),
            ms(latency.max)
        ),
        format!(
            "# period {} ms   throughput {} frames/s",
            cost.period_us().map_or("-".into(), ms),
            number(cost.throughput_fps())
        ),
    ];
    if let Some(joules) = cost.joules() {
        lines.push(format!("# energy {} J for a frame", number(joules)));
    }
    let share = |bound: &crate::cost::Bound| format!("{} {:.1} %", bound.name, 100.0 * bound.share);
    if let Some((first, others)) = cost.bounds.split_first() {
        let what = match first.is_full() {
            true => share(first),
            false => format!("waiting; the busiest is {}", share(first)),
        };
        let others: Vec<String> = others.iter().take(2).map(share).collect();
        let then = if others.is_empty() { "" } else { "; then " };
        lines.push(format!("# binds: {what}{then}{}", others.join(", ")));
    }
    let misfits = cost.misfits().map(|error| format!("# warning: {error}"));
    lines.extend(misfits);
    lines
}

/// The same as `run.json` has it of a run, where there is such a thing.
pub fn cost_json(cost: &Cost) -> Value {
    let summary = |of: &Summary| {
        json!({"p50": of.p50 / 1e3, "p95": of.p95 / 1e3, "max": of.max / 1e3,
            "mean": of.mean / 1e3, "count": of.count})
    };
    let rank = |(index, rank): (usize, &RankCost)| {
        json!({
            "rank": index,
            "host": rank.host,
            "receive_ms": summary(&rank.wait_us),
            "compute_ms": summary(&rank.compute_us),
            "send_ms": summary(&rank.transfer_us),
            "received_bytes": rank.received_bytes,
            "sent_bytes": rank.sent_bytes,
            "busy": rank.busy,
            "peak_rss_bytes": rank.memory_bytes,
            "memory_limit_bytes": rank.memory_limit_bytes,
            "joules": rank.joules,
        })
    };
    let bounds = cost.bounds.iter().take(16);
    json!({
        "frames": cost.frames.len(),
        "latency_ms": summary(&cost.latency_us()),
        "period_ms": cost.period_us().map(|us| us / 1e3),
        "throughput_fps": cost.throughput_fps(),
        "joules": cost.joules(),
        "binds": bounds.map(|b| json!({"what": b.name, "share": b.share})).collect::<Vec<_>>(),
        "ranks": cost.ranks.iter().enumerate().map(rank).collect::<Vec<_>>(),
    })
}
