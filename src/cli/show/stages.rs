//! The stages of a spec: how each is split, what it costs.

use super::table::Table;
use super::{gmac, kib};
use crate::graph::Graph;
use crate::ids::Rank;
use crate::plan::{stages_tally, Makers, Plan, Stage, StageTurn};
use crate::spec::{Exchange, ExchangeSpec, Pairing, Spec, SplitSpec, ZoneRows};

const HEADER: [&str; 8] = [
    "stage",
    "split",
    "ranks",
    "nodes",
    "GMAC",
    "R",
    "entry KiB",
    "inside KiB",
];

const LEGEND: &str = "\
# R: multiply-accumulates that the ranks compute, over the stage's GMAC, which are uncut
# entry: received of the input and of other stages; inside: of the stage itself; both for a frame
";

/// A line for each stage, and what the columns mean.
pub fn text(graph: &Graph, spec: &Spec, plan: &Plan, makers: &Makers, stages: &[Stage]) -> String {
    let tally = stages_tally(graph, plan, makers, stages);
    let count = makers.turns() as u64;
    let mut table = Table::new(3, &HEADER);
    for (index, (stage, sums)) in stages.iter().zip(&tally.stages).enumerate() {
        let mean = |of: fn(&StageTurn) -> u64| sums.turns.iter().map(of).sum::<u64>() / count;
        let redundancy = sums.redundancy();
        table.row(vec![
            index.to_string(),
            words(spec.stages[index].split.as_ref()),
            list(&stage.ranks),
            stage.nodes.len().to_string(),
            gmac(sums.macs),
            redundancy.map_or("-".into(), |factor| format!("{factor:.3}")),
            kib(mean(|turn| turn.entry_bytes)),
            kib(mean(|turn| turn.inside_bytes)),
        ]);
    }
    let outputs = tally.output_bytes.iter().sum::<u64>() / count;
    let outputs = match outputs {
        0 => String::new(),
        bytes => format!("# outputs: {} KiB to rank 0\n", kib(bytes)),
    };
    table.print() + LEGEND + &outputs
}

/// A split in few words, as the spec has it.
pub fn words(split: Option<&SplitSpec>) -> String {
    let Some(split) = split else {
        return "one rank".into();
    };
    let mut words = split.by().to_string();
    match split {
        SplitSpec::Rows(rows) => {
            words += &shares(&rows.shares);
            if !rows.cuts.is_empty() {
                words += ", cuts";
            }
            if let Some(zone) = &rows.zone {
                let least = match zone.rows {
                    ZoneRows::Min => "min".into(),
                    ZoneRows::Count(count) => count.to_string(),
                };
                words += &format!(", zone {least} on {}", zone.rank);
            }
            words += &exchange(&rows.exchange);
        }
        SplitSpec::Grid(grid) => {
            words += &format!(" {}x{}", grid.grid.0, grid.grid.1);
            words += &shares(&grid.rows);
            if !grid.columns.is_empty() {
                words += &format!(" by{}", shares(&grid.columns));
            }
            words += &exchange(&grid.exchange);
        }
        SplitSpec::Channels(channels) => {
            words += &shares(&channels.shares);
            match &channels.pair {
                Pairing::None => {}
                Pairing::Auto => words += ", pair auto",
                Pairing::List(pairs) => words += &format!(", {} pairs", pairs.len()),
            }
        }
        SplitSpec::Frames(frames) => words += &shares(&frames.shares),
    }
    words
}

/// ` 2:1`; nothing for equal shares that are not given.
fn shares(shares: &[u64]) -> String {
    let texts: Vec<String> = shares.iter().map(u64::to_string).collect();
    match texts.is_empty() {
        true => String::new(),
        false => format!(" {}", texts.join(":")),
    }
}

fn exchange(exchange: &ExchangeSpec) -> String {
    let behind = match &exchange.at {
        Exchange::Each => String::new(),
        Exchange::Behind(nodes) => format!(", exchange {}", nodes.len()),
    };
    let overlap = if exchange.overlap { ", overlap" } else { "" };
    behind + overlap
}

/// Ranks in their order, runs of three and more in short: `0-3,7`.
pub fn list(ranks: &[Rank]) -> String {
    let mut texts = Vec::new();
    let mut rest = ranks;
    while let Some(first) = rest.first() {
        let follows = |(index, rank): &(usize, &Rank)| rank.index() == first.index() + index;
        let run = rest.iter().enumerate().take_while(follows).count();
        let taken = if run < 3 { 1 } else { run };
        texts.push(match taken {
            1 => first.to_string(),
            _ => format!("{first}-{}", rest[taken - 1]),
        });
        rest = &rest[taken..];
    }
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ChannelsSpec, FramesSplitSpec, GridSpec, RowsSpec, ZoneSpec};

    #[test]
    fn runs_of_ranks_are_short() {
        let text = |ranks: &[usize]| {
            let ranks: Vec<Rank> = ranks.iter().map(|&rank| Rank::new(rank)).collect();
            list(&ranks)
        };
        assert_eq!(text(&[0, 1, 2, 3, 7]), "0-3,7");
        assert_eq!(text(&[0, 1]), "0,1");
        assert_eq!(text(&[3, 1, 2, 0]), "3,1,2,0");
        assert_eq!(text(&[5]), "5");
    }

    #[test]
    fn a_split_is_said_in_few_words() {
        assert_eq!(words(None), "one rank");
        let exchange = ExchangeSpec {
            at: Exchange::Behind(vec!["a".into(), "b".into()]),
            overlap: true,
            gather: true,
        };
        let rows = RowsSpec {
            shares: vec![1, 0, 1],
            exchange: exchange.clone(),
            ..RowsSpec::default()
        };
        let text = words(Some(&SplitSpec::Rows(rows)));
        assert_eq!(text, "rows 1:0:1, exchange 2, overlap");
        let zone = RowsSpec {
            zone: Some(ZoneSpec {
                rank: 4,
                rows: ZoneRows::Min,
            }),
            cuts: vec![("a".into(), vec![3])],
            ..RowsSpec::default()
        };
        assert_eq!(
            words(Some(&SplitSpec::Rows(zone))),
            "rows, cuts, zone min on 4"
        );
        let grid = |rows: &[u64], columns: &[u64]| {
            let grid = GridSpec {
                grid: (2, 3),
                rows: rows.to_vec(),
                columns: columns.to_vec(),
                exchange: ExchangeSpec::default(),
            };
            words(Some(&SplitSpec::Grid(grid)))
        };
        assert_eq!(grid(&[], &[]), "grid 2x3");
        assert_eq!(grid(&[2, 1], &[1, 1, 3]), "grid 2x3 2:1 by 1:1:3");
        let channels = ChannelsSpec {
            shares: vec![],
            pair: Pairing::Auto,
        };
        assert_eq!(
            words(Some(&SplitSpec::Channels(channels))),
            "channels, pair auto"
        );
        let frames = FramesSplitSpec { shares: vec![2, 1] };
        assert_eq!(words(Some(&SplitSpec::Frames(frames))), "frames 2:1");
    }
}
