//! `split:`, there and back, and each refusal with its line.

use super::super::yaml::{parse, to_yaml};
use super::super::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, SplitSpec, ZoneRows, ZoneSpec,
};
use super::random::Random;

impl Random {
    /// Any split of so many ranks, which a stage lists from the last to rank 0.
    pub fn split(&mut self, ranks: usize) -> SplitSpec {
        match self.below(4) {
            0 => SplitSpec::Rows(self.rows(ranks)),
            1 => SplitSpec::Grid(self.grid(ranks)),
            2 => SplitSpec::Channels(ChannelsSpec {
                shares: self.shares(ranks, 1 << 32),
                pair: self.pairing(),
            }),
            _ => SplitSpec::Frames(FramesSplitSpec {
                shares: self.shares(ranks, 64),
            }),
        }
    }

    fn rows(&mut self, ranks: usize) -> RowsSpec {
        let host = (ranks >= 3).then(|| 1 + self.size(ranks as u64 - 2));
        let zone = self.maybe(|r| ZoneSpec {
            rank: host.unwrap_or(0),
            rows: match r.below(2) {
                0 => ZoneRows::Min,
                _ => ZoneRows::Count(1 + r.size(1 << 31)),
            },
        });
        let zone = zone.filter(|_| host.is_some());
        let nodes = if zone.is_some() { 0 } else { self.size(4) };
        let cut = |r: &mut Self| {
            let mut ends: Vec<_> = (1..ranks).map(|_| r.size(300)).collect();
            ends.sort_unstable();
            ends
        };
        let names = self.names(nodes);
        RowsSpec {
            shares: self.shares(ranks, 1 << 32),
            cuts: names.into_iter().map(|name| (name, cut(self))).collect(),
            zone,
            exchange: self.exchange(),
        }
    }

    fn grid(&mut self, ranks: usize) -> GridSpec {
        let sides: Vec<_> = (1..=ranks)
            .filter(|side| ranks.is_multiple_of(*side))
            .collect();
        let rows = sides[self.size(sides.len() as u64)];
        let columns = ranks / rows;
        GridSpec {
            grid: (rows, columns),
            rows: self.shares(rows, 1 << 32),
            columns: self.shares(columns, 1 << 32),
            exchange: self.exchange(),
        }
    }

    fn exchange(&mut self) -> ExchangeSpec {
        let count = 1 + self.size(4);
        ExchangeSpec {
            at: match self.below(2) {
                0 => Exchange::Each,
                _ => Exchange::Behind(self.names(count)),
            },
            overlap: self.below(2) == 0,
            gather: self.below(2) == 0,
        }
    }

    fn pairing(&mut self) -> Pairing {
        match self.below(4) {
            0 => Pairing::None,
            1 => Pairing::Auto,
            _ => {
                let count = self.size(5);
                let mut names = self.names(2 * count).into_iter();
                let mut pair = || PairSpec {
                    nodes: names.by_ref().take(1 + self.size(2)).collect(),
                    reduce: [ReduceSpec::Root, ReduceSpec::Ring, ReduceSpec::Scatter][self.size(3)],
                };
                Pairing::List((0..count).map(|_| pair()).collect())
            }
        }
    }

    /// None, or one for each rank up to `high`, of all magnitudes and not all 0.
    fn shares(&mut self, ranks: usize, high: u64) -> Vec<u64> {
        let share = |r: &mut Self| match r.below(4) {
            0 => 0,
            1 => r.below(high + 1),
            2 => high,
            _ => 1 + r.below(9),
        };
        let shares = self.maybe(|r| (0..ranks).map(|_| share(r)).collect());
        let shares: Vec<u64> = shares.unwrap_or_default();
        let some = shares.iter().any(|share| *share > 0);
        if some {
            shares
        } else {
            vec![]
        }
    }

    /// Names that differ, now and then one longer than what YAML takes as a key without a mark.
    fn names(&mut self, count: usize) -> Vec<String> {
        let name = |i: usize, r: &mut Self| match r.below(20) {
            0 => format!("{}{i}", "n:".repeat(400 + r.size(200))),
            _ => format!("{}{i}", r.name()),
        };
        (0..count).map(|i| name(i, self)).collect()
    }
}

/// The split of a spec with one stage of these ranks, or the error's line without the file.
fn read(ranks: &str, split: &str) -> Result<SplitSpec, String> {
    let text = format!("{{model: m.onnx, stages: [{{ranks: {ranks}, split: {split}}}]}}");
    match parse("f", &text) {
        Ok(spec) => {
            assert_eq!(parse("f", &to_yaml(&spec)).as_ref(), Ok(&spec), "{split}");
            Ok(spec.stages[0].split.clone().unwrap())
        }
        Err(error) => Err(error.to_string().replacen("f: ", "", 1)),
    }
}

