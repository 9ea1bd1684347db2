//! Bringing every rank the weights of its own pieces, and no others.
//!
//! Rank 0 reads slices from the model's file and sends them in chunks (`sender.rs`), each rank's
//! in the order in which it loads its pieces (`taker.rs`); both sides work the order out from the
//! plan. A slice travels once to a rank, whatever the number of its pieces that use it; a slice
//! inside of another one of the same rank travels as well. A rank holds a slice (and a few of the
//! next, while they arrive) until the engine has packed it for the last piece that uses it.
//!
//! Buffers of chunks are used again on both sides: new memory for each costs the kernel's work for
//! its pages (BENCHMARKS.md, "Starting a job").

mod sender;
mod taker;

pub use sender::Sender;
pub use taker::Taker;

use super::failure::Failure;
use super::frame::Program;
use super::idle::Idle;
use crate::comm::{Link, Mailbox};
use crate::geometry::{Interval, Region};
use crate::ids::{Rank, WeightId};
use crate::plan::loading;

/// Most bytes of one message; a row that is longer still travels in one.
const CHUNK: usize = 256 << 10;
/// Messages that are on their way to one rank, and that it waits for, at most.
const AHEAD: usize = 8;
const TAG: u32 = 100;
const WEIGHTS: u32 = 4;

/// A slice that a rank needs, for one piece or for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Of which weight.
    pub weight: WeightId,
    /// Which box of it.
    pub region: Region,
}

/// The slices of one rank, each once, in the order in which it loads them.
pub fn slices(program: &Program, rank: Rank) -> Vec<Slice> {
    let loading = loading(&program.graph, &program.plan, rank);
    let slices = loading.expect("check has accepted the plan").slices;
    let slice = |(weight, region)| Slice { weight, region };
    slices.into_iter().map(slice).collect()
}

/// A slice as messages: boxes that lie behind each other in the slice's own bytes.
fn chunks(region: &Region, item: usize) -> Vec<Region> {
    let Some(axis) = region.0.iter().position(|axis| axis.len() > 1) else {
        return vec![region.clone()];
    };
    let whole = region.0[axis];
    let row = region.volume() / whole.len() * item;
    let rows = (CHUNK / row.max(1)).max(1);
    let starts = (whole.start..whole.end).step_by(rows);
    let end = |start: usize| (start + rows).min(whole.end);
    starts
        .map(|start| region.with_axis(axis, Interval::new(start, end(start))))
        .collect()
}

/// The slices that are wanted.
fn only(slices: Vec<Slice>, wanted: &[bool]) -> impl Iterator<Item = Slice> + '_ {
    let marked = slices.into_iter().zip(wanted);
    marked.filter(|(_, &wanted)| wanted).map(|(slice, _)| slice)
}

/// Polls and idles until `done` says so.
///
/// # Errors
/// `Failure` of the link or of `done`.
pub fn until<L: Link>(
    mailbox: &mut Mailbox<L>,
    mut done: impl FnMut(&mut Mailbox<L>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut idle = Idle::new(false);
    loop {
        let events = mailbox.poll_all()?;
        if done(mailbox)? {
            return Ok(());
        }
        match events {
            0 => idle.wait(),
            _ => idle.reset(),
        }
    }
}

#[cfg(test)]
mod tests;
