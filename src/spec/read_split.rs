//! The value of `split:` as a `SplitSpec`, key by key.

use super::names::Taken;
use super::read::MAX_LENGTH;
use super::read_pair::read_pairing;
use super::read_stages::MAX_RANKS;
use super::shares::{read_frame_shares, read_shares};
use super::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, Pairing, RowsSpec, SplitSpec,
    ZoneRows, ZoneSpec, SPLITS,
};
use crate::document::Tree;
use crate::document::{At, Fault, Fields};

const CUTS: &str = "a mapping of node names to end rows, e.g. {conv1: [9, 19]}";
const EXCHANGE: &str = "each, or a list of node names, e.g. [pool1, pool2]";

/// The ranks that share a stage, and where the document lists them.
pub(super) struct StageRanks<'a> {
    pub at: At<'a>,
    pub list: &'a [usize],
}

/// How a stage's ranks share it.
pub(super) fn read_split(at: &At, ranks: &StageRanks) -> Result<SplitSpec, Fault> {
    let wanted = format!("one of {}", SPLITS.join(", "));
    let entries = at.entries("a mapping, e.g. {by: rows}")?;
    let by = match entries.iter().find(|(key, _)| *key == "by") {
        Some((_, by)) => by.word(&SPLITS)?,
        // Perhaps misspelt, so the other keys come first.
        None => return Err(at.fields(&every_key())?.missing("by", &wanted)),
    };
    for (key, _) in &entries {
        own_key(at, key, by)?;
    }
    let keys = at.fields(keys_of(by))?;
    Ok(match by {
        "rows" => SplitSpec::Rows(read_rows(at, &keys, ranks)?),
        "grid" => SplitSpec::Grid(read_grid(&keys, ranks)?),
        "channels" => SplitSpec::Channels(ChannelsSpec {
            shares: ranks.shares(keys.get("shares"), read_shares)?,
            pair: keys
                .get("pair")
                .map_or(Ok(Pairing::None), |at| read_pairing(&at))?,
        }),
        _ => SplitSpec::Frames(FramesSplitSpec {
            shares: ranks.shares(keys.get("shares"), read_frame_shares)?,
        }),
    })
}

fn keys_of(by: &str) -> &'static [&'static str] {
    match by {
        "rows" => &[
            "by", "shares", "exchange", "overlap", "cuts", "zone", "gather",
        ],
        "grid" => &[
            "by", "grid", "rows", "columns", "exchange", "overlap", "gather",
        ],
        "channels" => &["by", "shares", "pair"],
        _ => &["by", "shares"],
    }
}

fn every_key() -> Vec<&'static str> {
    let mut keys: Vec<_> = SPLITS.into_iter().flat_map(keys_of).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Refuses a key that only another `by` has.
fn own_key(at: &At, key: &str, by: &str) -> Result<(), Fault> {
    let has = |by: &str| keys_of(by).contains(&key);
    let others: Vec<&str> = SPLITS.into_iter().filter(|other| has(other)).collect();
    if has(by) || others.is_empty() {
        return Ok(());
    }
    let (others, own) = (others.join(", "), keys_of(by).join(", "));
    Err(at.fault(format!(
        "`{key}` is a key of by: {others}; keys of by: {by} are {own}"
    )))
}

impl StageRanks<'_> {
    /// One share for each rank; none where the key is missing.
    fn shares<'a>(
        &self,
        at: Option<At<'a>>,
        read: impl Fn(&At<'a>) -> Result<Vec<u64>, Fault>,
    ) -> Result<Vec<u64>, Fault> {
        let shares = at.map_or(Ok(vec![]), |at| read(&at))?;
        let (count, found) = (shares.len(), self.list.len());
        if count == 0 || count == found {
            return Ok(shares);
        }
        Err(self.at.fault(match count {
            1 => format!("1 share needs 1 rank, found {found}"),
            _ => format!("{count} shares need {count} ranks, found {found}"),
        }))
    }
}

fn read_rows(at: &At, keys: &Fields, ranks: &StageRanks) -> Result<RowsSpec, Fault> {
    let rows = RowsSpec {
        shares: ranks.shares(keys.get("shares"), read_shares)?,
        cuts: keys.get("cuts").map_or(Ok(vec![]), |at| cuts(&at, ranks))?,
        zone: keys.get("zone").map(|at| zone(&at, ranks)).transpose()?,
        exchange: exchange(keys)?,
    };
    if rows.zone.is_some() && !rows.cuts.is_empty() {
        return Err(at.fault("both zone and cuts; a split has one of them"));
    }
    Ok(rows)
}

