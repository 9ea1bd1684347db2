//! Building a plan step by step, by hand or by a compiler.

use std::collections::BTreeMap;

use super::{piece_work, Codec, Part, Piece, Plan, RankPlan, ReduceOp, Step, Sum, Terms, Transfer};
use crate::geometry::Region;
use crate::graph::{Graph, NeedError};
use crate::ids::{ActivationId, NodeId, PartId, PieceId, Rank, SumId, TransferId};

/// A plan that grows: ids and tags are given out in the order of the calls, steps go behind the
/// earlier ones of their rank. Nothing is checked here: that is `plan::check`.
///
/// Ids must be of this builder and ranks below its count; other ones panic.
pub struct PlanBuilder<'a> {
    graph: &'a Graph,
    plan: Plan,
    turn: usize,
    tags: BTreeMap<(Rank, Rank), u32>,
}

impl<'a> PlanBuilder<'a> {
    /// A plan without steps for `ranks` ranks; steps go to turn 0 until `turn` says otherwise.
    pub fn new(graph: &'a Graph, ranks: usize, window: u32, cycle: u32) -> Self {
        let rank = RankPlan {
            turns: vec![vec![]; cycle as usize],
            ..RankPlan::default()
        };
        let plan = Plan {
            window,
            cycle,
            sums: vec![],
            transfers: vec![],
            ranks: vec![rank; ranks],
        };
        Self {
            graph,
            plan,
            turn: 0,
            tags: BTreeMap::new(),
        }
    }

    /// From here on steps go to this turn of the cycle.
    pub fn turn(&mut self, turn: usize) {
        assert!(turn < self.plan.cycle as usize, "turn {turn} of the cycle");
        self.turn = turn;
    }

    /// A part of `rank` that holds `region` of an activation, with all its terms.
    pub fn part(&mut self, rank: Rank, activation: ActivationId, region: Region) -> PartId {
        self.add_part(rank, activation, region, Terms::All)
    }

    /// A part of `rank` that holds a whole activation.
    pub fn whole(&mut self, rank: Rank, activation: ActivationId) -> PartId {
        self.part(rank, activation, self.graph.whole(activation))
    }

    /// A part of `rank` that holds some summands of `region`. `members` may be in any order; all
    /// members of the sum together are `Terms::All`.
    pub fn partial(
        &mut self,
        rank: Rank,
        activation: ActivationId,
        region: Region,
        sum: SumId,
        members: &[u32],
    ) -> PartId {
        let mut members = members.to_vec();
        members.sort_unstable();
        let complete = members.len() == self.plan.sums[sum.index()].members.len();
        let terms = match complete {
            true => Terms::All,
            false => Terms::Some { sum, members },
        };
        self.add_part(rank, activation, region, terms)
    }

    fn add_part(&mut self, rank: Rank, a: ActivationId, region: Region, terms: Terms) -> PartId {
        let parts = &mut self.rank(rank).parts;
        parts.push(Part {
            activation: a,
            region,
            terms,
        });
        PartId::new(parts.len() - 1)
    }

    /// A node whose sum over its first input is split into these boxes; the first has the bias.
    pub fn sum(&mut self, node: NodeId, members: Vec<Region>) -> SumId {
        self.plan.sums.push(Sum { node, members });
        SumId::new(self.plan.sums.len() - 1)
    }

    /// A piece of `rank` that reads and writes parts whole.
    pub fn piece(
        &mut self,
        rank: Rank,
        nodes: &[NodeId],
        inputs: &[PartId],
        outputs: &[PartId],
    ) -> PieceId {
        let whole = |id: &PartId| (*id, self.plan.part(rank, *id).region.clone());
        let (inputs, outputs) = (
            inputs.iter().map(whole).collect(),
            outputs.iter().map(whole).collect(),
        );
        self.piece_of_boxes(rank, nodes, inputs, outputs)
    }

    /// A piece of `rank` that reads and writes boxes of parts.
    pub fn piece_of_boxes(
        &mut self,
        rank: Rank,
        nodes: &[NodeId],
        inputs: Vec<(PartId, Region)>,
        outputs: Vec<(PartId, Region)>,
    ) -> PieceId {
        let pieces = &mut self.rank(rank).pieces;
        pieces.push(Piece {
            nodes: nodes.to_vec(),
            inputs,
            outputs,
        });
        PieceId::new(pieces.len() - 1)
    }

    /// A piece of `rank` that writes boxes of parts and reads of each input just what it needs of
    /// what that part holds; one of which it needs nothing is left out.
    ///
    /// # Errors
    /// `NeedError` where an output's box does not fit its activation.
    pub fn piece_needing(
        &mut self,
        rank: Rank,
        nodes: &[NodeId],
        inputs: &[PartId],
        outputs: Vec<(PartId, Region)>,
    ) -> Result<PieceId, NeedError> {
        let piece = Piece {
            nodes: nodes.to_vec(),
            inputs: vec![],
            outputs,
        };
        let work = piece_work(self.graph, &self.plan, rank, &piece)?;
        let needed = |id: &PartId| {
            let part = self.plan.part(rank, *id);
            let need = work.regions.get(&part.activation);
            let need = need.map(|need| need.intersect(&part.region));
            (*id, need.unwrap_or_else(|| part.region.clone()))
        };
        let inputs = inputs.iter().map(needed);
        let inputs = inputs.filter(|(_, region)| !region.is_empty()).collect();
        Ok(self.piece_of_boxes(rank, nodes, inputs, piece.outputs))
    }

