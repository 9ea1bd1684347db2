//! `by: channels`: every rank computes some channels of every activation, or adds up over some.

use std::collections::BTreeMap;

use super::layout::{Making, Reduction, StageView, Summing};
use super::pairs::pairs;
use super::{cuts, PlanError};
use crate::geometry::{shares_to_intervals, Interval, Region};
use crate::graph::{channelwise, computable, Op};
use crate::ids::{ActivationId, NodeId, Rank};
use crate::spec::{ChannelsSpec, ReduceSpec};

/// The axis of channels.
const CHANNELS: usize = 1;

/// Who makes what of a stage that is cut by channels, node by node.
///
/// # Errors
/// `PlanError`: the place in the spec and what would be right.
pub fn channels(stage: &StageView<'_>, spec: &ChannelsSpec) -> Result<Vec<Making>, PlanError> {
    let path = format!("{}.split.shares", stage.path);
    let shares = cuts::shares_or_equal(&spec.shares, stage.ranks.len(), &path)?;
    let summed = pairs(stage, &spec.pair)?;
    let mut spread = BTreeMap::new();
    let mut makings = Vec::with_capacity(stage.nodes.len());
    for &id in &stage.nodes {
        let mut layer = Layer {
            stage,
            shares: &shares,
            spread: &spread,
            id,
        };
        let (making, left) = match summed.get(&id) {
            Some(reduce) => layer.summed(*reduce),
            None => layer.sliced(),
        };
        let outputs = &stage.graph.node(id).outputs;
        spread.extend(outputs.iter().map(|&output| (output, left.clone())));
        makings.push(making);
    }
    Ok(makings)
}

/// How an activation of the stage lies on its ranks.
#[derive(Clone, PartialEq, Eq)]
enum Spread {
    /// Each rank has its channels.
    Cut(Vec<Interval>),
    /// The stage's first rank has it whole.
    Alone,
    /// Every rank has it whole.
    Everywhere,
}

/// One node, met with what came before it.
struct Layer<'a> {
    stage: &'a StageView<'a>,
    shares: &'a [u64],
    spread: &'a BTreeMap<ActivationId, Spread>,
    id: NodeId,
}

impl Layer<'_> {
    /// By output channels; where the node cannot be, or where what it reads is not cut and the
    /// node is channel-wise, as what it reads.
    fn sliced(&mut self) -> (Making, Spread) {
        let graph = self.stage.graph;
        let whole = graph.whole(graph.node(self.id).outputs[0]);
        let reads: Vec<_> = graph.node(self.id).activations().collect();
        let found: Vec<_> = reads.iter().map(|a| self.spread.get(a)).collect();
        let inherits = channelwise(graph, self.id) || self.joins_other_axis();
        let all = |is: &Spread| !found.is_empty() && found.iter().all(|f| *f == Some(is));
        let uncut = found
            .iter()
            .all(|f| matches!(f, Some(Spread::Alone | Spread::Everywhere)));
        let cuttable = inherits || self.is_wide();
        if !cuttable || whole.rank() < 2 || whole.0[CHANNELS].end < 2 {
            return self.alone();
        }
        if inherits && all(&Spread::Everywhere) {
            let ranks = self.stage.ranks.iter();
            let boxes = ranks.map(|&rank| (rank, whole.clone())).collect();
            return (Making::Boxes(boxes), Spread::Everywhere);
        }
        if inherits && uncut && !found.is_empty() {
            return self.alone();
        }
        let cut = match inherits {
            true => self.inherited(&whole),
            false => shares_to_intervals(whole.0[CHANNELS].end, self.shares),
        };
        let ranks = self.stage.ranks.iter().zip(&cut);
        let boxes = ranks.map(|(&rank, &channels)| (rank, whole.with_axis(CHANNELS, channels)));
        let boxes = boxes.filter(|(_, region)| !region.is_empty()).collect();
        (Making::Boxes(boxes), Spread::Cut(cut))
    }

    fn alone(&self) -> (Making, Spread) {
        (
            self.stage.alone(self.id, self.stage.ranks[0]),
            Spread::Alone,
        )
    }

    /// Whether any channels of the output can be computed alone, from the whole input.
    fn is_wide(&self) -> bool {
        let op = &self.stage.graph.node(self.id).op;
        matches!(
            op,
            Op::Conv { .. } | Op::Gemm { .. } | Op::Concat { axis: CHANNELS }
        )
    }

    fn joins_other_axis(&self) -> bool {
        let op = &self.stage.graph.node(self.id).op;
        matches!(op, Op::Concat { axis } if *axis != CHANNELS)
    }

    /// The channels of what the node reads, as far as they are whole blocks of its own; else by
    /// the shares, in whole blocks.
    fn inherited(&self, whole: &Region) -> Vec<Interval> {
        let graph = self.stage.graph;
        let length = whole.0[CHANNELS].end;
        let one = whole.with_axis(CHANNELS, Interval::new(0, 1));
        let block = computable(graph, self.id, &one).0[CHANNELS].end;
        let cut = graph.node(self.id).activations().find_map(|a| {
            let Some(Spread::Cut(cut)) = self.spread.get(&a) else {
                return None;
            };
            let read = cut.last()?.end;
            let scaled = |end: usize| {
                let end = end * length;
                let whole = end.is_multiple_of(read) && (end / read).is_multiple_of(block);
                whole.then_some(end / read)
            };
            let own = cut
                .iter()
                .map(|c| Some(Interval::new(scaled(c.start)?, scaled(c.end)?)));
            own.collect::<Option<Vec<_>>>()
        });
        cut.unwrap_or_else(|| cuts::blocks(length, block, self.shares))
    }

    /// By input channels.
    fn summed(&mut self, reduce: ReduceSpec) -> (Making, Spread) {
        let graph = self.stage.graph;
        let node = graph.node(self.id);
        let Some(input) = node.activations().next() else {
            return self.sliced();
        };
        let (whole, output) = (graph.whole(input), graph.whole(node.outputs[0]));
        let cut = match self.spread.get(&input) {
            Some(Spread::Cut(cut)) => cut.clone(),
            _ => shares_to_intervals(whole.0[CHANNELS].end, self.shares),
        };
        let ranked = |region: &Region, cut: &[Interval]| -> Vec<(Rank, Region)> {
            let ranks = self.stage.ranks.iter().zip(cut);
            let boxes = ranks.map(|(&rank, &along)| (rank, region.with_axis(CHANNELS, along)));
            boxes.filter(|(_, region)| !region.is_empty()).collect()
        };
        let members = ranked(&whole, &cut);
        if members.len() < 2 {
            return self.sliced();
        }
        let (reduction, left) = match reduce {
            ReduceSpec::Root => (Reduction::Root(self.stage.ranks[0]), Spread::Alone),
            ReduceSpec::Ring if members.len() == self.stage.ranks.len() => {
                (Reduction::Ring, Spread::Everywhere)
            }
            ReduceSpec::Ring | ReduceSpec::Scatter => {
                let cut = shares_to_intervals(output.0[CHANNELS].end, self.shares);
                (Reduction::Scatter(ranked(&output, &cut)), Spread::Cut(cut))
            }
        };
        (Making::Sum(Summing { members, reduction }), left)
    }
}
