//! Passes over loaded pieces: each once, one behind the other, as in a frame.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::constants::numbers;
use super::stopwatch::{lap, Lap};
use crate::engine::{Executable, Tensor};
use crate::graph::Dtype;

/// Passes of one level in one sweep, at most, behind one that does not count.
const PASSES: usize = 3;

/// A piece with its inputs and its times.
pub struct Loaded {
    /// Which unit it is of.
    pub unit: usize,
    /// Rows, channels or terms.
    pub amount: usize,
    /// The piece.
    pub piece: Box<dyn Executable>,
    /// What it reads.
    pub inputs: Vec<Tensor>,
    /// Its Runs so far.
    pub laps: Vec<Lap>,
}

/// A pass that does not count, `least` that do, and more until `end`. Where `least` is 0 and the
/// time is over after the first already, it counts for what took long.
///
/// # Errors
/// As `pass`.
pub fn passes(loaded: &mut [Loaded], least: usize, end: Instant) -> Result<()> {
    pass(loaded)?;
    let hurry = least == 0 && Instant::now() >= end;
    for one in &mut *loaded {
        one.laps.retain(|lap| hurry && lap.is_long());
    }
    for count in 0..PASSES {
        if count >= least.max(1) && Instant::now() >= end {
            break;
        }
        run(loaded
            .iter_mut()
            .filter(|one| !hurry || one.laps.is_empty()))?;
    }
    Ok(())
}

/// Runs each once.
///
/// # Errors
/// One line of the engine's.
pub fn pass(loaded: &mut [Loaded]) -> Result<()> {
    run(loaded.iter_mut())
}

fn run<'a>(loaded: impl Iterator<Item = &'a mut Loaded>) -> Result<()> {
    for one in loaded {
        one.inputs.iter_mut().for_each(write);
        let inputs: Vec<_> = one.inputs.drain(..).map(Arc::new).collect();
        let (lap, outputs) = lap(|| one.piece.run(&inputs));
        drop(outputs?);
        one.laps.push(lap);
        let back = inputs.into_iter().map(|input| {
            let shape = input.shape().to_vec();
            let dtype = input.dtype();
            Arc::try_unwrap(input).unwrap_or_else(|_| filled(dtype, &shape))
        });
        one.inputs = back.collect();
    }
    Ok(())
}

/// Writes to every cache line of a tensor: the last bit of a number.
pub fn write(tensor: &mut Tensor) {
    if tensor.dtype() == Dtype::F32 {
        for line in tensor.bytes_mut().chunks_mut(64) {
            line[0] ^= 1;
        }
    }
}

/// A tensor of numbers that are the same each time; of zeros, where it is not of floats.
pub fn filled(dtype: Dtype, shape: &[usize]) -> Tensor {
    let mut tensor = Tensor::zeros(dtype, shape);
    if dtype == Dtype::F32 {
        let count = shape.iter().product();
        let numbers = numbers(1, count);
        for (four, x) in tensor.bytes_mut().chunks_exact_mut(4).zip(numbers) {
            four.copy_from_slice(&x.to_le_bytes());
        }
    }
    tensor
}
