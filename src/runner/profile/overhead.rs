//! What a rank's engine takes for a Run of next to nothing, and for moving bytes.

use std::sync::Arc;

use anyhow::Result;

use super::little::one_node;
use super::pass::{filled, write};
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

/// A box that is copied out of an activation, as for messages, halos and nodes that hardly compute:
/// 32 channels of 112×112, of twice as many.
pub struct Copy {
    source: Tensor,
    region: Region,
}

impl Copy {
    /// The activation, with numbers in it.
    pub fn new() -> Self {
        let shape = [1, 64, 112, 112];
        Self {
            source: filled(Dtype::F32, &shape),
            region: Region::whole(&shape).with_axis(1, Interval::new(16, 48)),
        }
    }

    /// Bytes read and written in each lap: those of the box three times, as the buffer that it is
    /// copied into is zeroed before.
    pub fn bytes(&self) -> f64 {
        3.0 * (self.region.volume() * Dtype::F32.size()) as f64
    }

    /// One copy, as in a frame: its source just written, its buffer new but in memory that the heap
    /// has from the frame before, the caches full of what ran before. The same copy again and again
    /// would be three times as fast, one into pages that the process does not have yet three times
    /// as slow.
    pub fn lap(&mut self) -> Lap {
        let (source, region) = (&mut self.source, &self.region);
        drop(filled(Dtype::F32, &region.shape()));
        write(source);
        let whole = Region::whole(source.shape());
        let (lap, _) = lap(|| {
            let mut into = Tensor::zeros(Dtype::F32, &region.shape());
            let target = (into.bytes_mut(), region);
            copy_box((source.bytes(), &whole), target, region, Dtype::F32.size());
            into
        });
        lap
    }
}

struct NoWeights;

impl Weights for NoWeights {
    fn slice(&self, id: crate::ids::WeightId, _: &Region) -> Result<crate::graph::Value> {
        anyhow::bail!("a model of no weights was asked for weight {id}")
    }
}
