//! The compute thread of a rank: runs, copies and adds, one frame's work at a time.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use super::board::Board;
use super::failure::{panic_message, Failure, DEFECT};
use super::frame::Program;
use super::trace::Trace;
use crate::engine::Executable;

/// Works until the board is stopped, or until something fails, which the board is told.
pub fn compute(
    board: &Board,
    program: &Arc<Program>,
    mut pieces: Vec<Box<dyn Executable>>,
    trace: &Trace,
) -> Vec<Box<dyn Executable>> {
    while let Some(mut frame) = board.take_work(program) {
        let sequence = frame.sequence;
        let worked = catch_unwind(AssertUnwindSafe(|| {
            frame.work(program, &mut pieces, trace, |effect| {
                board.emit(sequence, effect)
            })
        }));
        match worked {
            Ok(Ok(_)) => board.put_back(program, frame),
            Ok(Err(failure)) => {
                board.fail(failure);
                break;
            }
            Err(payload) => {
                let line = format!("the compute thread panicked: {}", panic_message(&*payload));
                board.fail(Failure::new(DEFECT, line));
                break;
            }
        }
    }
    pieces
}
