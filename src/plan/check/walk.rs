//! What every rank holds, step by step, and that messages and outputs are complete.

use std::collections::BTreeSet;

use super::super::{step_name, Part, Plan, Step, Terms};
use super::{named, CheckError};
use crate::geometry::Region;
use crate::graph::Graph;
use crate::ids::{ActivationId, PartId, PieceId, Rank, SumId, TransferId};

pub fn check(graph: &Graph, plan: &Plan, turn: usize) -> Result<(), CheckError> {
    let mut sent = vec![false; plan.transfers.len()];
    let mut received = vec![false; plan.transfers.len()];
    let mut handed = BTreeSet::new();
    for (index, held) in plan.ranks.iter().enumerate() {
        let rank = Rank::new(index);
        let contents = held.parts.iter().map(|_| Contents::default()).collect();
        let mut walk = Walk {
            graph,
            plan,
            rank,
            contents,
            taken: BTreeSet::new(),
            sent: &mut sent,
            received: &mut received,
            handed: &mut handed,
        };
        for (step_index, step) in held.turns[turn].iter().enumerate() {
            walk.step(step).map_err(|message| CheckError::Step {
                rank,
                turn,
                step: step_index,
                what: step_name(plan, rank, step),
                message,
            })?;
        }
    }
    for (index, transfer) in plan.transfers.iter().enumerate() {
        let (from, to) = (transfer.from, transfer.to);
        let message = match (sent[index], received[index]) {
            (true, false) => {
                format!("rank {from} sends it in turn {turn}, rank {to} does not wait")
            }
            (false, true) => {
                format!("rank {to} waits in turn {turn}, rank {from} does not send it")
            }
            _ => continue,
        };
        let transfer = TransferId::new(index);
        return Err(CheckError::Transfer { transfer, message });
    }
    for &output in &graph.outputs {
        if !handed.contains(&output) {
            let activation = graph.activation(output).name.clone();
            return Err(CheckError::Missing { turn, activation });
        }
    }
    Ok(())
}

/// What a part holds so far; every part starts empty in every frame.
#[derive(Default)]
struct Contents {
    /// Disjoint boxes.
    written: Vec<Region>,
    released: bool,
}

struct Walk<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    rank: Rank,
    contents: Vec<Contents>,
    taken: BTreeSet<ActivationId>,
    sent: &'a mut Vec<bool>,
    received: &'a mut Vec<bool>,
    handed: &'a mut BTreeSet<ActivationId>,
}

