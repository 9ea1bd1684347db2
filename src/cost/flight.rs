//! Bytes of the parts of all frames in flight on each rank.
//!
//! One of them is at its largest sometime, and the others wait meanwhile with what they have. How
//! many do, a single replay does not know: of two ranks that share a layer, the one that is a
//! little faster begins frame after frame while the other one is at the first, and which one it is
//! changes with the noise of a profile and with the core's clock. So what counts is what waits
//! either way; and as somebody is late sometime, a share of one more frame's.

use super::links::Links;
use super::live::Live;
use super::program::{Op, Programs};
use super::replay::replay;
use super::{Asked, CostError};
use crate::plan::Plan;

/// By how much a profile may have one rank too fast against the next one.
const UNSURE: f64 = 0.1;
/// Of what a frame leaves waiting at most, one part in so many is there besides.
const LATE: u64 = 4;

/// The bytes of each rank; `lives` are those of its turns, `asked` says how many frames come.
pub(super) fn flight_bytes(
    plan: &Plan,
    (programs, lives): (&Programs, &[Vec<Live>]),
    links: &mut Links,
    asked: Asked,
) -> Result<Vec<u64>, CostError> {
    let largest = lives.iter().map(|turns| {
        let most = turns.iter().map(|live| live.most).max();
        most.unwrap_or(0)
    });
    let window = u64::from(plan.window);
    let frames = asked.frames.saturating_add(asked.warmup);
    if window.min(frames) < 2 {
        return Ok(largest.collect());
    }
    // What is kept from frame to frame is there when the first ones have begun.
    let first = Asked {
        frames: frames.min(2 * window),
        warmup: 0,
        intervals: false,
    };
    let mut waiting = vec![u64::MAX; lives.len()];
    for unsure in [UNSURE, -UNSURE] {
        let replayed = replay(plan, (&tilted(programs, unsure), lives), links, first)?;
        for (least, times) in waiting.iter_mut().zip(&replayed.ranks) {
            *least = times.waiting.mean().min(*least);
        }
    }
    let bytes = largest.zip(lives).zip(waiting);
    let bytes = bytes.map(|((own, turns), waits)| {
        let left = turns.iter().flat_map(|live| &live.rest).max();
        let more = left.map_or(0, |&left| left.saturating_sub(waits));
        own.saturating_add(waits).saturating_add(more / LATE)
    });
    Ok(bytes.collect())
}

/// The same with every other rank so much slower, and those between them so much faster.
fn tilted(programs: &Programs, by: f64) -> Programs {
    let mut tilted = programs.clone();
    for (rank, turns) in tilted.ops.iter_mut().enumerate() {
        let times = if rank % 2 == 0 { 1.0 + by } else { 1.0 - by };
        for op in turns.iter_mut().flatten() {
            match op {
                Op::Run(_, us) | Op::Copy(us) => *us *= times,
                Op::Receive(_, us) | Op::Send(_, us) => *us = us.map(|us| us * times),
                Op::Output => {}
            }
        }
    }
    tilted
}