#[test]
fn every_key_of_a_split_is_read() {
    let behind = |names: &[&str]| Exchange::Behind(names.iter().map(|n| n.to_string()).collect());
    let rows = read(
        "[2, 0, 1]",
        "{by: rows, shares: [1, 2, 1], zone: {rank: 0, rows: 4}, exchange: [p4, p5], \
         overlap: true, gather: false}",
    );
    let exchange = ExchangeSpec {
        at: behind(&["p4", "p5"]),
        overlap: true,
        gather: false,
    };
    let zone = ZoneSpec {
        rank: 0,
        rows: ZoneRows::Count(4),
    };
    let wanted = RowsSpec {
        shares: vec![1, 2, 1],
        cuts: vec![],
        zone: Some(zone),
        exchange: exchange.clone(),
    };
    assert_eq!(rows, Ok(SplitSpec::Rows(wanted)));

    let rows = read(
        "[0, 1, 2]",
        "{by: rows, cuts: {b: [9, 19], a: [0, 0]}, exchange: each}",
    );
    let wanted = RowsSpec {
        cuts: vec![("b".into(), vec![9, 19]), ("a".into(), vec![0, 0])],
        ..RowsSpec::default()
    };
    assert_eq!(rows, Ok(SplitSpec::Rows(wanted)));

    let grid = read(
        "[0, 1, 2, 3, 4, 5]",
        "{by: grid, grid: 2x3, rows: [1, 3], columns: [1, 0, 2], exchange: [p4, p5], \
         overlap: true, gather: false}",
    );
    let wanted = GridSpec {
        grid: (2, 3),
        rows: vec![1, 3],
        columns: vec![1, 0, 2],
        exchange,
    };
    assert_eq!(grid, Ok(SplitSpec::Grid(wanted)));

    let channels = read(
        "[0, 1]",
        "{by: channels, shares: [3, 1], pair: [[a, b], {nodes: [c, d], reduce: ring}, \
         {nodes: [e]}]}",
    );
    let pair = |names: &[&str], reduce| PairSpec {
        nodes: names.iter().map(|n| n.to_string()).collect(),
        reduce,
    };
    let pairs = vec![
        pair(&["a", "b"], ReduceSpec::Scatter),
        pair(&["c", "d"], ReduceSpec::Ring),
        pair(&["e"], ReduceSpec::Scatter),
    ];
    let wanted = ChannelsSpec {
        shares: vec![3, 1],
        pair: Pairing::List(pairs),
    };
    assert_eq!(channels, Ok(SplitSpec::Channels(wanted)));

    let frames = read("[0, 1]", "{by: frames, shares: [64, 1]}");
    let wanted = FramesSplitSpec {
        shares: vec![64, 1],
    };
    assert_eq!(frames, Ok(SplitSpec::Frames(wanted)));
}

#[test]
fn one_rank_may_have_any_split_and_defaults_are_those_of_the_types() {
    for (text, wanted) in [
        ("{by: rows}", SplitSpec::Rows(RowsSpec::default())),
        (
            "{by: rows, shares: [7], cuts: {a: []}}",
            SplitSpec::Rows(RowsSpec {
                shares: vec![7],
                cuts: vec![("a".into(), vec![])],
                ..RowsSpec::default()
            }),
        ),
        (
            "{by: grid, grid: 1x1}",
            SplitSpec::Grid(GridSpec {
                grid: (1, 1),
                rows: vec![],
                columns: vec![],
                exchange: ExchangeSpec::default(),
            }),
        ),
        (
            "{by: channels, pair: none}",
            SplitSpec::Channels(ChannelsSpec::default()),
        ),
        (
            "{by: channels, pair: auto}",
            SplitSpec::Channels(ChannelsSpec {
                shares: vec![],
                pair: Pairing::Auto,
            }),
        ),
        (
            "{by: frames}",
            SplitSpec::Frames(FramesSplitSpec::default()),
        ),
    ] {
        assert_eq!(read("[0]", text), Ok(wanted), "{text}");
    }
}

