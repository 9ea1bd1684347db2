//! What a plan holds, moves and computes: memory, bytes and multiply-accumulates.

use std::collections::{BTreeMap, BTreeSet};

use super::inner::inner_bytes;
use super::weights::{held_bytes, loading_of, loading_peak};
use super::{piece_work, Piece, PieceWork, Plan, Step};
use crate::geometry::Region;
use crate::graph::{macs_over, Graph, NeedError};
use crate::ids::{ActivationId, PartId, PieceId, Rank, TransferId};

/// What every rank of a plan holds, moves and computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// One for each rank.
    pub ranks: Vec<RankTally>,
}

/// What one rank holds, moves and computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankTally {
    /// Bytes of the weight slices of its pieces, each distinct slice once.
    pub weight_bytes: u64,
    /// Bytes of those slices as the engine holds them, nearly: one packed copy of each, and no raw
    /// one.
    pub held_bytes: u64,
    /// Bytes of weights, packed and raw, at the worst moment of loading them.
    pub loading_peak: u64,
    /// Bytes of the parts that live at once in one frame, at most. A part that receives lives
    /// from the frame's opening, one that is sent to the frame's end.
    pub part_bytes: u64,
    /// Bytes per frame of messages that cannot be read or written in place, at most.
    pub message_bytes: u64,
    /// Bytes that live at once inside of each piece, at most: activations that it does not hand
    /// out, and the engine's copy of what a convolution reads.
    pub inner_bytes: Vec<u64>,
    /// Multiply-accumulates of each piece.
    pub piece_macs: Vec<u64>,
    /// What each turn of the cycle moves and computes.
    pub turns: Vec<TurnTally>,
}

/// What one rank does for one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTally {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of the messages that it sends.
    pub sent_bytes: u64,
    /// Bytes of the messages that it receives.
    pub received_bytes: u64,
}

impl RankTally {
    /// Bytes that live at once inside of any piece, at most; 0 where there is none.
    pub fn most_inner_bytes(&self) -> u64 {
        self.inner_bytes.iter().copied().max().unwrap_or(0)
    }

    /// An estimate of all bytes with `window` frames in flight: weights while they are loaded, or
    /// weights as they are held and frames, whichever is more; one piece runs at a time.
    pub fn memory(&self, window: u32) -> u64 {
        let frame = self.part_bytes.saturating_add(self.message_bytes);
        let frames = frame.saturating_mul(u64::from(window));
        self.held_bytes
            .saturating_add(frames)
            .saturating_add(self.most_inner_bytes())
            .max(self.loading_peak)
    }
}

/// Tallies a plan.
///
/// # Errors
/// `NeedError` where a piece's output does not fit its activation.
pub fn tally(graph: &Graph, plan: &Plan) -> Result<Tally, NeedError> {
    let mut works = Vec::new();
    for (index, held) in plan.ranks.iter().enumerate() {
        let work = |piece| piece_work(graph, plan, Rank::new(index), piece);
        works.push(held.pieces.iter().map(work).collect::<Result<_, _>>()?);
    }
    Ok(tally_of(graph, plan, &works))
}

/// Tallies a plan whose pieces' work is known.
pub(crate) fn tally_of(graph: &Graph, plan: &Plan, works: &[Vec<PieceWork>]) -> Tally {
    let ranks = works.iter().enumerate().map(|(index, works)| {
        let rank = Rank::new(index);
        let pieces = &plan.ranks[index].pieces;
        let both = || pieces.iter().zip(works);
        let piece_macs: Vec<u64> = both().map(|(p, work)| macs(graph, p, work)).collect();
        let turns = 0..plan.cycle as usize;
        let loading = loading_of(graph, plan, rank, works);
        RankTally {
            weight_bytes: weight_bytes(graph, works),
            held_bytes: held_bytes(graph, &loading),
            loading_peak: loading_peak(graph, pieces, works, &loading, rank != Rank(0)),
            part_bytes: turns
                .clone()
                .map(|t| part_bytes(graph, plan, rank, t))
                .max()
                .unwrap_or(0),
            message_bytes: turns
                .clone()
                .map(|t| message_bytes(graph, plan, rank, t))
                .max()
                .unwrap_or(0),
            inner_bytes: both()
                .map(|(piece, work)| inner_bytes(graph, plan, rank, piece, work))
                .collect(),
            turns: turns
                .map(|t| turn_tally(graph, plan, rank, t, &piece_macs))
                .collect(),
            piece_macs,
        }
    });
    Tally {
        ranks: ranks.collect(),
    }
}

/// Bytes of one message's payload.
pub fn transfer_bytes(graph: &Graph, plan: &Plan, id: TransferId) -> u64 {
    let transfer = plan.transfer(id);
    let part = plan.part(transfer.from, transfer.from_part);
    box_bytes(graph, part.activation, &transfer.region)
}

