//! What a rank's engine takes for a Run of next to nothing, and for moving bytes.

use std::sync::Arc;

use anyhow::Result;

use super::little::one_node;
use super::stopwatch::{lap, Lap};
use super::unit::{whole, Sample};
use crate::engine::{Engine, Tensor};
use crate::geometry::{copy_box, Interval, Region};
use crate::graph::{Dtype, Op};
use crate::ids::NodeId;
use crate::model::cut::cut;
use crate::model::Weights;

/// Runs that are counted.
const RUNS: usize = 100;

/// Runs of a piece that makes one element of one.
///
/// # Errors
/// One line of the engine's.
pub fn empty_run(engine: &dyn Engine, opset: i64) -> Result<Vec<Lap>> {
    let graph = one_node(opset, ("Relu", Op::Elementwise), &[1, 1, 1, 1], None);
    let sample = whole(&graph, &[NodeId(0)])?;
    let sub_model = cut(
        &graph,
        &sample.plan,
        Sample::RANK,
        Sample::PIECE,
        &NoWeights,
    )?;
    let mut piece = engine.load(sub_model)?;
    let input = [Arc::new(Tensor::zeros(Dtype::F32, &[1, 1, 1, 1]))];
    let mut laps = Vec::with_capacity(RUNS);
    for index in 0..RUNS + 10 {
        let (lap, done) = lap(|| piece.run(&input));
        done?;
        if index >= 10 {
            laps.push(lap);
        }
    }
    Ok(laps)
}

/// Bytes read and written where boxes are copied, as for messages and for nodes that hardly
/// compute, and laps of doing so: 32 channels of 112×112, of twice as many.
pub fn copy() -> (f64, Vec<Lap>) {
    let source = Region::whole(&[1, 64, 112, 112]);
    let region = source.with_axis(1, Interval::new(16, 48));
    let from: Vec<u8> = (0..source.volume() * 4).map(|at| at as u8).collect();
    let mut into = vec![0u8; region.volume() * 4];
    let mut copy = || copy_box((&from, &source), (&mut into, &region), &region, 4);
    copy();
    let laps = (0..20).map(|_| lap(&mut copy).0).collect();
    (2.0 * (region.volume() * 4) as f64, laps)
}

struct NoWeights;

impl Weights for NoWeights {
    fn slice(&self, id: crate::ids::WeightId, _: &Region) -> Result<crate::graph::Value> {
        anyhow::bail!("a model of no weights was asked for weight {id}")
    }
}