#[test]
fn decimal_shares_become_whole_in_the_same_proportion() {
    let shares = |text: &str| match read("[0, 1, 2]", &format!("{{by: rows, shares: {text}}}")) {
        Ok(SplitSpec::Rows(rows)) => rows.shares,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(shares("[2, 4, 6]"), [2, 4, 6], "whole ones stay");
    assert_eq!(shares("[0.25, 0.5, 1]"), [25, 50, 100]);
    assert_eq!(shares("[0.1, 0.7, 1e1]"), [1, 7, 100]);
    assert_eq!(shares("[1.0, 2.0, 0]"), [1, 2, 0]);
    assert_eq!(shares("[0.3, 0.29999, 0.000001]"), [300_000, 299_990, 1]);
    assert_eq!(shares("[4294.967296, 0.1, 0]"), [1 << 32, 100_000, 0]);
    assert_eq!(
        shares("[429496729.6, 429496729.5, 0]"),
        [1 << 32, (1 << 32) - 1, 0]
    );
    assert_eq!(
        shares("[4294967296, 0, 4294967295]"),
        [1 << 32, 0, (1 << 32) - 1]
    );
    let mut random = Random(5);
    for _ in 0..2000 {
        let places = 1 + random.size(6);
        let digits: Vec<u64> = (0..3).map(|_| 1 + random.below(1 << 32)).collect();
        let unit = 10u64.pow(places as u32);
        let text = |n: &u64| format!("{}.{:0places$}", n / unit, n % unit);
        let list: Vec<String> = digits.iter().map(text).collect();
        let list = format!("[{}]", list.join(", "));
        let read = shares(&list);
        // Zeros at the end of all three are dropped.
        let factor = digits[0] / read[0];
        assert!(
            [1, 10, 100, 1000, 10_000, 100_000, 1_000_000].contains(&factor),
            "{list}"
        );
        let wanted: Vec<u64> = read.iter().map(|share| share * factor).collect();
        assert_eq!(wanted, digits, "{list}");
    }
}

/// Ranks, split, and the line.
const REFUSED: &[[&str; 3]] = &[
    ["[0, 1]", "rows", ""],
    ["[0, 1]", "[rows]", ""],
    ["[0, 1]", "{}", ""],
    ["[0, 1]", "{bye: rows}", ""],
    ["[0, 1]", "{shares: [1, 1]}", ""],
    ["[0, 1]", "{by: row}", ""],
    ["[0, 1]", "{by: tiles}", ""],
    ["[0, 1]", "{by: rows, by: grid}", ""],
    ["[0, 1]", "{by: rows, 5: 6}", ""],
    ["[0, 1]", "{by: rows, cut: {a: [1]}}", ""],
    ["[0, 1]", "{by: rows, colour: red}", ""],
    ["[0, 1]", "{by: rows, grid: 2x1}", ""],
    ["[0, 1]", "{by: rows, pair: auto}", ""],
    ["[0, 1]", "{by: rows, columns: [1, 1]}", ""],
    [
        "[0, 1]",
        "{by: grid, grid: 1x2, zone: {rank: 0, rows: min}}",
        "",
    ],
    ["[0, 1]", "{by: grid, grid: 1x2, shares: [1, 1]}", ""],
    ["[0, 1]", "{by: channels, exchange: each}", ""],
    ["[0, 1]", "{by: channels, cuts: {a: [1]}}", ""],
    ["[0, 1]", "{by: frames, overlap: true}", ""],
    ["[0, 1]", "{by: frames, gather: false}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 1, 1]}", ""],
    ["[0, 1]", "{by: channels, shares: [1]}", ""],
    ["[0]", "{by: frames, shares: [1, 1]}", ""],
    ["[0, 1]", "{by: rows, shares: 2}", ""],
    ["[0, 1]", "{by: rows, shares: []}", ""],
    ["[0, 1]", "{by: rows, shares: [0, 0.0]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, -1]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, -0.0]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, half]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, '2']}", ""],
    ["[0, 1]", "{by: rows, shares: [1, .inf]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, .nan]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 1e300]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 0.1234567]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 1e-7]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 4294967297]}", ""],
    [
        "[0, 1]",
        "{by: rows, shares: [1, 99999999999999999999999]}",
        "",
    ],
    ["[0, 1]", "{by: rows, shares: [5000, 0.000001]}", ""],
    ["[0, 1]", "{by: rows, shares: [1, 429496729.7]}", ""],
    ["[0, 1]", "{by: frames, shares: [1, 65]}", ""],
    ["[0, 1]", "{by: frames, shares: [1, 1.0]}", ""],
    ["[0, 1]", "{by: frames, shares: [0, 0]}", ""],
    ["[0, 1]", "{by: rows, cuts: [1]}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: 1}}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: [1, 2]}}", ""],
    ["[0, 1, 2]", "{by: rows, cuts: {a: [1]}}", ""],
    ["[0]", "{by: rows, cuts: {a: [1]}}", ""],
    ["[0, 1, 2, 3]", "{by: rows, cuts: {a: [1, 5, 4]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: [-1]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: [1.5]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: [2147483649]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {a: [1], a: [2]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {'': [1]}}", ""],
    ["[0, 1]", "{by: rows, cuts: {12: [1]}}", ""],
    [
        "[0, 1, 2]",
        "{by: rows, cuts: {a: [1, 2]}, zone: {rank: 1, rows: min}}",
        "",
    ],
    ["[0, 1, 2]", "{by: rows, zone: 1}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rows: 4}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 1}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 1, row: 4}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 1, rows: 0}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 1, rows: max}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 1, rows: 1.5}}", ""],
    ["[1, 0, 2]", "{by: rows, zone: {rank: 1, rows: min}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 2, rows: min}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: 5, rows: min}}", ""],
    ["[0, 1, 2]", "{by: rows, zone: {rank: -1, rows: min}}", ""],
    ["[0, 1]", "{by: rows, zone: {rank: 1, rows: min}}", ""],
    ["[0]", "{by: rows, zone: {rank: 0, rows: min}}", ""],
    ["[0, 1]", "{by: grid}", ""],
    ["[0, 1]", "{by: grid, grid: 2}", ""],
    ["[0, 1]", "{by: grid, grid: [1, 2]}", ""],
    ["[0, 1]", "{by: grid, grid: 0x2}", ""],
    ["[0, 1]", "{by: grid, grid: 2x0}", ""],
    ["[0, 1]", "{by: grid, grid: 2x1x1}", ""],
    ["[0, 1]", "{by: grid, grid: 2x-1}", ""],
    ["[0, 1]", "{by: grid, grid: 99999999999999999999x1}", ""],
    ["[0, 1]", "{by: grid, grid: 2x3}", ""],
    ["[0, 1]", "{by: grid, grid: 4096x4096}", ""],
    ["[0, 1]", "{by: grid, grid: 1x1}", ""],
    ["[0, 1]", "{by: grid, grid: 1x2, columns: [1]}", ""],
    ["[0, 1]", "{by: grid, grid: 1x2, rows: [1, 2]}", ""],
    ["[0, 1]", "{by: grid, grid: 1x2, rows: 1}", ""],
    ["[0, 1]", "{by: rows, exchange: every}", ""],
    ["[0, 1]", "{by: rows, exchange: pool4}", ""],
    ["[0, 1]", "{by: rows, exchange: []}", ""],
    ["[0, 1]", "{by: rows, exchange: [a, b, a]}", ""],
    ["[0, 1]", "{by: rows, exchange: [a, 12]}", ""],
    ["[0, 1]", "{by: grid, grid: 1x2, exchange: [a, ' ']}", ""],
    ["[0, 1]", "{by: rows, overlap: yes}", ""],
    ["[0, 1]", "{by: rows, gather: 1}", ""],
    ["[0, 1]", "{by: channels, pair: atuo}", ""],
    ["[0, 1]", "{by: channels, pair: conv1}", ""],
    ["[0, 1]", "{by: channels, pair: true}", ""],
    ["[0, 1]", "{by: channels, pair: {nodes: [a, b]}}", ""],
    ["[0, 1]", "{by: channels, pair: [a, b]}", ""],
    ["[0, 1]", "{by: channels, pair: [[a]]}", ""],
    ["[0, 1]", "{by: channels, pair: [[]]}", ""],
    ["[0, 1]", "{by: channels, pair: [[a, b, c]]}", ""],
    ["[0, 1]", "{by: channels, pair: [[a, a]]}", ""],
    ["[0, 1]", "{by: channels, pair: [[a, b], [b, c]]}", ""],
    ["[0, 1]", "{by: channels, pair: [[a, 12]]}", ""],
    ["[0, 1]", "{by: channels, pair: [{reduce: root}]}", ""],
    ["[0, 1]", "{by: channels, pair: [{nodes: []}]}", ""],
    ["[0, 1]", "{by: channels, pair: [{nodes: a}]}", ""],
    ["[0, 1]", "{by: channels, pair: [{nodes: [a, b, c]}]}", ""],
    [
        "[0, 1]",
        "{by: channels, pair: [{nodes: [a], reduce: rot}]}",
        "",
    ],
    [
        "[0, 1]",
        "{by: channels, pair: [{nodes: [a], sum: root}]}",
        "",
    ],
];

#[test]
fn each_refusal_is_one_line_with_its_place() {
    let mut wrong = vec![];
    for [ranks, split, line] in REFUSED {
        let found = read(ranks, split);
        if found.as_ref().err().map(String::as_str) != Some(line) {
            wrong.push(format!("[\"{ranks}\", \"{split}\", {found:?}],"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
