//! HALP's host zone: a rank between two others computes what both of them need of each other, so
//! that these two never talk (Li et al., ICC 2022).

use super::assign::shown;
use super::layout::StageView;
use super::space::{keeps_rows, Boxes, Kinds, ROWS};
use super::PlanError;
use crate::geometry::{cuts, Interval, Region};
use crate::graph::input_needs;
use crate::ids::NodeId;
use crate::spec::{Exchange, ZoneRows, ZoneSpec};

/// The rows of each rank for every node that is cut: the host's zone in its place, the others by
/// their shares of what is left.
///
/// # Errors
/// `PlanError` where the host has no neighbours, or the zone does not keep them apart.
pub fn rows(
    stage: &StageView<'_>,
    kinds: &Kinds,
    asked: &ZoneSpec,
    shares: &[u64],
    exchange: &Exchange,
) -> Result<Boxes, PlanError> {
    let path = format!("{}.split.zone", stage.path);
    if *exchange != Exchange::Each {
        let message = "a zone needs exchange: each, between blocks its neighbours overlap";
        return Err(PlanError::new(path, message));
    }
    let host = stage
        .ranks
        .iter()
        .position(|rank| rank.index() == asked.rank);
    let host = match host {
        Some(host) if host > 0 && host + 1 < stage.ranks.len() => host,
        _ => {
            let message = format!("rank {} does not stand between two others", asked.rank);
            return Err(PlanError::new(format!("{path}.rank"), message));
        }
    };
    let mut zones = Zones::new(stage, kinds, host, shares);
    match asked.rows {
        ZoneRows::Count(count) => zones.of_count(count),
        ZoneRows::Min => zones.smallest(),
    }
    zones
        .check()
        .map_err(|message| PlanError::new(format!("{path}.rows"), message))?;
    Ok(zones.boxes())
}

struct Zones<'a> {
    stage: &'a StageView<'a>,
    kinds: &'a Kinds,
    /// The host's place among the ranks.
    host: usize,
    /// The shares of the others, in order.
    shares: Vec<u64>,
    /// For every node of the stage the rows of the zone; those of nodes that are not cut are
    /// not used.
    rows: Vec<Interval>,
}

impl<'a> Zones<'a> {
    fn new(stage: &'a StageView<'a>, kinds: &'a Kinds, host: usize, shares: &[u64]) -> Self {
        let mut shares = shares.to_vec();
        shares.remove(host);
        let rows = vec![Interval::new(0, 0); stage.nodes.len()];
        Self {
            stage,
            kinds,
            host,
            shares,
            rows,
        }
    }

    fn length(&self, id: NodeId) -> usize {
        let output = self.stage.graph.node(id).outputs[0];
        self.stage.graph.activation(output).shape[ROWS]
    }

    /// Where the ranks above the host end, when the others share `length` rows.
    fn above(&self, length: usize) -> usize {
        cuts(length, &self.shares)[self.host - 1]
    }

    fn cut_nodes(&self) -> Vec<(usize, NodeId)> {
        let nodes = self.stage.nodes.iter().copied().enumerate();
        nodes
            .filter(|&(_, id)| self.kinds.is_cut(self.stage, id))
            .collect()
    }

    fn of_count(&mut self, count: usize) {
        for (at, id) in self.cut_nodes() {
            let length = self.length(id);
            let count = count.min(length);
            let start = self.above(length - count);
            self.rows[at] = Interval::new(start, start + count);
        }
    }

    /// From the last node backwards: an empty zone where the next zones leave room for one. What
    /// a node reads that keeps rows gets the node's zone, so that none travel in between.
    fn smallest(&mut self) {
        for (at, id) in self.cut_nodes().into_iter().rev() {
            let natural = self.above(self.length(id));
            let (high, low) = self.needed(id);
            let kept = self.kept(id);
            self.rows[at] = match high <= low {
                true if !kept.is_empty() => kept,
                true => {
                    let cut = natural.clamp(high, low);
                    Interval::new(cut, cut)
                }
                false => kept.hull(Interval::new(low, high)),
            };
        }
    }

    /// The zones of those that read a node's output row by row.
    fn kept(&self, id: NodeId) -> Interval {
        let graph = self.stage.graph;
        let output = graph.node(id).outputs[0];
        let readers = graph.activation(output).consumers.iter();
        let alike = readers
            .filter(|&&reader| self.kinds.is_cut(self.stage, reader) && keeps_rows(graph, reader));
        let zone = |reader: &NodeId| {
            let at = self.stage.nodes.binary_search(reader);
            at.map_or(Interval::new(0, 0), |at| self.rows[at])
        };
        alike.map(zone).fold(Interval::new(0, 0), Interval::hull)
    }

    /// Of a node's output: the end of the rows that the rank above the zone needs, and the start
    /// of those that the rank below it needs, over everything in the stage that reads them.
    fn needed(&self, id: NodeId) -> (usize, usize) {
        let graph = self.stage.graph;
        let output = graph.node(id).outputs[0];
        let (mut high, mut low) = (0, self.length(id));
        for &consumer in &graph.activation(output).consumers {
            if !self.kinds.is_cut(self.stage, consumer) {
                continue;
            }
            let at = self.stage.nodes.binary_search(&consumer).unwrap_or(0);
            let whole = graph.whole(graph.node(consumer).outputs[0]);
            let end = whole.0[ROWS].end;
            let above = whole.with_axis(ROWS, Interval::new(0, self.rows[at].start));
            let below = whole.with_axis(ROWS, Interval::new(self.rows[at].end, end));
            let of = |region: &Region| {
                let needs = input_needs(graph, consumer, region).into_iter();
                let own = needs.filter(|(_, a, need)| *a == output && !need.is_empty());
                own.map(|(_, _, need)| need.0[ROWS]).reduce(Interval::hull)
            };
            high = high.max(of(&above).map_or(0, |rows| rows.end));
            low = low.min(of(&below).map_or(low, |rows| rows.start));
        }
        (high, low)
    }

    /// The neighbours must need nothing of each other.
    fn check(&self) -> Result<(), String> {
        for (at, id) in self.cut_nodes() {
            let ((high, low), zone) = (self.needed(id), self.rows[at]);
            if high > zone.end || low < zone.start {
                let (name, found) = (shown(&self.stage.graph.node(id).origin), zone.len());
                return Err(format!(
                    "the zone of '{name}' is rows {}:{} ({found}), its neighbours would need rows \
                     up to {high} and from {low} of each other: a larger zone, or min",
                    zone.start, zone.end
                ));
            }
        }
        Ok(())
    }

    fn boxes(&self) -> Boxes {
        let mut boxes = vec![vec![]; self.stage.nodes.len()];
        for (at, id) in self.cut_nodes() {
            let whole = self.stage.graph.whole(self.stage.graph.node(id).outputs[0]);
            let zone = self.rows[at];
            let mut ends = cuts(zone.start, &self.shares[..self.host]);
            ends.push(zone.end);
            let below = cuts(whole.0[ROWS].end - zone.end, &self.shares[self.host..]);
            ends.extend(below.into_iter().map(|end| zone.end + end));
            let mut start = 0;
            for end in ends {
                boxes[at].push(whole.with_axis(ROWS, Interval::new(start, end)));
                start = end;
            }
        }
        boxes
    }
}
