//! The table on stdout: header lines begin with `#`, data lines do not.

use super::beside::{beside_lines, latency_cell, period_cell};
use super::{RankReport, RunReport, Status};

/// How a column's cells stand.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A column: its head, and a cell for each row.
pub(super) struct Column {
    pub name: &'static str,
    pub unit: &'static str,
    pub side: Side,
    pub cells: Vec<String>,
}

/// Lines before the ranks: what ran, and how.
pub fn header_lines(report: &RunReport) -> Vec<String> {
    let versions = &report.versions;
    let mut first = format!("# autodice-run {}", versions.autodice);
    for part in [
        versions.mpi.as_ref().map(|mpi| format!("mpi {mpi}")),
        Some(versions.engine.clone()).filter(|engine| !engine.is_empty()),
        versions
            .commit
            .as_ref()
            .map(|c| format!("commit {}", short(c))),
    ] {
        first += &part.map_or(String::new(), |part| format!("  {part}"));
    }
    let settings = &report.settings;
    let check = if settings.verify { "on" } else { "off" };
    let mut lines = vec![
        first,
        format!(
            "# spec {}  hash {}",
            report.spec,
            short(&report.hashes.spec)
        ),
        format!(
            "# model {}  hash {}",
            report.model,
            short(&report.hashes.model)
        ),
        format!("# input {}", settings.input),
    ];
    if let Some(predicted) = &report.predicted {
        lines.push(format!("# platform {}", predicted.platform));
    }
    lines.push(format!(
        "# frames {}  bad {}  warmup {}  in flight {}  threads {}  wire {}  check {check}",
        report.frames,
        report.bad_frames,
        settings.warmup,
        settings.in_flight,
        settings.threads,
        settings.wire
    ));
    lines
}

/// The ranks, twice: where each is and what it holds (header lines), then what its frames cost
/// (data lines). Times are medians of frames; `p95` and `max` are those of `compute`.
pub fn rank_table(ranks: &[RankReport]) -> String {
    let column = |name, unit, side, cell: &dyn Fn(&RankReport) -> String| Column {
        name,
        unit,
        side,
        cells: ranks.iter().map(cell).collect(),
    };
    use Side::{Left, Right};
    let places = [
        column("rank", "", Right, &|r| r.rank.to_string()),
        column("host", "", Left, &|r| dash(&r.host)),
        column("cores", "", Left, &|r| dash(&r.cores)),
        column("stages", "", Left, &|r| dash(&r.stages)),
        column("nodes", "", Right, &|r| r.nodes.to_string()),
        column("params", "(MiB)", Right, &|r| mebibytes(r.parameters_bytes)),
        column("peak rss", "(MiB)", Right, &|r| mebibytes(r.peak_rss_bytes)),
    ];
    let costs = [
        column("rank", "", Right, &|r| r.rank.to_string()),
        column("recv", "(ms)", Right, &|r| number(r.receive_ms.p50)),
        column("compute", "(ms)", Right, &|r| number(r.compute_ms.p50)),
        column("send", "(ms)", Right, &|r| number(r.send_ms.p50)),
        column("received", "(KiB)", Right, &|r| kibibytes(r.received_bytes)),
        column("sent", "(KiB)", Right, &|r| kibibytes(r.sent_bytes)),
        column("p95", "(ms)", Right, &|r| number(r.compute_ms.p95)),
        column("max", "(ms)", Right, &|r| number(r.compute_ms.max)),
        column("#wrong", "", Right, &|r| {
            r.wrong.map_or("-".into(), |wrong| wrong.to_string())
        }),
    ];
    let (head, body) = lay_out(&places);
    let mut text: Vec<_> = head
        .iter()
        .chain(&body)
        .map(|row| format!("#{row}"))
        .collect();
    text.push("#".into());
    let (head, body) = lay_out(&costs);
    text.extend(head.iter().map(|row| format!("#{row}")));
    text.extend(body.iter().map(|row| format!(" {row}")));
    text.join("\n") + "\n"
}

/// Lines after the ranks: what the run as a whole came to.
pub fn footer_lines(report: &RunReport) -> Vec<String> {
    let (latency, predicted) = (&report.latency_ms, report.predicted.as_ref());
    let mut lines = vec![
        format!(
            "# latency p50 {} p95 {} max {} ms{}",
            number(latency.p50),
            number(latency.p95),
            number(latency.max),
            latency_cell(predicted)
        ),
        format!(
            "# period {} ms   throughput {} frames/s{}",
            report.period_ms.map_or("-".into(), number),
            number(report.throughput_fps),
            period_cell(predicted)
        ),
    ];
    let accuracy = report.accuracy.as_ref();
    let share = accuracy.and_then(|a| Some((a, a.share()?, a.interval()?)));
    if let Some((accuracy, share, (low, high))) = share {
        lines.push(format!(
            "# accuracy {:.2} %   {} of {}   95 % interval {:.2} to {:.2} %",
            100.0 * share,
            accuracy.right,
            accuracy.counted,
            100.0 * low,
            100.0 * high
        ));
    }
    match report.status {
        Status::Done => {}
        Status::Interrupted => lines.push("# interrupted".into()),
        Status::Failed => lines.push("# failed".into()),
    }
    if let Some(wrong) = report.wrong {
        let verdict = if wrong == 0 { "OK" } else { "FAILED" };
        lines.push(format!("# Out of bounds values : {wrong} {verdict}"));
    }
    lines
}

/// All of it, as printed.
pub fn run_table(report: &RunReport) -> String {
    let lines = |lines: Vec<String>| lines.join("\n") + "\n";
    let (header, footer) = (header_lines(report), footer_lines(report));
    let beside = report.predicted.as_ref().map_or(vec![], |predicted| {
        let beside = beside_lines(&report.ranks, predicted);
        [vec!["#".into()], beside].concat()
    });
    let end = [beside, vec!["#".into()], footer].concat();
    lines(header) + &rank_table(&report.ranks) + &lines(end)
}

/// Header rows (names, then units where there are any) and data rows, columns as wide as their
/// widest cell, two spaces apart.
pub(super) fn lay_out(columns: &[Column]) -> (Vec<String>, Vec<String>) {
    let count = |text: &str| text.chars().count();
    let row = |cell: &dyn Fn(&Column) -> String| {
        let mut row = String::new();
        for column in columns {
            let widest = column.cells.iter().map(|cell| count(cell)).max();
            let names = count(column.name).max(count(column.unit));
            let width = widest.unwrap_or(0).max(names);
            let cell = cell(column);
            row += &match column.side {
                Side::Left => format!("  {cell:<width$}"),
                Side::Right => format!("  {cell:>width$}"),
            };
        }
        row.trim_end().to_string()
    };
    let mut head = vec![row(&|column| column.name.into())];
    if columns.iter().any(|column| !column.unit.is_empty()) {
        head.push(row(&|column| column.unit.into()));
    }
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let body = (0..rows).map(|i| row(&|column| column.cells[i].clone()));
    (head, body.collect())
}

/// Three or four figures, never an exponent.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(super) fn kibibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.into()
}

/// Enough of a hash to tell two apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
