//! Running a plan over ranks as threads.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::Arc;
use std::time::Duration;

use autodice::comm::threads::{self, Options};
use autodice::comm::Link;
use autodice::engine::{Executable, Tensor};
use autodice::graph::{Graph, Value};
use autodice::ids::{ActivationId, Rank};
use autodice::plan::Plan;
use autodice::runner::{
    run_loop, Delivered, Driven, Failure, Fed, Head, Interval, Program, Pulse, Trace,
};

/// One frame's inputs, in the graph's order.
pub type FrameInputs = Vec<Value>;

/// What one rank came back with.
pub struct Ran {
    /// Its loop's account.
    pub driven: Result<Driven, Failure>,
    /// What it did when.
    pub trace: Vec<Interval>,
}

/// Runs `frames` through a plan over threads; returns the outputs of every frame in the order of
/// delivery, and every rank's account. `start_delay(rank)` is slept before a rank starts.
pub fn run_plan(
    graph: &Graph,
    plan: &Plan,
    options: Options,
    frames: &[FrameInputs],
    pieces: impl Fn(Rank) -> Vec<Box<dyn Executable>> + Sync,
    start_delay: impl Fn(Rank) -> Duration + Sync,
) -> (Vec<Vec<Value>>, Vec<Ran>) {
    let (to_test, outputs) = channel();
    let interrupt = AtomicBool::new(false);
    let ran = threads::run(plan.ranks.len(), options, |mut link| {
        let rank = link.rank();
        std::thread::sleep(start_delay(rank));
        let program = Arc::new(Program {
            graph: graph.clone(),
            plan: plan.clone(),
            rank,
        });
        let head = (rank == Rank(0)).then(|| head(graph, plan, frames, to_test.clone()));
        let trace = Arc::new(Trace::new(true));
        let mut pulse = Pulse::new(&mut link, Duration::from_secs(20));
        let driven = run_loop(
            &mut pulse,
            &program,
            pieces(rank),
            head,
            (&trace, &interrupt),
            || {},
        );
        match &driven {
            Ok(_) => link.close(),
            Err(failure) => link.abort(failure.code),
        }
        Ran {
            driven,
            trace: trace.take(),
        }
    });
    drop(to_test);
    let delivered: Vec<Delivered> = outputs.into_iter().collect();
    let numbers: Vec<_> = delivered.iter().filter_map(|frame| frame.number).collect();
    assert!(
        numbers.windows(2).all(|w| w[0] < w[1]),
        "frames come out in order: {numbers:?}"
    );
    let values = |frame: Delivered| frame.outputs.iter().map(|t| t.to_value()).collect();
    (delivered.into_iter().map(values).collect(), ran)
}

fn head(
    graph: &Graph,
    plan: &Plan,
    frames: &[FrameInputs],
    to_test: std::sync::mpsc::Sender<Delivered>,
) -> Head {
    let (feed, fed) = sync_channel(frames.len().max(1));
    for (number, inputs) in frames.iter().enumerate() {
        let tensors = inputs
            .iter()
            .map(|value| Arc::new(Tensor::from_value(value)));
        let inputs: BTreeMap<ActivationId, _> = graph.inputs.iter().copied().zip(tensors).collect();
        feed.send(Fed {
            number: Some(number as u64),
            inputs,
        })
        .expect("the channel holds all");
    }
    let (sink, delivered) = sync_channel(2);
    std::thread::spawn(move || delivered.into_iter().for_each(|d| drop(to_test.send(d))));
    Head::new(fed, sink, graph.outputs.clone(), plan.window)
}
