//! From layouts to a plan: parts, pieces, messages and the order of the steps.
//!
//! Steps are laid in the order of the graph. A rank sends a box as soon as it is made and waits
//! for one as late as it can; hence whoever waits, waits for a step that comes earlier in the
//! graph, and no rank waits for ever.

mod parts;
mod reduce;

use std::collections::BTreeMap;

use super::demand::{held_by, Demand};
use super::grow::{groups, Group};
use super::layout::{Layout, Making};
use super::{Plan, PlanBuilder, Step};
use crate::geometry::{Interval, Region};
use crate::graph::{input_needs, Graph};
use crate::ids::{ActivationId, NodeId, PartId, PieceId, Rank, SumId, TransferId};
use parts::{Parts, Place};

/// The plan that makes each turn's values where its layout says.
///
/// Every layout has an entry for every node; ranks are below `ranks`, `window` is at least 1.
pub fn emit(graph: &Graph, ranks: usize, window: u32, layouts: &[Layout]) -> Plan {
    let cycle = u32::try_from(layouts.len()).expect("a cycle is short");
    let mut shared = Shared {
        builder: PlanBuilder::new(graph, ranks, window, cycle),
        parts: Parts::default(),
        pieces: BTreeMap::new(),
        transfers: BTreeMap::new(),
        sums: BTreeMap::new(),
    };
    for (turn, layout) in layouts.iter().enumerate() {
        shared.builder.turn(turn);
        Turn::new(graph, layout, &mut shared).lay();
    }
    let mut builder = shared.builder;
    builder.release_after_last_use();
    builder.build()
}

/// What turns have in common: a piece or a part that two of them use exists once.
struct Shared<'a> {
    builder: PlanBuilder<'a>,
    parts: Parts,
    pieces: BTreeMap<PieceKey, PieceId>,
    transfers: BTreeMap<(Rank, PartId, Rank, PartId, Region), TransferId>,
    sums: BTreeMap<(NodeId, Vec<Region>), SumId>,
}

type PieceKey = (Rank, Vec<NodeId>, Vec<PartId>, Vec<(PartId, Region)>);

struct Turn<'s, 'a> {
    graph: &'a Graph,
    layout: &'s Layout,
    demand: Demand,
    shared: &'s mut Shared<'a>,
    /// Where a rank has an activation, or will when its messages are there.
    places: BTreeMap<(ActivationId, Rank), Place>,
    /// Messages that are sent, but not yet received.
    awaited: BTreeMap<(ActivationId, Rank), Vec<TransferId>>,
    /// Summands of shared sums, by node and member.
    summands: BTreeMap<(NodeId, usize), PartId>,
}

impl<'s, 'a> Turn<'s, 'a> {
    fn new(graph: &'a Graph, layout: &'s Layout, shared: &'s mut Shared<'a>) -> Self {
        Self {
            graph,
            layout,
            demand: Demand::of(graph, layout),
            shared,
            places: BTreeMap::new(),
            awaited: BTreeMap::new(),
            summands: BTreeMap::new(),
        }
    }

    fn lay(&mut self) {
        self.inputs();
        let groups = groups(self.graph, self.layout, &self.demand);
        for (index, group) in groups.iter().enumerate() {
            self.group(group);
            let last = group.last();
            let more = groups
                .get(index + 1)
                .is_some_and(|next| next.last() == last);
            if !more {
                self.reduce(last);
            }
        }
        self.outputs();
    }

    /// Rank 0 takes what anybody reads.
    fn inputs(&mut self) {
        for &input in &self.graph.inputs {
            let read = self
                .demand
                .needs
                .range((input, Rank(0))..=(input, Rank(u32::MAX)));
            if read.count() > 0 {
                let part = self.own(input, Rank(0));
                self.step(Rank(0), Step::Input(part));
                self.send(input, Rank(0));
            }
        }
    }

