//! The tract engine.

mod kernels;
mod load;
mod share;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, Result};
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::{IntoArcTensor, IntoTValue, TValue, TVec, TypedSimplePlan};
use tract_onnx::tract_core::internal::TypedSimpleState;

use super::{Engine, Executable, Tensor};
use crate::graph::{Dtype, SubModel};

/// Runs sub-models by tract on a fixed number of threads. Sub-models over the same weights hold
/// one copy of them, packed once.
pub struct Tract {
    threads: usize,
    executor: Executor,
    common: load::Common,
}

impl Tract {
    /// An engine of `threads` compute threads: with one, sub-models run on the thread that calls
    /// `Executable::run`; with more, on a pool that all sub-models of this engine share. The
    /// pool's threads inherit the core set of the thread that calls `new`.
    ///
    /// # Errors
    /// Where the threads cannot be had.
    pub fn new(threads: usize) -> Result<Self> {
        let executor = executor(threads)?;
        Ok(Self {
            threads,
            executor,
            common: load::Common::default(),
        })
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of the constants (weights as packed, biases, what is inside of the models) that the
    /// sub-models loaded by this engine hold, each once.
    pub fn held_bytes(&self) -> usize {
        self.common.constants.bytes()
    }
}

impl Engine for Tract {
    fn load(&self, sub_model: SubModel) -> Result<Box<dyn Executable>> {
        let name = sub_model.name.clone();
        let executor = self.executor.clone();
        Ok(Box::new(guarded(&name, || {
            Loaded::new(
                name.clone(),
                load::sub_model(sub_model, executor, &self.common)?,
            )
        })?))
    }
}

/// Loads a whole model as its file is, without a graph of ours in between: the reference that cut
/// models are compared with. Inputs come in the order of `input_shapes` (name, type, lengths),
/// which fix what the file leaves open; outputs in the file's order.
///
/// # Errors
/// One line that names the file, where tract cannot read or run it.
pub fn load_file(
    path: &Path,
    input_shapes: &[(String, Dtype, Vec<usize>)],
    threads: usize,
) -> Result<Box<dyn Executable>> {
    let name = path.display().to_string();
    let executor = executor(threads)?;
    Ok(Box::new(guarded(&name, || {
        Loaded::new(name.clone(), load::file(path, input_shapes, executor)?)
    })?))
}

fn executor(threads: usize) -> Result<Executor> {
    match threads {
        0 => Err(anyhow!("threads: found 0, at least 1 is needed")),
        1 => Ok(Executor::SingleThread),
        // Building the pool panics where the system gives no more threads.
        _ => catch_unwind(|| Executor::multithread_with_name(threads, "compute"))
            .map_err(|_| anyhow!("threads: {threads} compute threads cannot be started")),
    }
}

/// A sub-model with the state that it runs in, made once.
struct Loaded {
    name: String,
    plan: Arc<TypedSimplePlan>,
    state: TypedSimpleState,
}

impl Loaded {
    fn new(name: String, plan: Arc<TypedSimplePlan>) -> Result<Self> {
        let state = plan.spawn()?;
        Ok(Self { name, plan, state })
    }

    fn try_run(&mut self, inputs: &[Arc<Tensor>]) -> Result<Vec<Tensor>> {
        let inputs: TVec<_> = inputs
            .iter()
            .map(|input| input.share().into_tvalue())
            .collect();
        let outputs = self.state.run(inputs)?;
        let take = |(index, value): (usize, TValue)| {
            let tensor = value.into_arc_tensor();
            let found = tensor.datum_type();
            Tensor::from_tract(tensor).ok_or_else(|| anyhow!("output {index}: type {found:?}"))
        };
        outputs.into_iter().enumerate().map(take).collect()
    }
}

impl Executable for Loaded {
    fn run(&mut self, inputs: &[Arc<Tensor>]) -> Result<Vec<Tensor>> {
        let name = self.name.clone();
        let outcome = guarded(&name, || self.try_run(inputs));
        if outcome.is_err() {
            // What a failed run left behind would keep inputs alive, or meet the next frame.
            self.state = guarded(&name, || self.plan.spawn())?;
        }
        outcome
    }
}

/// Runs `work`; an error or a panic inside becomes one line that starts with `name`.
fn guarded<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(anyhow!("{name}: {}", one_line(&format!("{error:#}")))),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(anyhow!("{name}: tract panicked: {}", one_line(text)))
        }
    }
}

/// `text` on one line of at most 400 characters: tract prints whole facts and nodes.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
