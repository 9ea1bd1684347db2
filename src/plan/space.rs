//! `by: rows` and `by: grid`: every rank computes a box of rows, or of rows and columns, of every
//! activation (CoEdge, HALP), or of every block's end (DeepThings, AOFL, DPFP).

use std::collections::{BTreeMap, BTreeSet};

use super::blocks::make;
use super::layout::{Making, StageView};
use super::{cuts, zone, PlanError};
use crate::geometry::{shares_to_intervals, Interval, Region};
use crate::graph::{cuttable, input_needs, Graph, Op};
use crate::ids::{ActivationId, NodeId};
use crate::spec::{GridSpec, RowsSpec};

/// The axis of rows.
pub const ROWS: usize = 2;
const COLUMNS: usize = 3;

/// Who makes what of a stage that is cut by rows, node by node.
///
/// # Errors
/// `PlanError`: the place in the spec and what would be right.
pub fn rows(stage: &StageView<'_>, spec: &RowsSpec) -> Result<Vec<Making>, PlanError> {
    let path = format!("{}.split.shares", stage.path);
    let shares = cuts::shares_or_equal(&spec.shares, stage.ranks.len(), &path)?;
    let kinds = Kinds::of(stage, &[ROWS]);
    let explicit = cuts::explicit(stage, &spec.cuts, |id| kinds.is_cut(stage, id))?;
    let own = match &spec.zone {
        Some(asked) => zone::rows(stage, &kinds, asked, &shares, &spec.exchange.at)?,
        None => own_rows(stage, &kinds, &shares, &explicit),
    };
    let by_shares = |id| {
        let whole = stage.graph.whole(id);
        let rows = shares_to_intervals(whole.0[ROWS].end, &shares).into_iter();
        rows.map(|rows| whole.with_axis(ROWS, rows)).collect()
    };
    make(stage, &kinds, &own, &by_shares, &spec.exchange)
}

/// Who makes what of a stage that is cut by rows and columns, node by node.
///
/// # Errors
/// `PlanError`: the place in the spec and what would be right.
pub fn grid(stage: &StageView<'_>, spec: &GridSpec) -> Result<Vec<Making>, PlanError> {
    let (rows, columns) = spec.grid;
    if rows.checked_mul(columns) != Some(stage.ranks.len()) {
        let message = format!(
            "a grid of {rows}x{columns} needs as many ranks, found {}",
            stage.ranks.len()
        );
        return Err(PlanError::new(
            format!("{}.split.grid", stage.path),
            message,
        ));
    }
    let shares = |key: &str, asked: &[u64], count| {
        cuts::shares_or_equal(asked, count, &format!("{}.split.{key}", stage.path))
    };
    let rows = shares("rows", &spec.rows, rows)?;
    let columns = shares("columns", &spec.columns, columns)?;
    let kinds = Kinds::of(stage, &[ROWS, COLUMNS]);
    let boxes = |id| {
        let whole = stage.graph.whole(id);
        let across = shares_to_intervals(whole.0[COLUMNS].end, &columns);
        let down = shares_to_intervals(whole.0[ROWS].end, &rows).into_iter();
        let cell = |(y, x)| whole.with_axis(ROWS, y).with_axis(COLUMNS, x);
        let cells = down.flat_map(|y| across.iter().map(move |&x| (y, x)));
        cells.map(cell).collect::<Vec<_>>()
    };
    let own_boxes = |&id: &NodeId| match kinds.is_cut(stage, id) {
        true => boxes(stage.graph.node(id).outputs[0]),
        false => vec![],
    };
    let own: Boxes = stage.nodes.iter().map(own_boxes).collect();
    make(stage, &kinds, &own, &boxes, &spec.exchange)
}

/// How each node of a stage takes part in the split.
pub struct Kinds(Vec<Kind>);

/// How one node takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every rank computes a box.
    Cut,
    /// Every rank adds up a box of its input; the stage's first rank gets the sum.
    Sum,
    /// The stage's first rank computes it whole.
    Alone,
}

