//! What a piece reads is what its nodes need, and what it writes is what they make.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{piece_work, Piece, PieceWork, Plan, Terms};
use super::{named, CheckError};
use crate::geometry::Region;
use crate::graph::{Graph, Node, Op};
use crate::ids::{ActivationId, NodeId, PieceId, Rank};

/// The work of every piece of every rank.
pub fn check(graph: &Graph, plan: &Plan) -> Result<Vec<Vec<PieceWork>>, CheckError> {
    let ranks = plan.ranks.iter().enumerate();
    ranks
        .map(|(r, held)| {
            let rank = Rank::new(r);
            let pieces = held.pieces.iter().enumerate();
            pieces
                .map(|(index, piece)| {
                    check_piece(graph, plan, rank, piece).map_err(|message| CheckError::Piece {
                        rank,
                        piece: PieceId::new(index),
                        message,
                    })
                })
                .collect()
        })
        .collect()
}

fn check_piece(graph: &Graph, plan: &Plan, rank: Rank, piece: &Piece) -> Result<PieceWork, String> {
    let work = piece_work(graph, plan, rank, piece).map_err(|error| error.to_string())?;
    let made: BTreeSet<ActivationId> = piece
        .nodes
        .iter()
        .flat_map(|&id| graph.node(id).outputs.iter().copied())
        .collect();
    let name = |id: ActivationId| &graph.activation(id).name;

    let mut terms: BTreeMap<ActivationId, Terms> = BTreeMap::new();
    let mut boxes: BTreeMap<ActivationId, Vec<&Region>> = BTreeMap::new();
    for (id, region) in &piece.inputs {
        let part = plan.part(rank, *id);
        let listed = named(graph, *id, part);
        if made.contains(&part.activation) {
            return Err(format!("it reads {listed}, which it makes itself"));
        }
        if !work.regions.contains_key(&part.activation) {
            return Err(format!("it reads {listed}, which none of its nodes needs"));
        }
        let first = terms.entry(part.activation).or_insert(part.terms.clone());
        if *first != part.terms {
            return Err(format!("it reads {listed} beside a part with other terms"));
        }
        boxes.entry(part.activation).or_default().push(region);
    }
    for (&activation, need) in &work.regions {
        let listed = boxes.get(&activation).map_or(&[][..], Vec::as_slice);
        if !made.contains(&activation) && !tiled(need, listed) {
            let listed: Vec<_> = listed.iter().map(|region| region.to_string()).collect();
            let name = name(activation);
            let listed = match listed.is_empty() {
                true => "nothing".into(),
                false => listed.join(" and "),
            };
            return Err(format!("it needs {need} of '{name}' and lists {listed}"));
        }
    }
    for &id in &piece.nodes {
        let node = graph.node(id);
        if !node.outputs.iter().any(|a| work.regions.contains_key(a)) {
            return Err(format!("node '{}' makes nothing that it writes", node.name));
        }
        let result = node_terms(graph, plan, (rank, piece), id, &work, &terms)?;
        for &output in &node.outputs {
            terms.insert(output, result.clone());
        }
    }
    for (id, _) in &piece.outputs {
        let part = plan.part(rank, *id);
        let listed = named(graph, *id, part);
        if !made.contains(&part.activation) {
            return Err(format!("it writes {listed}, which none of its nodes makes"));
        }
        let found = &terms[&part.activation];
        if *found != part.terms {
            let wanted = &part.terms;
            return Err(format!(
                "it makes {found:?} of {listed}, which has {wanted:?}"
            ));
        }
    }
    Ok(work)
}

/// Whether boxes cover `need` so that it can be joined along one axis.
fn tiled(need: &Region, boxes: &[&Region]) -> bool {
    let along = |axis: usize| {
        let spans = |held: &&&Region| held.contains(&need.with_axis(axis, held.0[axis]));
        need.minus_all(boxes.iter().filter(spans).copied())
            .is_empty()
    };
    let one = boxes.iter().any(|held| held.contains(need));
    need.is_empty() || one || (0..need.rank()).any(along)
}

/// Which terms a node makes from what it reads.
fn node_terms(
    graph: &Graph,
    plan: &Plan,
    (rank, piece): (Rank, &Piece),
    id: NodeId,
    work: &PieceWork,
    known: &BTreeMap<ActivationId, Terms>,
) -> Result<Terms, String> {
    let node = graph.node(id);
    let read: Vec<&Terms> = node
        .activations()
        .map(|a| known.get(&a).unwrap_or(&Terms::All))
        .collect();
    let partial = read.iter().find(|terms| ***terms != Terms::All);
    match (partial, work.summands.get(&id)) {
        (None, None) => Ok(Terms::All),
        (None, Some(_)) => summand_terms(plan, rank, piece, id),
        (Some(_), Some(_)) => Err(format!(
            "node '{}' splits a sum of a partial sum",
            node.name
        )),
        (Some(partial), None) => {
            if !keeps_sums(node) {
                return Err(format!(
                    "node '{}' reads {partial:?}, \
                     before which only linear nodes without a constant may come",
                    node.name
                ));
            }
            match read.iter().all(|terms| terms == partial) {
                true => Ok((*partial).clone()),
                false => Err(format!("node '{}' reads different terms", node.name)),
            }
        }
    }
}

/// Whether f(a) + f(b) = f(a + b): linear and without a constant operand. A bias does no harm:
/// whoever holds member 0 adds it, and nobody else.
fn keeps_sums(node: &Node) -> bool {
    let constant = matches!(node.op, Op::Concat { .. }) && node.weights().next().is_some();
    node.op.is_linear() && !constant
}

/// The terms of a node whose sum this piece makes some summands of. They must form one box, which
/// is what the node then sums over.
fn summand_terms(plan: &Plan, rank: Rank, piece: &Piece, id: NodeId) -> Result<Terms, String> {
    let parts = piece.outputs.iter().map(|(part, _)| plan.part(rank, *part));
    let mut asked = parts.map(|part| &part.terms).filter(|terms| match terms {
        Terms::Some { sum, .. } => plan.sums[sum.index()].node == id,
        Terms::All => false,
    });
    let Some(terms @ Terms::Some { sum, members }) = asked.next() else {
        return Err(format!("it writes no summand of {id}"));
    };
    if asked.any(|other| other != terms) {
        return Err(format!("it writes different summands of {id}"));
    }
    let boxes = members
        .iter()
        .map(|&m| &plan.sums[sum.index()].members[m as usize]);
    let volume: usize = boxes.clone().map(Region::volume).sum();
    let hull = boxes.cloned().reduce(|a, b| a.hull(&b));
    match hull.is_some_and(|hull| hull.volume() == volume) {
        true => Ok(terms.clone()),
        false => Err(format!("members {members:?} of {sum} are not one box")),
    }
}