fn cuts(at: &At, ranks: &StageRanks) -> Result<Vec<(String, Vec<usize>)>, Fault> {
    let mut cuts = vec![];
    for (node, ends) in at.entries(CUTS)? {
        if node.trim().is_empty() {
            return Err(at.fault(format!("found an empty name, expected {CUTS}")));
        }
        cuts.push((node.into(), end_rows(&ends, ranks.list.len())?));
    }
    Ok(cuts)
}

/// The end rows of every rank but the last.
fn end_rows(at: &At, ranks: usize) -> Result<Vec<usize>, Fault> {
    let items = at.list("a list of end rows, e.g. [9, 19]")?;
    let row = |item: &At| item.size(0, MAX_LENGTH);
    let rows: Vec<usize> = items.iter().map(row).collect::<Result<_, _>>()?;
    let (found, wanted) = (rows.len(), ranks - 1);
    if found != wanted {
        return Err(at.fault(format!(
            "a list of length {found}, expected length {wanted}: the end row of each rank but the \
             last"
        )));
    }
    match (1..found).find(|&i| rows[i] < rows[i - 1]) {
        Some(i) => Err(items[i].fault(format!(
            "found {} after {}, expected end rows from top to bottom",
            rows[i],
            rows[i - 1]
        ))),
        None => Ok(rows),
    }
}

fn zone(at: &At, ranks: &StageRanks) -> Result<ZoneSpec, Fault> {
    let keys = at.fields(&["rank", "rows"])?;
    let host = keys.need("rank", "the rank that has the zone, e.g. 1")?;
    let rank = host.size(0, MAX_RANKS - 1)?;
    let inner = match ranks.list {
        [_, inner @ .., _] if !inner.is_empty() => inner,
        few => {
            let found = few.len();
            return Err(ranks.at.fault(format!(
                "a zone needs 3 ranks or more, its own between two others, found {found}"
            )));
        }
    };
    if !inner.contains(&rank) {
        let list = &ranks.at.path;
        return Err(host.found(&format!("a rank that stands between two others in {list}")));
    }
    let wanted = format!("min, or a whole number from 1 to {MAX_LENGTH}");
    let at = keys.need("rows", &wanted)?;
    let rows = match at.tree {
        Tree::Text(text) if text == "min" => ZoneRows::Min,
        Tree::Int(_) => ZoneRows::Count(at.size(1, MAX_LENGTH)?),
        _ => return Err(at.found(&wanted)),
    };
    Ok(ZoneSpec { rank, rows })
}

fn read_grid(keys: &Fields, ranks: &StageRanks) -> Result<GridSpec, Fault> {
    let wanted = "rows and columns, e.g. 2x3";
    let grid = keys.need("grid", wanted)?.sides(MAX_RANKS, wanted)?;
    let (needed, found) = (grid.0 * grid.1, ranks.list.len());
    if needed != found {
        let s = if needed == 1 { "" } else { "s" };
        return Err(ranks.at.fault(format!(
            "a grid of {}x{} needs {needed} rank{s}, found {found}",
            grid.0, grid.1
        )));
    }
    Ok(GridSpec {
        grid,
        rows: side_shares(keys, "rows", grid.0)?,
        columns: side_shares(keys, "columns", grid.1)?,
        exchange: exchange(keys)?,
    })
}

/// One share for each row or column of a grid; none where the key is missing.
fn side_shares(keys: &Fields, key: &str, side: usize) -> Result<Vec<u64>, Fault> {
    let Some(at) = keys.get(key) else {
        return Ok(vec![]);
    };
    let shares = read_shares(&at)?;
    let found = shares.len();
    if found != side {
        return Err(at.fault(format!(
            "a list of length {found}, expected length {side}: a share for each of the grid's {key}"
        )));
    }
    Ok(shares)
}

fn exchange(keys: &Fields) -> Result<ExchangeSpec, Fault> {
    let mut exchange = ExchangeSpec::default();
    if let Some(at) = keys.get("exchange") {
        exchange.at = match at.tree {
            Tree::Text(text) if text == "each" => Exchange::Each,
            _ => Exchange::Behind(Taken::default().nodes(&at, EXCHANGE)?),
        };
    }
    if let Some(at) = keys.get("overlap") {
        exchange.overlap = at.flag()?;
    }
    if let Some(at) = keys.get("gather") {
        exchange.gather = at.flag()?;
    }
    Ok(exchange)
}