impl Kinds {
    /// A node is cut where it can be and reads something that is; a sum over space is shared;
    /// what is left runs on the first rank, and so does everything that reads nothing else.
    fn of(stage: &StageView<'_>, axes: &[usize]) -> Self {
        let graph = stage.graph;
        let mut whole: BTreeSet<ActivationId> = BTreeSet::new();
        let mut kinds = Vec::with_capacity(stage.nodes.len());
        for &id in &stage.nodes {
            let node = graph.node(id);
            let long = |a: ActivationId| {
                let shape = &graph.activation(a).shape;
                axes.iter()
                    .all(|&axis| shape.get(axis).is_some_and(|&length| length > 1))
            };
            let reads_cut = node.activations().any(|a| !whole.contains(&a) && long(a));
            let kind = match &node.op {
                _ if reads_cut && axes.iter().all(|&axis| cuttable(graph, id, axis)) => Kind::Cut,
                Op::GlobalSum if reads_cut && stage.ranks.len() > 1 => Kind::Sum,
                _ => Kind::Alone,
            };
            if kind != Kind::Cut {
                whole.extend(&node.outputs);
            }
            kinds.push(kind);
        }
        Self(kinds)
    }

    /// The kind of a node; none of one that is not of this stage.
    pub fn kind(&self, stage: &StageView<'_>, id: NodeId) -> Option<Kind> {
        let index = stage.nodes.binary_search(&id).ok()?;
        Some(self.0[index])
    }

    /// Whether a node is of this stage and every rank computes a box of it.
    pub fn is_cut(&self, stage: &StageView<'_>, id: NodeId) -> bool {
        self.kind(stage, id) == Some(Kind::Cut)
    }
}

/// For every node that is cut the box of each rank; nothing for the others.
pub type Boxes = Vec<Vec<Region>>;

/// The rows of each rank: as `cuts` says, else as the shares do. A node that needs just the rows
/// that it makes takes over the explicit rows of what it reads, so that none travel for it.
fn own_rows(
    stage: &StageView<'_>,
    kinds: &Kinds,
    shares: &[u64],
    explicit: &BTreeMap<NodeId, Vec<Interval>>,
) -> Boxes {
    let mut given = explicit.clone();
    let mut own = Vec::with_capacity(stage.nodes.len());
    for &id in &stage.nodes {
        let whole = stage.graph.whole(stage.graph.node(id).outputs[0]);
        if !kinds.is_cut(stage, id) {
            own.push(vec![]);
            continue;
        }
        if !given.contains_key(&id) && keeps_rows(stage.graph, id) {
            let producers = stage.graph.node(id).activations();
            let mut before = producers.filter_map(|a| stage.producer(a));
            if let Some(rows) = before.find_map(|node| given.get(&node)).cloned() {
                given.insert(id, rows);
            }
        }
        let rows = match given.get(&id) {
            Some(rows) => rows.clone(),
            None => shares_to_intervals(whole.0[ROWS].end, shares),
        };
        own.push(
            rows.into_iter()
                .map(|rows| whole.with_axis(ROWS, rows))
                .collect(),
        );
    }
    own
}

/// Whether each row of the output needs just the same row of everything that is cut and read.
pub fn keeps_rows(graph: &Graph, id: NodeId) -> bool {
    let whole = graph.whole(graph.node(id).outputs[0]);
    let length = whole.0[ROWS].end;
    (0..length).all(|row| {
        let row = Interval::new(row, row + 1);
        let needs = input_needs(graph, id, &whole.with_axis(ROWS, row));
        needs.into_iter().all(|(_, activation, need)| {
            match graph.activation(activation).shape.get(ROWS) {
                // Broadcast along the rows.
                None | Some(1) => true,
                rows => rows == Some(&length) && need.0[ROWS] == row,
            }
        })
    })
}