    /// A message; its steps are still to be placed by `send` and `receive`.
    pub fn transfer(
        &mut self,
        (from, from_part): (Rank, PartId),
        (to, to_part): (Rank, PartId),
        region: Region,
    ) -> TransferId {
        let next = self.tags.entry((from, to)).or_default();
        let tag = *next;
        *next += 1;
        self.plan.transfers.push(Transfer {
            from,
            from_part,
            to,
            to_part,
            region,
            tag,
            codec: Codec::Raw,
        });
        TransferId::new(self.plan.transfers.len() - 1)
    }

    /// A message with its steps: the sender sends it next, the receiver waits for it next.
    pub fn message(
        &mut self,
        from: (Rank, PartId),
        to: (Rank, PartId),
        region: Region,
    ) -> TransferId {
        let transfer = self.transfer(from, to, region);
        self.send(transfer);
        self.receive(transfer);
        transfer
    }

    /// Its sender sends a message next.
    pub fn send(&mut self, transfer: TransferId) {
        self.step(self.plan.transfer(transfer).from, Step::Send(transfer));
    }

    /// Its receiver waits for a message next.
    pub fn receive(&mut self, transfer: TransferId) {
        self.step(self.plan.transfer(transfer).to, Step::Receive(transfer));
    }

    /// `rank` runs a piece next.
    pub fn run(&mut self, rank: Rank, piece: PieceId) {
        self.step(rank, Step::Run(piece));
    }

    /// `rank` adds parts up next, in the order of `from`.
    pub fn add(&mut self, rank: Rank, from: &[PartId], into: PartId) {
        let (op, from) = (ReduceOp::Add, from.to_vec());
        self.step(rank, Step::Reduce { op, from, into });
    }

    /// `rank` copies parts together next.
    pub fn assemble(&mut self, rank: Rank, from: &[PartId], into: PartId) {
        let from = from.to_vec();
        self.step(rank, Step::Assemble { from, into });
    }

    /// Rank 0 takes a model input next, whole.
    pub fn input(&mut self, activation: ActivationId) -> PartId {
        let part = self.whole(Rank(0), activation);
        self.step(Rank(0), Step::Input(part));
        part
    }

    /// Rank 0 hands a part to the sink next.
    pub fn output(&mut self, part: PartId) {
        self.step(Rank(0), Step::Output(part));
    }

    /// `rank` does this next.
    pub fn step(&mut self, rank: Rank, step: Step) {
        let turn = self.turn;
        self.rank(rank).turns[turn].push(step);
    }

    /// Puts a Release behind the last step of every turn that uses a part, and behind the sends
    /// that follow that step, for all parts that are not released yet in that turn.
    pub fn release_after_last_use(&mut self) {
        let transfers = &self.plan.transfers;
        for rank in &mut self.plan.ranks {
            for steps in &mut rank.turns {
                let mut last: BTreeMap<PartId, usize> = BTreeMap::new();
                for (index, step) in steps.iter().enumerate() {
                    for part in parts_of(step, &rank.pieces, transfers) {
                        last.insert(part, index);
                    }
                }
                for step in steps.iter() {
                    if let Step::Release(part) = step {
                        last.remove(part);
                    }
                }
                let mut behind: BTreeMap<usize, Vec<PartId>> = BTreeMap::new();
                for (part, index) in last {
                    behind.entry(index).or_default().push(part);
                }
                // Sends that follow go first: a release never hurries.
                let mut listed = Vec::with_capacity(steps.len() + behind.len());
                let mut waiting: Vec<PartId> = Vec::new();
                for (index, step) in steps.drain(..).enumerate() {
                    if !matches!(step, Step::Send(_)) {
                        listed.extend(waiting.drain(..).map(Step::Release));
                    }
                    listed.push(step);
                    waiting.extend(behind.remove(&index).unwrap_or_default());
                }
                listed.extend(waiting.into_iter().map(Step::Release));
                *steps = listed;
            }
        }
    }

    /// The plan so far.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan.
    pub fn build(self) -> Plan {
        self.plan
    }

    fn rank(&mut self, rank: Rank) -> &mut RankPlan {
        &mut self.plan.ranks[rank.index()]
    }
}

/// The parts that a step reads, writes or releases.
fn parts_of(step: &Step, pieces: &[Piece], transfers: &[Transfer]) -> Vec<PartId> {
    match step {
        Step::Input(part) | Step::Output(part) | Step::Release(part) => vec![*part],
        Step::Receive(transfer) => vec![transfers[transfer.index()].to_part],
        Step::Send(transfer) => vec![transfers[transfer.index()].from_part],
        Step::Assemble { from, into } | Step::Reduce { from, into, .. } => {
            from.iter().chain([into]).copied().collect()
        }
        Step::Run(piece) => {
            let piece = &pieces[piece.index()];
            let boxes = piece.inputs.iter().chain(&piece.outputs);
            boxes.map(|&(part, _)| part).collect()
        }
    }
}