impl<'a> Walk<'a> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Input(id) => self.input(*id),
            Step::Receive(id) => self.receive(*id),
            Step::Assemble { from, into } => self.assemble(from, *into),
            Step::Run(id) => self.run(*id),
            Step::Reduce { from, into, .. } => self.reduce(from, *into),
            Step::Send(id) => self.send(*id),
            Step::Output(id) => self.output(*id),
            Step::Release(id) => self.release(*id),
        }
    }

    fn input(&mut self, id: PartId) -> Result<(), String> {
        let part = self.part(id)?;
        self.at_rank_0()?;
        if !self.graph.inputs.contains(&part.activation) {
            return Err(format!("{} is no input of the model", self.name(id)));
        }
        self.whole(id, part)?;
        if !self.taken.insert(part.activation) {
            return Err(format!("{} is taken a second time", self.name(id)));
        }
        self.write(id, &part.region)
    }

    fn receive(&mut self, id: TransferId) -> Result<(), String> {
        let plan = self.plan;
        let transfers = &plan.transfers;
        let transfer = transfers
            .get(id.index())
            .ok_or_else(|| format!("{id} of {} transfers", transfers.len()))?;
        if transfer.to != self.rank {
            return Err(format!("it goes to rank {}", transfer.to));
        }
        if std::mem::replace(&mut self.received[id.index()], true) {
            return Err("it is received a second time".into());
        }
        self.write(transfer.to_part, &transfer.region)
    }

    fn send(&mut self, id: TransferId) -> Result<(), String> {
        let plan = self.plan;
        let transfers = &plan.transfers;
        let transfer = transfers
            .get(id.index())
            .ok_or_else(|| format!("{id} of {} transfers", transfers.len()))?;
        if transfer.from != self.rank {
            return Err(format!("it comes from rank {}", transfer.from));
        }
        if std::mem::replace(&mut self.sent[id.index()], true) {
            return Err("it is sent a second time".into());
        }
        self.read(transfer.from_part, &transfer.region)
    }

    /// Parts may overlap in what they give: then both hold the same values.
    fn assemble(&mut self, from: &[PartId], into: PartId) -> Result<(), String> {
        let target = self.part(into)?;
        let mut boxes: Vec<Region> = Vec::new();
        for &id in from {
            let source = self.part(id)?;
            if source.activation != target.activation || source.terms != target.terms {
                let (source, target) = (self.name(id), self.name(into));
                return Err(format!("{source} and {target} hold different things"));
            }
            let common = source.region.intersect(&target.region);
            if id == into || common.is_empty() {
                return Err(format!(
                    "{} gives nothing to {}",
                    self.name(id),
                    self.name(into)
                ));
            }
            self.read(id, &common)?;
            boxes.extend(common.minus_all(&boxes));
        }
        if boxes.is_empty() {
            return Err("it copies nothing".into());
        }
        boxes.iter().try_for_each(|region| self.write(into, region))
    }

    fn run(&mut self, id: PieceId) -> Result<(), String> {
        let plan = self.plan;
        let pieces = &plan.ranks[self.rank.index()].pieces;
        let piece = pieces
            .get(id.index())
            .ok_or_else(|| format!("{id} of {} pieces", pieces.len()))?;
        for (part, region) in &piece.inputs {
            self.read(*part, region)?;
        }
        for (part, region) in &piece.outputs {
            self.write(*part, region)?;
        }
        Ok(())
    }

    /// Disjoint summands of one sum become the sum of them all.
    fn reduce(&mut self, from: &[PartId], into: PartId) -> Result<(), String> {
        let target = self.part(into)?;
        let mut all: Vec<u32> = Vec::new();
        let mut sums: BTreeSet<SumId> = BTreeSet::new();
        for &id in from {
            let source = self.part(id)?;
            if source.activation != target.activation {
                let (source, target) = (self.name(id), self.name(into));
                return Err(format!("{source} is not of the activation of {target}"));
            }
            let Terms::Some { sum, members } = &source.terms else {
                return Err(format!("{} holds a sum that is complete", self.name(id)));
            };
            sums.insert(*sum);
            if members.iter().any(|member| all.contains(member)) {
                return Err(format!("{} repeats a summand", self.name(id)));
            }
            all.extend(members);
            if !source.region.contains(&target.region) {
                return Err(format!(
                    "{} is smaller than {}",
                    self.name(id),
                    self.name(into)
                ));
            }
            self.read(id, &target.region)?;
        }
        let (Some(&sum), 1) = (sums.first(), sums.len()) else {
            return Err("it needs summands of one sum".into());
        };
        all.sort_unstable();
        let complete = all.len() == self.plan.sums[sum.index()].members.len();
        let members = all;
        let result = match complete {
            true => Terms::All,
            false => Terms::Some { sum, members },
        };
        if result != target.terms {
            let (name, wanted) = (self.name(into), &target.terms);
            return Err(format!("it makes {result:?}, {name} has {wanted:?}"));
        }
        self.write(into, &target.region)
    }

    fn output(&mut self, id: PartId) -> Result<(), String> {
        let part = self.part(id)?;
        self.at_rank_0()?;
        if !self.graph.outputs.contains(&part.activation) {
            return Err(format!("{} is no output of the model", self.name(id)));
        }
        self.whole(id, part)?;
        self.read(id, &part.region)?;
        match self.handed.insert(part.activation) {
            true => Ok(()),
            false => Err(format!("{} is handed over a second time", self.name(id))),
        }
    }

    fn release(&mut self, id: PartId) -> Result<(), String> {
        self.part(id)?;
        let name = self.name(id);
        let contents = &mut self.contents[id.index()];
        if contents.written.is_empty() {
            return Err(format!("{name} is released before it is written"));
        }
        match std::mem::replace(&mut contents.released, true) {
            false => Ok(()),
            true => Err(format!("{name} is released a second time")),
        }
    }

    fn at_rank_0(&self) -> Result<(), String> {
        match self.rank {
            Rank(0) => Ok(()),
            _ => Err("only rank 0 is source and sink".into()),
        }
    }

    fn whole(&self, id: PartId, part: &Part) -> Result<(), String> {
        if part.terms != Terms::All {
            return Err(format!("{} holds only some summands", self.name(id)));
        }
        match part.region == self.graph.whole(part.activation) {
            true => Ok(()),
            false => Err(format!("{} is not whole", self.name(id))),
        }
    }

    fn read(&self, id: PartId, region: &Region) -> Result<(), String> {
        let contents = &self.contents[id.index()];
        if contents.released {
            return Err(format!("{} is released already", self.name(id)));
        }
        match region.minus_all(&contents.written).first() {
            None => Ok(()),
            Some(missing) => Err(format!("{} does not hold {missing} yet", self.name(id))),
        }
    }

    fn write(&mut self, id: PartId, region: &Region) -> Result<(), String> {
        let name = self.name(id);
        let contents = &mut self.contents[id.index()];
        if contents.released {
            return Err(format!("{name} is released already"));
        }
        let mut common = contents.written.iter().map(|held| held.intersect(region));
        if let Some(twice) = common.find(|common| !common.is_empty()) {
            return Err(format!("{twice} of {name} is written a second time"));
        }
        contents.written.push(region.clone());
        Ok(())
    }

    fn part(&self, id: PartId) -> Result<&'a Part, String> {
        let parts = &self.plan.ranks[self.rank.index()].parts;
        let part = parts.get(id.index());
        part.ok_or_else(|| format!("{id} of {} parts", parts.len()))
    }

    fn name(&self, id: PartId) -> String {
        named(self.graph, id, self.plan.part(self.rank, id))
    }
}
