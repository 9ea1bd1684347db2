//! What a run would take, beside what it took.

use serde::{Serialize, Serializer};

use super::predicted::cost_json;
use super::table::{lay_out, number, Column, Side};
use super::{Predicted, RankReport};
use crate::cost::RankCost;
use crate::stats::Summary;

/// As `autodice simulate --json` has it, with the platform's file.
impl Serialize for Predicted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = cost_json(&self.cost);
        json["platform"] = self.platform.as_str().into();
        json.serialize(serializer)
    }
}

/// Each rank's times, measured and predicted in turn: medians of frames, header lines only.
pub(super) fn beside_lines(ranks: &[RankReport], predicted: &Predicted) -> Vec<String> {
    let rows: Vec<_> = ranks.iter().zip(&predicted.cost.ranks).collect();
    type Row<'a> = (&'a RankReport, &'a RankCost);
    let column = |name, unit, cell: &dyn Fn(&Row) -> String| Column {
        name,
        unit,
        side: Side::Right,
        cells: rows.iter().map(cell).collect(),
    };
    let measured = |summary: &Summary| number(summary.p50);
    let said = |summary: &Summary| number(summary.p50 / 1e3);
    let columns = [
        column("rank", "", &|r| r.0.rank.to_string()),
        column("recv", "(ms)", &|r| measured(&r.0.receive_ms)),
        column("predicted", "(ms)", &|r| said(&r.1.wait_us)),
        column("compute", "(ms)", &|r| measured(&r.0.compute_ms)),
        column("predicted", "(ms)", &|r| said(&r.1.compute_us)),
        column("send", "(ms)", &|r| measured(&r.0.send_ms)),
        column("predicted", "(ms)", &|r| said(&r.1.transfer_us)),
    ];
    let (head, body) = lay_out(&columns);
    head.iter()
        .chain(&body)
        .map(|row| format!("#{row}"))
        .collect()
}

/// `   predicted latency 12.3 ms`, to stand behind the measured one.
pub(super) fn latency_cell(predicted: Option<&Predicted>) -> String {
    predicted.map_or(String::new(), |predicted| {
        let us = predicted.cost.latency_us().p50;
        format!("   predicted latency {} ms", number(us / 1e3))
    })
}

/// `   predicted period 4.1 ms`, likewise; `-` below two frames.
pub(super) fn period_cell(predicted: Option<&Predicted>) -> String {
    predicted.map_or(String::new(), |predicted| {
        let us = predicted.cost.period_us();
        let ms = us.map_or("-".into(), |us| format!("{} ms", number(us / 1e3)));
        format!("   predicted period {ms}")
    })
}
