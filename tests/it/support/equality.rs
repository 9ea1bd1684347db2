//! Plans against the uncut model, bit for bit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use autodice::comm::threads::Options;
use autodice::engine::tract::{load_file, Tract};
use autodice::engine::{Engine, Executable, Tensor};
use autodice::graph::{Graph, SubModel, Value};
use autodice::ids::{PieceId, Rank};
use autodice::model::builder::ModelBuilder;
use autodice::model::cut::cut;
use autodice::model::read::{read, Source};
use autodice::plan::{check, Plan};

use super::harness::run_plan;

/// What a test does to a sub-model of a rank, by the piece's number.
pub type Change<'a> = dyn Fn(Rank, usize, &mut SubModel) + Sync + 'a;

/// A model file, its graph, and the uncut model as the oracle.
pub struct Fixture {
    pub graph: Graph,
    source: Source,
    path: PathBuf,
    /// Where the file is, if it is of our making.
    #[allow(dead_code)]
    folder: Option<tempfile::TempDir>,
}

impl Fixture {
    /// Writes the model and reads it as a user's file would be.
    pub fn new(model: &ModelBuilder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        model.write(&path).expect("the model is written");
        let folder = Some(folder);
        Self {
            folder,
            ..Self::of_file(&path)
        }
    }

    /// Reads a model file, which stays where it is.
    pub fn of_file(path: &Path) -> Self {
        let source = read(path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        Self {
            graph: source.graph.clone(),
            source,
            path: path.into(),
            folder: None,
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
        let mut whole = load_file(&self.path, &facts, 1).expect("tract loads the model");
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

    /// Integers in -max..=max for every input of so many frames.
    pub fn integers(&self, frames: u64, seed: u64, max: i32) -> Vec<Vec<Value>> {
        let inputs = &self.graph.inputs;
        let input = |number: u64, at: usize| {
            let shape = &self.graph.activation(inputs[at]).shape;
            random_integers(seed + number * 10 + at as u64, shape, max)
        };
        let frame = |number| (0..inputs.len()).map(|at| input(number, at)).collect();
        (0..frames).map(frame).collect()
    }

    /// One rank's sub-models, cut and loaded.
    pub fn pieces(&self, plan: &Plan, rank: Rank) -> Vec<Box<dyn Executable>> {
        self.changed_pieces(plan, rank, &|_, _, _| {})
    }

    fn changed_pieces(
        &self,
        plan: &Plan,
        rank: Rank,
        change: &Change<'_>,
    ) -> Vec<Box<dyn Executable>> {
        let engine = Tract::new(1).expect("an engine");
        let count = plan.ranks[rank.index()].pieces.len();
        let load = |index: usize| {
            let sub_model = cut(&self.graph, plan, rank, PieceId::new(index), &self.source);
            let mut sub_model = sub_model.expect("the piece is cut");
            change(rank, index, &mut sub_model);
            engine.load(sub_model).expect("the piece is loaded")
        };
        (0..count).map(load).collect()
    }

    /// Runs a plan over threads, with random delays and start orders where a seed is given.
    pub fn run(&self, plan: &Plan, frames: &[Vec<Value>], delays: Option<u64>) -> Vec<Vec<Value>> {
        self.run_changed(plan, frames, delays, &|_, _, _| {})
    }

    /// Likewise with sub-models that a test has its hands in.
    pub fn run_changed(
        &self,
        plan: &Plan,
        frames: &[Vec<Value>],
        delays: Option<u64>,
        change: &Change<'_>,
    ) -> Vec<Vec<Value>> {
        let options = Options {
            delay: delays.map(|seed| (seed, Duration::from_millis(3))),
            ..Options::default()
        };
        let start = |rank: Rank| {
            let salt = |seed: u64| seed.wrapping_mul(31).wrapping_add(u64::from(rank.0) * 17);
            delays.map_or(Duration::ZERO, |seed| {
                Duration::from_millis(salt(seed) % 13)
            })
        };
        let pieces = |rank| self.changed_pieces(plan, rank, change);
        let (outputs, ran) = run_plan(&self.graph, plan, options, frames, pieces, start);
        for (rank, ran) in ran.iter().enumerate() {
            assert!(ran.driven.is_ok(), "rank {rank}: {:?}", ran.driven);
        }
        outputs
    }

    /// Checks the plan, then runs it without and with random delays and start orders.
    pub fn assert_exact(&self, plan: &Plan, frames: &[Vec<Value>], seed: u32) {
        check(&self.graph, plan, None).expect("the plan is accepted");
        let expected = self.uncut(frames);
        let seed = u64::from(seed);
        for delays in [None, Some(seed), Some(seed + 100)] {
            let outputs = self.run(plan, frames, delays);
            assert!(outputs == expected, "outputs differ with delays {delays:?}");
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
