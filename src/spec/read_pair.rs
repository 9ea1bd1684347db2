//! The value of `pair:`: which nodes are split by their input channels.

use super::names::Taken;
use super::{PairSpec, Pairing, ReduceSpec};
use crate::document::nearest;
use crate::document::Tree;
use crate::document::{At, Fault};

const PAIRS: &str = "a list of pairs, e.g. [[conv1, conv2]]";

/// `none`, `auto` or a list of pairs in which no node stands twice.
pub(super) fn read_pairing(at: &At) -> Result<Pairing, Fault> {
    let wanted = format!("none, auto or {PAIRS}");
    if let Tree::Text(text) = at.tree {
        let near = nearest(text, &["none", "auto"]);
        return match text.as_str() {
            "none" => Ok(Pairing::None),
            "auto" => Ok(Pairing::Auto),
            _ => Err(match near {
                Some(word) => at.found(&format!("{wanted}; did you mean {word}?")),
                None => at.found(&wanted),
            }),
        };
    }
    let items = at.list(&wanted)?;
    let mut taken = Taken::default();
    let pairs = items.iter().map(|item| one_pair(item, &mut taken));
    Ok(Pairing::List(pairs.collect::<Result<_, _>>()?))
}

fn one_pair<'a>(at: &At<'a>, taken: &mut Taken<'a>) -> Result<PairSpec, Fault> {
    let wanted = "a pair, e.g. [conv1, conv2] or {nodes: [conv1, conv2], reduce: ring}";
    if let Tree::List(_) = at.tree {
        let nodes = taken.nodes(at, wanted)?;
        let reduce = ReduceSpec::default();
        return match nodes.len() {
            2 => Ok(PairSpec { nodes, reduce }),
            1 => Err(at.fault(
                "found 1 node, expected 2; a node alone is {nodes: [conv2]}, split by its input \
                 channels",
            )),
            found => Err(at.fault(format!("found {found} nodes, expected 2"))),
        };
    }
    let Tree::Map(_) = at.tree else {
        return Err(at.found(wanted));
    };
    let keys = at.fields(&["nodes", "reduce"])?;
    let wanted = "one or two node names, e.g. [conv1, conv2]";
    let nodes_at = keys.need("nodes", wanted)?;
    let nodes = taken.nodes(&nodes_at, wanted)?;
    if nodes.len() > 2 {
        let found = nodes.len();
        return Err(nodes_at.fault(format!("found {found} nodes, expected {wanted}")));
    }
    let reduce = match keys.get("reduce") {
        None => ReduceSpec::default(),
        Some(at) => match at.word(&["root", "ring", "scatter"])? {
            "root" => ReduceSpec::Root,
            "ring" => ReduceSpec::Ring,
            _ => ReduceSpec::Scatter,
        },
    };
    Ok(PairSpec { nodes, reduce })
}
