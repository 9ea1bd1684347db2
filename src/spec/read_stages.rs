//! The value of `stages:`: which nodes each has, and who runs them.

use super::names::Taken;
use super::read_split::{read_split, StageRanks};
use super::{StageNodes, StageSpec};
use crate::document::{At, Fault};

/// Most ranks: far beyond any edge cluster, small enough to count.
pub(super) const MAX_RANKS: usize = 4096;

pub(super) const STAGES: &str = "a list of stages, e.g. [{until: pool2, ranks: [0]}, {ranks: [1]}]";
const RANKS: &str = "a list of ranks, e.g. [0, 1]";
const NODES: &str = "a list of node names";

/// The stages, in which no node is named twice.
pub(super) fn read_stages(at: &At) -> Result<Vec<StageSpec>, Fault> {
    let items = at.list(STAGES)?;
    if items.is_empty() {
        return Err(at.fault(format!("no stage, expected {STAGES}")));
    }
    let mut taken = Taken::default();
    let mut stages = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        stages.push(stage(item, i + 1 == items.len(), &mut taken)?);
    }
    Ok(stages)
}

fn stage<'a>(at: &At<'a>, last: bool, taken: &mut Taken<'a>) -> Result<StageSpec, Fault> {
    let keys = at.fields(&["until", "nodes", "ranks", "split"])?;
    let nodes = match (keys.get("until"), keys.get("nodes")) {
        (Some(_), Some(_)) => {
            return Err(at.fault("both until and nodes; a stage has one of them"));
        }
        (None, None) if !last => {
            return Err(
                at.fault("neither until nor nodes; only the last stage may take all that is left")
            );
        }
        (Some(until), None) => StageNodes::Until(taken.node(&until)?),
        (None, Some(nodes)) => StageNodes::List(taken.nodes(&nodes, NODES)?),
        (None, None) => StageNodes::Rest,
    };
    let ranks_at = keys.need("ranks", RANKS)?;
    let ranks = stage_ranks(&ranks_at)?;
    let count = ranks.len();
    let split = match keys.get("split") {
        Some(at) => {
            let ranks = StageRanks {
                at: ranks_at,
                list: &ranks,
            };
            Some(read_split(&at, &ranks)?)
        }
        None if count == 1 => None,
        None => {
            let wanted = format!("how {count} ranks share it, e.g. {{by: rows}}");
            return Err(keys.missing("split", &wanted));
        }
    };
    Ok(StageSpec {
        nodes,
        ranks,
        split,
    })
}

fn stage_ranks(at: &At) -> Result<Vec<usize>, Fault> {
    let items = at.list(RANKS)?;
    let rank = |item: &At| item.size(0, MAX_RANKS - 1);
    let ranks: Vec<usize> = items.iter().map(rank).collect::<Result<_, _>>()?;
    if ranks.is_empty() {
        return Err(at.fault(format!("no rank, expected {RANKS}")));
    }
    at.no_repeat("rank", &ranks)?;
    Ok(ranks)
}
