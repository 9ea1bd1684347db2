//! How long one kind of host takes for a unit of work, for copies and for messages.

use std::collections::HashMap;

use super::CostError;
use crate::graph::{self, input_needs, macs_over, Graph};
use crate::ids::NodeId;
use crate::plan::PieceWork;
use crate::platform::{Host, Timing};

/// The model's units and their texts, the same for every host.
pub(super) struct Units {
    /// Every node's leader.
    leaders: Vec<NodeId>,
    /// Every leader's work; empty for other nodes.
    works: Vec<String>,
}

impl Units {
    pub fn of(graph: &Graph) -> Self {
        let units = graph::units(graph);
        Self {
            leaders: graph::leaders(graph),
            works: units.iter().map(|unit| graph::work(graph, unit)).collect(),
        }
    }
}

/// One entry of `hosts:`, resolved.
pub(super) struct Speedometer<'a> {
    host: &'a Host,
    /// By the leader's index.
    times: Vec<Option<&'a Timing>>,
}

impl<'a> Speedometer<'a> {
    pub fn of(host: &'a Host, units: &Units) -> Self {
        let known: HashMap<&str, &Timing> =
            host.times.iter().map(|t| (t.work.as_str(), t)).collect();
        let times = units.works.iter();
        Self {
            host,
            times: times
                .map(|work| known.get(work.as_str()).copied())
                .collect(),
        }
    }

    /// µs of one Run of a piece: what each Run takes, and its units.
    pub fn run_us(
        &self,
        graph: &Graph,
        units: &Units,
        nodes: &[NodeId],
        work: &PieceWork,
    ) -> Result<f64, CostError> {
        let mut us = self.host.speed.run_us.unwrap_or(0.0);
        for &id in nodes {
            let leader = units.leaders[id.index()];
            // What is fused behind its leader is in the leader's time.
            if leader != id && nodes.binary_search(&leader).is_ok() {
                continue;
            }
            us += match self.times[id.index()] {
                Some(timing) => table_us(graph, id, work, timing),
                None => self.counted_us(graph, id, work)?,
            };
        }
        Ok(us)
    }

    /// µs to read and write so many bytes.
    pub fn bytes_us(&self, bytes: u64) -> Result<f64, CostError> {
        if bytes == 0 {
            return Ok(0.0);
        }
        let rate = self.host.speed.gb_per_s.ok_or_else(|| {
            self.unknown("speed.gb_per_s is missing, for copies and nodes that no table knows")
        })?;
        Ok(bytes as f64 / (1e3 * rate))
    }

    /// µs by multiply-accumulates, or by bytes where there are none.
    fn counted_us(&self, graph: &Graph, id: NodeId, work: &PieceWork) -> Result<f64, CostError> {
        let Some(made) = work.made(graph, id) else {
            return Ok(0.0);
        };
        let macs = macs_over(graph, id, made, &work.first_read(graph, id, made));
        if macs > 0 {
            let rate = self.host.speed.gmac_per_s.ok_or_else(|| {
                let name = &graph.node(id).name;
                self.unknown(&format!(
                    "neither a time for node {name} nor speed.gmac_per_s is there"
                ))
            })?;
            return Ok(macs as f64 / (1e3 * rate));
        }
        let read = input_needs(graph, id, made);
        let size = |id| graph.activation(id).dtype.size() as u64;
        let outputs = &graph.node(id).outputs;
        let written = outputs
            .iter()
            .filter_map(|&a| Some(work.regions.get(&a)?.volume() as u64 * size(a)));
        let bytes = read
            .iter()
            .map(|(_, a, region)| region.volume() as u64 * size(*a))
            .chain(written);
        self.bytes_us(bytes.fold(0, u64::saturating_add))
    }

    fn unknown(&self, what: &str) -> CostError {
        CostError::Unknown {
            host: self.host.name.clone(),
            what: what.into(),
        }
    }
}

/// A measured node's time for what the piece makes of it: by rows, times the share of the columns,
/// times how the time goes with channels and with terms.
fn table_us(graph: &Graph, id: NodeId, work: &PieceWork, timing: &Timing) -> f64 {
    let Some(made) = work.made(graph, id) else {
        return 0.0;
    };
    let whole = graph.whole(graph.node(id).outputs[0]);
    let length = |axis: usize| (made.0.get(axis), whole.0.get(axis));
    let us = timing.us;
    let rows = match length(2) {
        (Some(own), Some(all)) => timing.rows.at(own.len(), all.len(), us),
        _ => us,
    };
    let beyond = |region: &crate::geometry::Region| -> usize {
        region.0.iter().skip(3).map(|axis| axis.len()).product()
    };
    let columns = beyond(made) as f64 / beyond(&whole).max(1) as f64;
    let relative = |time: f64| if us > 0.0 { time / us } else { 1.0 };
    let channels = match length(1) {
        (Some(own), Some(all)) => relative(timing.channels.at(own.len(), all.len(), us)),
        _ => 1.0,
    };
    let terms = match (work.summands.get(&id), graph.node(id).activations().next()) {
        (Some((summand, _)), Some(input)) => {
            let all = graph.whole(input);
            let channels =
                |region: &crate::geometry::Region| region.0.get(1).map_or(1, |axis| axis.len());
            match summand.volume() * channels(&all) == all.volume() * channels(summand) {
                true => relative(timing.terms.at(channels(summand), channels(&all), us)),
                // A sum over space.
                false => summand.volume() as f64 / all.volume().max(1) as f64,
            }
        }
        _ => 1.0,
    };
    rows * columns * channels * terms
}
