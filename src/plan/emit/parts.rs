//! Where a rank keeps an activation: in one part as a rule, beside its own box where not.

use std::collections::BTreeMap;

use super::super::demand::held_by;
use super::super::layout::{Making, Reduction};
use super::super::{PlanBuilder, Step};
use super::Turn;
use crate::geometry::Region;
use crate::ids::{ActivationId, PartId, Rank, SumId};

/// Parts by what they hold, so that turns share them.
#[derive(Default)]
pub struct Parts(BTreeMap<(Rank, ActivationId, Region, Summands), PartId>);

/// Which members of a sum; none for all of them.
type Summands = Option<(SumId, Vec<u32>)>;

/// Where a rank has an activation.
pub struct Place {
    /// What it makes is written here; and what it is sent, where `gathered` is none.
    own: PartId,
    /// Everything that it reads, where that and what it makes are no box together.
    gathered: Option<Gathered>,
}

struct Gathered {
    part: PartId,
    /// Whether the rank's own box is in it already, or has nothing to give.
    filled: bool,
}

impl Parts {
    /// A part of `rank` that holds all terms of a box.
    pub fn all(
        &mut self,
        builder: &mut PlanBuilder<'_>,
        rank: Rank,
        id: ActivationId,
        region: &Region,
    ) -> PartId {
        let place = self.0.entry((rank, id, region.clone(), None));
        *place.or_insert_with(|| builder.part(rank, id, region.clone()))
    }

    /// A part of `rank` that holds some summands of a box, listed in ascending order.
    pub fn some(
        &mut self,
        builder: &mut PlanBuilder<'_>,
        (rank, id): (Rank, ActivationId),
        region: &Region,
        sum: SumId,
        members: &[u32],
    ) -> PartId {
        let key = (rank, id, region.clone(), Some((sum, members.to_vec())));
        let make = || builder.partial(rank, id, region.clone(), sum, members);
        *self.0.entry(key).or_insert_with(make)
    }
}

impl Turn<'_, '_> {
    /// The part that a rank writes what it makes of an activation to.
    pub(super) fn own(&mut self, id: ActivationId, rank: Rank) -> PartId {
        self.place(id, rank).own
    }

    /// The part that messages of an activation are written to.
    pub(super) fn landing(&mut self, id: ActivationId, rank: Rank) -> PartId {
        let place = self.place(id, rank);
        place.gathered.as_ref().map_or(place.own, |g| g.part)
    }

    /// The part that holds a box which the rank reads, its messages received.
    pub(super) fn fetch(&mut self, id: ActivationId, rank: Rank, need: &Region) -> PartId {
        let own = self.own(id, rank);
        for transfer in self.awaited.remove(&(id, rank)).unwrap_or_default() {
            self.shared.builder.receive(transfer);
        }
        let made = self.shared.builder.plan().part(rank, own).region.clone();
        let place = self.place(id, rank);
        let gathered = match &mut place.gathered {
            Some(gathered) if !made.contains(need) => gathered,
            _ => return own,
        };
        let (into, filled) = (gathered.part, std::mem::replace(&mut gathered.filled, true));
        if !filled {
            let from = vec![own];
            self.step(rank, Step::Assemble { from, into });
        }
        into
    }

    fn place(&mut self, id: ActivationId, rank: Rank) -> &mut Place {
        if !self.places.contains_key(&(id, rank)) {
            let place = self.new_place(id, rank);
            self.places.insert((id, rank), place);
        }
        self.places.get_mut(&(id, rank)).expect("it was just made")
    }

    fn new_place(&mut self, id: ActivationId, rank: Rank) -> Place {
        let holdings = self.layout.holdings(self.graph, id);
        let own: Vec<&Region> = held_by(&holdings, rank).collect();
        let arriving: Vec<&Region> = self.demand.arriving(id, rank).map(|m| &m.region).collect();
        let hull = |boxes: &[&Region]| {
            let boxes = boxes.iter().copied().cloned();
            boxes.reduce(|a, b| a.hull(&b))
        };
        let (made, sent) = (hull(&own), hull(&arriving));
        let (single, gathered) = match (made, sent) {
            (Some(made), Some(sent)) => {
                let all = made.hull(&sent);
                let volume = |boxes: &[&Region]| boxes.iter().map(|b| b.volume()).sum::<usize>();
                let exact = all.volume() == volume(&own) + volume(&arriving);
                match exact && !self.is_scattered(id) {
                    true => (all, None),
                    false => (made, self.demand.needs.get(&(id, rank)).cloned()),
                }
            }
            (Some(one), None) | (None, Some(one)) => (one, None),
            (None, None) => unreachable!("nothing of {id} is on rank {rank}"),
        };
        let shared = &mut *self.shared;
        let own = shared.parts.all(&mut shared.builder, rank, id, &single);
        let gathered = gathered.map(|need| Gathered {
            part: shared.parts.all(&mut shared.builder, rank, id, &need),
            filled: need.intersect(&single).is_empty(),
        });
        Place { own, gathered }
    }

    /// Whether a reduction leaves an activation in boxes, which it writes as whole parts.
    fn is_scattered(&self, id: ActivationId) -> bool {
        let producer = self.graph.activation(id).producer;
        let making = producer.and_then(|node| self.layout.nodes[node.index()].as_ref());
        let reduction = match making {
            Some(Making::Sum(sum)) => Some(&sum.reduction),
            _ => None,
        };
        matches!(reduction, Some(Reduction::Scatter(_)))
    }
}
