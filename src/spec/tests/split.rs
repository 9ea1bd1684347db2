//! `split:`, there and back, and each refusal with its line.

use super::super::yaml::{parse, to_yaml};
use super::super::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, SplitSpec, ZoneRows, ZoneSpec,
};
use super::random::Random;

/// The split of a spec with this one stage, or the error's line without the file.
fn read(stage: &str) -> Result<SplitSpec, String> {
    let text = format!("{{model: m.onnx, stages: [{{{stage}}}]}}");
    match parse("f", &text) {
        Ok(spec) => {
            assert_eq!(parse("f", &to_yaml(&spec)).as_ref(), Ok(&spec), "{stage}");
            Ok(spec.stages[0].split.clone().unwrap())
        }
        Err(error) => Err(error.to_string().replacen("f: ", "", 1)),
    }
}

#[test]
fn every_key_of_a_split_is_read() {
    let behind = |names: &[&str]| Exchange::Behind(names.iter().map(|n| n.to_string()).collect());
    let rows = read(
        "ranks: [2, 0, 1], split: {by: rows, shares: [1, 2, 1], zone: {rank: 0, rows: 4}, \
         exchange: [p4, p5], \
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

    let rows =
        read("ranks: [0, 1, 2], split: {by: rows, cuts: {b: [9, 19], a: [0, 0]}, exchange: each}");
    let wanted = RowsSpec {
        cuts: vec![("b".into(), vec![9, 19]), ("a".into(), vec![0, 0])],
        ..RowsSpec::default()
    };
    assert_eq!(rows, Ok(SplitSpec::Rows(wanted)));

    let grid = read(
"ranks: [0, 1, 2, 3, 4, 5], split: {by: grid, grid: 2x3, rows: [1, 3], columns: [1, 0, 2], \
         exchange: [p4, p5], \
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
        "ranks: [0, 1], split: {by: channels, shares: [3, 1], pair: [[a, b], {nodes: [c, d], \
         reduce: ring}, \
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

    let frames = read("ranks: [0, 1], split: {by: frames, shares: [64, 1]}");
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
        assert_eq!(
            read(&format!("ranks: [0], split: {text}")),
            Ok(wanted),
            "{text}"
        );
    }
}

#[test]
fn decimal_shares_become_whole_in_the_same_proportion() {
    let shares = |text: &str| match read(&format!(
        "ranks: [0, 1, 2], split: {{by: rows, shares: {text}}}"
    )) {
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

#[test]
fn each_refusal_is_one_line_with_its_place() {
    // A stage, then the line that it gives.
    let text = include_str!("refusals.txt");
    let lines: Vec<&str> = text.lines().collect();
    let mut wrong = vec![];
    for case in lines.chunks(2) {
        let [stage, line] = case else {
            panic!("{case:?} has no line");
        };
        let found = match read(stage) {
            Ok(split) => format!("{split:?}"),
            Err(error) => error,
        };
        if Some(found.as_str()) != line.strip_prefix("  ") {
            wrong.push(format!("{stage}\n  {found}"));
        }
    }
    assert!(lines.len() > 200, "only {} lines", lines.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
