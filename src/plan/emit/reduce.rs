//! From summands to the sum: at a root, around a ring, or each rank its own box.

use super::super::layout::{Making, Reduction, Summing};
use super::super::Step;
use super::{in_turn, Turn};
use crate::geometry::{shares_to_intervals, Region};
use crate::ids::{ActivationId, NodeId, PartId, Rank, SumId};

impl Turn<'_, '_> {
    /// The part, whole, that a member writes its summand to.
    pub(super) fn summand(&mut self, id: NodeId, member: usize) -> (PartId, Region) {
        let Some(Making::Sum(sum)) = &self.layout.nodes[id.index()] else {
            unreachable!("{id} is a shared sum");
        };
        let rank = sum.members[member].0;
        let sum_id = self.sum_id(id, sum);
        let activation = self.graph.node(id).outputs[0];
        let whole = self.graph.whole(activation);
        let part = self.some((rank, activation), &whole, sum_id, &[member]);
        self.summands.insert((id, member), part);
        (part, whole)
    }

    /// Adds up the summands of a node, where its sum is shared, and sends the sum on.
    pub(super) fn reduce(&mut self, id: NodeId) {
        let Some(Making::Sum(sum)) = &self.layout.nodes[id.index()] else {
            return;
        };
        let activation = self.graph.node(id).outputs[0];
        match &sum.reduction {
            Reduction::Root(root) => {
                let whole = self.graph.whole(activation);
                self.collect(id, sum, &[(*root, whole)]);
            }
            Reduction::Scatter(boxes) => self.collect(id, sum, boxes),
            Reduction::Ring => self.ring(id, sum),
        }
        let holders = self.layout.holdings(self.graph, activation);
        for (rank, _) in holders {
            self.send(activation, rank);
        }
    }

    /// Each of these ranks is sent its box of every summand, and adds them in the members' order.
    fn collect(&mut self, id: NodeId, sum: &Summing, boxes: &[(Rank, Region)]) {
        let activation = self.graph.node(id).outputs[0];
        let sum_id = self.sum_id(id, sum);
        let mut arrivals = Vec::new();
        for (member, &(from, _)) in sum.members.iter().enumerate() {
            let source = (from, self.summands[&(id, member)]);
            let others = boxes.iter().filter(|(to, _)| *to != from);
            for (to, region) in in_turn(from, others, |(to, _)| *to) {
                let copy = self.some((*to, activation), region, sum_id, &[member]);
                let transfer = self.transfer(source, (*to, copy), region.clone());
                self.shared.builder.send(transfer);
                arrivals.push((*to, member, copy, transfer));
            }
        }
        for (rank, _) in boxes {
            let mut from = Vec::new();
            for (member, (maker, _)) in sum.members.iter().enumerate() {
                if maker == rank {
                    from.push(self.summands[&(id, member)]);
                }
                let sent = arrivals.iter().filter(|a| (a.0, a.1) == (*rank, member));
                for (_, _, copy, transfer) in sent {
                    self.shared.builder.receive(*transfer);
                    from.push(*copy);
                }
            }
            let into = self.own(activation, *rank);
            self.shared.builder.add(*rank, &from, into);
        }
    }

    /// A ring all-reduce over blocks of axis 1: each block goes once around to be added up, and
    /// once more to be known to all, so that 2(N−1) times the output travels.
    fn ring(&mut self, id: NodeId, sum: &Summing) {
        let activation = self.graph.node(id).outputs[0];
        let (whole, sum_id) = (self.graph.whole(activation), self.sum_id(id, sum));
        let ranks: Vec<Rank> = sum.members.iter().map(|&(rank, _)| rank).collect();
        let count = ranks.len();
        let blocks: Vec<Region> = shares_to_intervals(whole.0[1].end, &vec![1; count])
            .into_iter()
            .map(|interval| whole.with_axis(1, interval))
            .collect();
        // What each rank holds of the block that it sends next.
        let mut held: Vec<PartId> = (0..count).map(|i| self.summands[&(id, i)]).collect();
        for step in 0..count - 1 {
            let mut arriving = Vec::new();
            for i in 0..count {
                let (next, block) = ((i + 1) % count, &blocks[(i + count - step) % count]);
                if !block.is_empty() {
                    let members = chain(i, step, count);
                    let copy = self.some((ranks[next], activation), block, sum_id, &members);
                    let (from, to) = ((ranks[i], held[i]), (ranks[next], copy));
                    let transfer = self.transfer(from, to, block.clone());
                    self.shared.builder.send(transfer);
                    arriving.push((next, block, copy, transfer));
                }
            }
            for (i, block, copy, transfer) in arriving {
                let own = self.summands[&(id, i)];
                let members = chain(i, step + 1, count);
                held[i] = match members.len() == count {
                    true => self.all((ranks[i], activation), block),
                    false => self.some((ranks[i], activation), block, sum_id, &members),
                };
                self.shared.builder.receive(transfer);
                self.shared.builder.add(ranks[i], &[copy, own], held[i]);
            }
        }
        self.spread(activation, &ranks, &blocks, &held);
    }

    /// The second time around: rank i begins with block i + 1, whose sum it holds.
    fn spread(&mut self, id: ActivationId, ranks: &[Rank], blocks: &[Region], held: &[PartId]) {
        let count = ranks.len();
        let homes: Vec<PartId> = ranks.iter().map(|&rank| self.own(id, rank)).collect();
        for i in 0..count {
            let (from, into) = (held[i], homes[i]);
            if !blocks[(i + 1) % count].is_empty() && from != into {
                let from = vec![from];
                self.step(ranks[i], Step::Assemble { from, into });
            }
        }
        for step in 0..count - 1 {
            let mut arriving = Vec::new();
            for i in 0..count {
                let (next, block) = ((i + 1) % count, &blocks[(i + 1 + count - step) % count]);
                if !block.is_empty() {
                    let (from, to) = ((ranks[i], homes[i]), (ranks[next], homes[next]));
                    let transfer = self.transfer(from, to, block.clone());
                    self.shared.builder.send(transfer);
                    arriving.push(transfer);
                }
            }
            arriving
                .into_iter()
                .for_each(|transfer| self.shared.builder.receive(transfer));
        }
    }

    fn sum_id(&mut self, id: NodeId, sum: &Summing) -> SumId {
        let boxes: Vec<Region> = sum
            .members
            .iter()
            .map(|(_, region)| region.clone())
            .collect();
        let builder = &mut self.shared.builder;
        let place = self.shared.sums.entry((id, boxes.clone()));
        *place.or_insert_with(|| builder.sum(id, boxes))
    }

    fn all(&mut self, (rank, id): (Rank, ActivationId), region: &Region) -> PartId {
        let shared = &mut *self.shared;
        shared.parts.all(&mut shared.builder, rank, id, region)
    }

    fn some(
        &mut self,
        place: (Rank, ActivationId),
        region: &Region,
        sum: SumId,
        members: &[usize],
    ) -> PartId {
        let member = |&i: &usize| u32::try_from(i).expect("a sum has few members");
        let mut members: Vec<u32> = members.iter().map(member).collect();
        members.sort_unstable();
        let shared = &mut *self.shared;
        shared
            .parts
            .some(&mut shared.builder, place, region, sum, &members)
    }
}

/// Whose summands member `i` of `count` holds after it was added to `steps` times: its own and
/// those of the members before it.
fn chain(i: usize, steps: usize, count: usize) -> Vec<usize> {
    (0..=steps).map(|back| (i + count - back) % count).collect()
}
