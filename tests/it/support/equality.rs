//! Plans against the uncut model, bit for bit.

use std::time::Duration;

use autodice::comm::threads::Options;
use autodice::engine::tract::{load_file, Tract};
use autodice::engine::{Engine, Executable, Tensor};
use autodice::graph::{Graph, Value};
use autodice::ids::{PieceId, Rank};
use autodice::model::builder::ModelBuilder;
use autodice::model::cut::cut;
use autodice::model::read::{read, Source};
use autodice::plan::{check, Plan};

use super::harness::run_plan;

/// A model file, its graph, and the uncut model as the oracle.
pub struct Fixture {
    pub graph: Graph,
    source: Source,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// Writes the model and reads it as a user's file would be.
    pub fn new(model: &ModelBuilder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        model.write(&path).expect("the model is written");
        let source = read(&path, &[]).expect("the model is read");
        Self {
            graph: source.graph.clone(),
            source,
            folder,
        }
    }

    /// The model's weights.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The uncut model's outputs for every frame.
    pub fn uncut(&self, frames: &[Vec<Value>]) -> Vec<Vec<Value>> {
        let facts: Vec<_> = self
            .graph
            .inputs
            .iter()
            .map(|&id| self.graph.activation(id))
            .map(|input| (input.name.clone(), input.dtype, input.shape.clone()))
            .collect();
        let path = self.folder.path().join("model.onnx");
        let mut whole = load_file(&path, &facts, 1).expect("tract loads the model");
        let mut run = |frame: &Vec<Value>| -> Vec<Value> {
            let inputs: Vec<_> = frame
                .iter()
                .map(|value| Tensor::from_value(value).into())
                .collect();
            let outputs = whole.run(&inputs).expect("the uncut model runs");
            outputs.iter().map(Tensor::to_value).collect()
        };
        frames.iter().map(&mut run).collect()
    }

    /// One rank's sub-models, cut and loaded.
    pub fn pieces(&self, plan: &Plan, rank: Rank) -> Vec<Box<dyn Executable>> {
        let engine = Tract::new(1).expect("an engine");
        let count = plan.ranks[rank.index()].pieces.len();
        let load = |index: usize| {
            let sub_model = cut(&self.graph, plan, rank, PieceId::new(index), &self.source);
            engine
                .load(sub_model.expect("the piece is cut"))
                .expect("the piece is loaded")
        };
        (0..count).map(load).collect()
    }

    /// Checks the plan, then runs it without and with random delays and start orders.
    pub fn assert_exact(&self, plan: &Plan, frames: &[Vec<Value>], seed: u32) {
        check(&self.graph, plan, None).expect("the plan is accepted");
        let expected = self.uncut(frames);
        let seed = u64::from(seed);
        let longest = Duration::from_millis(3);
        for delay in [None, Some((seed, longest)), Some((seed + 100, longest))] {
            let options = Options {
                delay,
                ..Options::default()
            };
            let start = |rank: Rank| {
                let salt = seed.wrapping_mul(31).wrapping_add(u64::from(rank.0) * 17);
                delay.map_or(Duration::ZERO, |_| Duration::from_millis(salt % 13))
            };
            let pieces = |rank| self.pieces(plan, rank);
            let (outputs, ran) = run_plan(&self.graph, plan, options, frames, pieces, start);
            for (rank, ran) in ran.iter().enumerate() {
                assert!(ran.driven.is_ok(), "rank {rank}: {:?}", ran.driven);
            }
            assert!(outputs == expected, "outputs differ with delay {delay:?}");
        }
    }
}

/// Integers in -max..=max as floats, a pure function of the seed.
pub fn random_integers(seed: u64, shape: &[usize], max: i32) -> Value {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as i32 % (2 * max + 1) - max
    };
    let elements: Vec<_> = (0..shape.iter().product::<usize>())
        .map(|_| next() as f32)
        .collect();
    Value::from_f32(shape, &elements)
}