/// Bytes that travel from one rank to another in one whole cycle.
pub fn pair_bytes(graph: &Graph, plan: &Plan) -> BTreeMap<(Rank, Rank), u64> {
    let mut pairs = BTreeMap::new();
    let steps = plan
        .ranks
        .iter()
        .flat_map(|rank| rank.turns.iter().flatten());
    for step in steps {
        if let Step::Send(id) = step {
            let transfer = plan.transfer(*id);
            *pairs.entry((transfer.from, transfer.to)).or_default() +=
                transfer_bytes(graph, plan, *id);
        }
    }
    pairs
}

/// Bytes of the weights of one piece.
pub fn piece_weight_bytes(graph: &Graph, work: &PieceWork) -> u64 {
    weight_bytes(graph, std::slice::from_ref(work))
}

pub(super) fn box_bytes(graph: &Graph, id: ActivationId, region: &Region) -> u64 {
    (region.volume() * graph.activation(id).dtype.size()) as u64
}

fn weight_bytes(graph: &Graph, works: &[PieceWork]) -> u64 {
    let slices: BTreeSet<_> = works
        .iter()
        .flat_map(|work| {
            work.weights
                .iter()
                .map(|(_, _, weight, region)| (*weight, region))
        })
        .collect();
    let bytes = slices
        .into_iter()
        .map(|(weight, region)| region.volume() * graph.weight(weight).dtype.size());
    bytes.fold(0, |sum, bytes| sum.saturating_add(bytes as u64))
}

/// Multiply-accumulates of a piece.
pub(super) fn macs(graph: &Graph, piece: &Piece, work: &PieceWork) -> u64 {
    let nodes = piece.nodes.iter().filter_map(|&id| {
        let made = work.made(graph, id)?;
        Some(macs_over(
            graph,
            id,
            made,
            &work.first_read(graph, id, made),
        ))
    });
    nodes.fold(0, u64::saturating_add)
}

fn part_bytes(graph: &Graph, plan: &Plan, rank: Rank, turn: usize) -> u64 {
    let held = &plan.ranks[rank.index()];
    let steps = &held.turns[turn];
    let bytes = |id: PartId| {
        let part = plan.part(rank, id);
        box_bytes(graph, part.activation, &part.region)
    };
    let mut live = BTreeSet::new();
    let mut sent = BTreeSet::new();
    for step in steps {
        match step {
            Step::Receive(id) => drop(live.insert(plan.transfer(*id).to_part)),
            Step::Send(id) => drop(sent.insert(plan.transfer(*id).from_part)),
            _ => {}
        }
    }
    let mut now: u64 = live
        .iter()
        .map(|&id| bytes(id))
        .fold(0, u64::saturating_add);
    let mut peak = now;
    for step in steps {
        let written: Vec<PartId> = match step {
            Step::Input(id) | Step::Assemble { into: id, .. } | Step::Reduce { into: id, .. } => {
                vec![*id]
            }
            Step::Run(id) => {
                let piece = &held.pieces[id.index()];
                piece.outputs.iter().map(|&(part, _)| part).collect()
            }
            Step::Release(id) if !sent.contains(id) && live.remove(id) => {
                now -= bytes(*id);
                continue;
            }
            _ => continue,
        };
        for id in written {
            if live.insert(id) {
                now = now.saturating_add(bytes(id));
            }
        }
        peak = peak.max(now);
    }
    peak
}

fn message_bytes(graph: &Graph, plan: &Plan, rank: Rank, turn: usize) -> u64 {
    let steps = &plan.ranks[rank.index()].turns[turn];
    let staged = steps.iter().filter_map(|step| {
        let (id, part) = match step {
            Step::Send(id) => (*id, plan.transfer(*id).from_part),
            Step::Receive(id) => (*id, plan.transfer(*id).to_part),
            _ => return None,
        };
        let in_place = plan.part(rank, part).region == plan.transfer(id).region;
        (!in_place).then(|| transfer_bytes(graph, plan, id))
    });
    staged.fold(0, u64::saturating_add)
}

fn turn_tally(
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    turn: usize,
    piece_macs: &[u64],
) -> TurnTally {
    let mut tally = TurnTally::default();
    for step in &plan.ranks[rank.index()].turns[turn] {
        let (sum, more) = match step {
            Step::Run(PieceId(id)) => (&mut tally.macs, piece_macs[*id as usize]),
            Step::Send(id) => (&mut tally.sent_bytes, transfer_bytes(graph, plan, *id)),
            Step::Receive(id) => (&mut tally.received_bytes, transfer_bytes(graph, plan, *id)),
            _ => continue,
        };
        *sum = sum.saturating_add(more);
    }
    tally
}