    /// Rank 0 hands over every output, each once, in the model's order.
    fn outputs(&mut self) {
        let outputs = &self.graph.outputs;
        for (index, &output) in outputs.iter().enumerate() {
            if !outputs[..index].contains(&output) {
                let whole = self.graph.whole(output);
                let part = self.fetch(output, Rank(0), &whole);
                self.step(Rank(0), Step::Output(part));
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let last = group.last();
        let boxes = self.boxes(last, group.rank);
        let (rank, mut rest) = (group.rank, &group.nodes[..]);
        if boxes.len() > 1 {
            // Only what belongs to the last window runs box by box; the nodes before it run once.
            let (head, tail) = group.nodes.split_at(self.tail(group));
            if !head.is_empty() {
                self.run(rank, head, None);
            }
            rest = tail;
        }
        if boxes.is_empty() {
            self.run(rank, rest, None);
        }
        let mut made: Vec<Region> = Vec::new();
        let mut sent = Vec::new();
        for region in boxes {
            self.run(rank, rest, Some(&region));
            made.push(region);
            for &output in &self.graph.node(last).outputs {
                self.send_made(output, rank, &made, &mut sent);
            }
        }
    }

    /// The boxes of its first output that a rank makes of a node, in the order of making: what
    /// others need first, where the layout asks for it. None for a shared sum.
    fn boxes(&self, id: NodeId, rank: Rank) -> Vec<Region> {
        let Some(Making::Boxes(makers)) = &self.layout.nodes[id.index()] else {
            return vec![];
        };
        let made = makers.iter().filter(|(maker, _)| *maker == rank);
        let whole: Vec<Region> = made.map(|(_, region)| region.clone()).collect();
        let output = self.graph.node(id).outputs[0];
        let [own] = &whole[..] else {
            return whole;
        };
        if !self.layout.eager[id.index()] {
            return whole;
        }
        let mut first: Vec<Region> = Vec::new();
        for leaving in self.demand.leaving(output, rank) {
            let new = leaving.region.minus_all(&first);
            first.extend(new);
        }
        let volume: usize = first.iter().map(Region::volume).sum();
        if first.is_empty() || volume * 2 > own.volume() {
            return whole;
        }
        let interior = own.minus_all(&first);
        first.into_iter().chain(interior).collect()
    }

    /// Where the nodes begin that run box by box: the last node with a window, and behind it what
    /// reads nothing but the node before it.
    fn tail(&self, group: &Group) -> usize {
        let mut start = group.nodes.len() - 1;
        while start > 0 && self.is_pointwise(group.nodes[start]) {
            let before = self.graph.node(group.nodes[start - 1]);
            let reads = &self.graph.node(group.nodes[start]);
            let consumers = |a: &ActivationId| self.graph.activation(*a).consumers.len();
            let only = reads.activations().all(|a| before.outputs.contains(&a));
            let private = before.outputs.iter().map(consumers).sum::<usize>() == 1
                && !self
                    .graph
                    .outputs
                    .iter()
                    .any(|a| before.outputs.contains(a));
            if !only || !private {
                break;
            }
            start -= 1;
        }
        start
    }

    /// Whether a box of the output needs just the same box of what the node reads.
    fn is_pointwise(&self, id: NodeId) -> bool {
        let output = self.graph.whole(self.graph.node(id).outputs[0]);
        let probe = Region(
            output
                .0
                .iter()
                .map(|axis| Interval::new(axis.end / 2, axis.end / 2 + 1))
                .collect(),
        );
        let needs = input_needs(self.graph, id, &probe);
        needs.iter().all(|(_, _, need)| *need == probe)
    }

    /// Runs some nodes of a group: over one box of the last node's output, or whole as the rank
    /// makes them.
    fn run(&mut self, rank: Rank, nodes: &[NodeId], region: Option<&Region>) {
        let inside = |a: ActivationId| {
            let producer = self.graph.activation(a).producer;
            producer.is_some_and(|node| nodes.binary_search(&node).is_ok())
        };
        let mut reads: BTreeMap<ActivationId, Region> = BTreeMap::new();
        let mut order = Vec::new();
        let mut outputs: Vec<(ActivationId, Region)> = Vec::new();
        let mut summand = None;
        for &id in nodes {
            let needs = self.layout.needs(self.graph, id);
            let own = needs.into_iter().filter(|(maker, _)| *maker == rank);
            for (activation, need) in own.flat_map(|(_, needs)| needs) {
                if !inside(activation) {
                    if !order.contains(&activation) {
                        order.push(activation);
                    }
                    let read = reads.entry(activation).or_insert_with(|| need.clone());
                    *read = read.hull(&need);
                }
            }
            if let Some(Making::Sum(sum)) = &self.layout.nodes[id.index()] {
                let member = sum.members.iter().position(|(maker, _)| *maker == rank);
                summand = member.map(|member| (id, member));
                continue;
            }
            for &made in &self.graph.node(id).outputs {
                if self.is_read_outside(made, rank, nodes) {
                    let holdings = self.layout.holdings(self.graph, made);
                    let own = holdings.into_iter().filter(|(holder, _)| *holder == rank);
                    outputs.extend(own.map(|(_, region)| (made, region)));
                }
            }
        }
        if let Some(region) = region {
            let last = self.graph.node(nodes[nodes.len() - 1]).outputs[0];
            let others = outputs.into_iter().filter(|(a, _)| *a != last);
            outputs = others.chain([(last, region.clone())]).collect();
        }
        let inputs: Vec<PartId> = order
            .into_iter()
            .map(|activation| self.fetch(activation, rank, &reads[&activation]))
            .collect();
        let mut written: Vec<(PartId, Region)> = outputs
            .into_iter()
            .map(|(made, region)| (self.own(made, rank), region))
            .collect();
        if let Some((id, member)) = summand {
            written.push(self.summand(id, member));
        }
        self.piece(rank, nodes, inputs, written);
    }

    fn piece(
        &mut self,
        rank: Rank,
        nodes: &[NodeId],
        inputs: Vec<PartId>,
        outputs: Vec<(PartId, Region)>,
    ) {
        let key = (rank, nodes.to_vec(), inputs, outputs);
        let piece = match self.shared.pieces.get(&key) {
            Some(piece) => *piece,
            None => {
                let (_, _, inputs, outputs) = &key;
                let builder = &mut self.shared.builder;
                let piece = builder.piece_needing(rank, nodes, inputs, outputs.clone());
                let piece = piece.expect("a layout's boxes are inside of their activations");
                self.shared.pieces.insert(key, piece);
                piece
            }
        };
        self.shared.builder.run(rank, piece);
    }

    /// Whether other nodes than these read an activation that the rank makes.
    fn is_read_outside(&self, id: ActivationId, rank: Rank, nodes: &[NodeId]) -> bool {
        let reads = |node: &NodeId| {
            nodes.binary_search(node).is_err() && self.demand.makers[node.index()].contains(&rank)
        };
        let sink = rank == Rank(0) && self.graph.outputs.contains(&id);
        let leaves = self.demand.leaving(id, rank).next().is_some();
        sink || leaves || self.graph.activation(id).consumers.iter().any(reads)
    }

    /// Sends everything of an activation that a rank is to send.
    fn send(&mut self, id: ActivationId, rank: Rank) {
        let whole = self.graph.whole(id);
        self.send_made(id, rank, &[whole], &mut vec![]);
    }

    /// Sends what lies in the boxes made so far and is not in `sent`.
    fn send_made(
        &mut self,
        id: ActivationId,
        rank: Rank,
        made: &[Region],
        sent: &mut Vec<TransferId>,
    ) {
        let first = self.layout.holdings(self.graph, id);
        let made = match self.graph.activation(id).producer {
            Some(node) if self.graph.node(node).outputs[0] != id => {
                held_by(&first, rank).cloned().collect()
            }
            _ => made.to_vec(),
        };
        let moves = self.demand.leaving(id, rank).cloned();
        for a in in_turn(rank, moves, |a| a.to) {
            if !a.region.minus_all(&made).is_empty() {
                continue;
            }
            let from = (rank, self.own(id, rank));
            let to = (a.to, self.landing(id, a.to));
            let transfer = self.transfer(from, to, a.region);
            if !sent.contains(&transfer) {
                sent.push(transfer);
                self.shared.builder.send(transfer);
                self.awaited.entry((id, a.to)).or_default().push(transfer);
            }
        }
    }

    fn transfer(&mut self, from: (Rank, PartId), to: (Rank, PartId), region: Region) -> TransferId {
        let key = (from.0, from.1, to.0, to.1, region.clone());
        let builder = &mut self.shared.builder;
        let transfers = &mut self.shared.transfers;
        let place = transfers.entry(key);
        *place.or_insert_with(|| builder.transfer(from, to, region))
    }

    fn step(&mut self, rank: Rank, step: Step) {
        self.shared.builder.step(rank, step);
    }
}

/// The order in which a rank sends what it has for several at once: first to the ranks behind it,
/// then from rank 0 on.
///
/// Where all send to all, each is then the first receiver of one sender, the second of another, and
/// so on. A port passes messages on one behind the other (those that a socket takes at once, that
/// is): if all began with rank 0, the last rank's port would have nothing to do at first, and it
/// would have its messages last.
fn in_turn<T>(from: Rank, all: impl Iterator<Item = T>, to: impl Fn(&T) -> Rank) -> Vec<T> {
    let (mut behind, before): (Vec<T>, Vec<T>) = all.partition(|each| to(each) > from);
    behind.extend(before);
    behind
}
