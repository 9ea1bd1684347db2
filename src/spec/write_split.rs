//! A `SplitSpec` as YAML text; defaults are left out.

use super::{
    ChannelsSpec, Exchange, ExchangeSpec, GridSpec, PairSpec, Pairing, ReduceSpec, RowsSpec,
    SplitSpec, ZoneRows, ZoneSpec,
};
use crate::document::write::{entry, list, map, names, numbers};

/// What stands behind `split:`, in braces.
pub(super) fn split_map(split: &SplitSpec) -> String {
    let mut entries = vec![format!("by: {}", split.by())];
    match split {
        SplitSpec::Rows(rows) => write_rows(&mut entries, rows),
        SplitSpec::Grid(grid) => write_grid(&mut entries, grid),
        SplitSpec::Channels(channels) => write_channels(&mut entries, channels),
        SplitSpec::Frames(frames) => write_shares(&mut entries, "shares", &frames.shares),
    }
    map(entries.into_iter())
}

fn write_rows(entries: &mut Vec<String>, rows: &RowsSpec) {
    write_shares(entries, "shares", &rows.shares);
    if !rows.cuts.is_empty() {
        let cut = |(node, ends): &(String, Vec<usize>)| entry(node, &numbers(ends));
        entries.push(format!("cuts: {}", map(rows.cuts.iter().map(cut))));
    }
    if let Some(ZoneSpec { rank, rows }) = &rows.zone {
        let rows = match rows {
            ZoneRows::Min => "min".into(),
            ZoneRows::Count(count) => count.to_string(),
        };
        entries.push(format!("zone: {{rank: {rank}, rows: {rows}}}"));
    }
    write_exchange(entries, &rows.exchange);
}

fn write_grid(entries: &mut Vec<String>, grid: &GridSpec) {
    let (rows, columns) = grid.grid;
    entries.push(format!("grid: {rows}x{columns}"));
    write_shares(entries, "rows", &grid.rows);
    write_shares(entries, "columns", &grid.columns);
    write_exchange(entries, &grid.exchange);
}

fn write_channels(entries: &mut Vec<String>, channels: &ChannelsSpec) {
    write_shares(entries, "shares", &channels.shares);
    match &channels.pair {
        Pairing::None => {}
        Pairing::Auto => entries.push("pair: auto".into()),
        Pairing::List(pairs) => {
            entries.push(format!("pair: {}", list(pairs.iter().map(pair))));
        }
    }
}

fn pair(pair: &PairSpec) -> String {
    let nodes = names(&pair.nodes);
    match (pair.reduce == ReduceSpec::default(), pair.nodes.len()) {
        (true, 2) => nodes,
        (true, _) => format!("{{nodes: {nodes}}}"),
        (false, _) => format!("{{nodes: {nodes}, reduce: {}}}", pair.reduce.name()),
    }
}

fn write_exchange(entries: &mut Vec<String>, exchange: &ExchangeSpec) {
    if let Exchange::Behind(nodes) = &exchange.at {
        entries.push(format!("exchange: {}", names(nodes)));
    }
    let default = ExchangeSpec::default();
    let flags = [
        ("overlap", exchange.overlap, default.overlap),
        ("gather", exchange.gather, default.gather),
    ];
    for (key, value, _) in flags.iter().filter(|(_, value, usual)| value != usual) {
        entries.push(format!("{key}: {value}"));
    }
}

fn write_shares(entries: &mut Vec<String>, key: &str, shares: &[u64]) {
    if !shares.is_empty() {
        entries.push(format!("{key}: {}", numbers(shares)));
    }
}
