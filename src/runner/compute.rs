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
    let panic_at = test_panic(program);
    while let Some(mut frame) = board.take_work(program) {
        let sequence = frame.sequence;
        let worked = catch_unwind(AssertUnwindSafe(|| {
            assert!(panic_at != Some(sequence), "a test asked for a panic");
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

/// For tests of the whole program alone: `AUTODICE_TEST_PANIC=rank:sequence` makes that rank's
/// compute thread panic at that frame.
fn test_panic(program: &Program) -> Option<u64> {
    let wanted = std::env::var("AUTODICE_TEST_PANIC").ok()?;
    let (rank, sequence) = wanted.split_once(':')?;
    let own = rank.parse() == Ok(program.rank.index());
    own.then(|| sequence.parse().ok()).flatten()
}
