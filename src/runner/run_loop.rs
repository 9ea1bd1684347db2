//! Running a plan's frames on one rank: the compute thread beside the main thread.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use super::board::Board;
use super::compute::compute;
use super::drive::{Drive, Driven};
use super::failure::Failure;
use super::frame::Program;
use super::head::Head;
use super::trace::Trace;
use crate::comm::Link;
use crate::engine::Executable;

/// Runs every frame of the source through this rank's steps. Returns when rank 0 says that it
/// was the last one. `bind` is called first on the compute thread.
///
/// # Errors
/// `Failure` with the exit code; the link must then be aborted, not closed. A Run in progress is
/// not waited for.
pub fn run_loop(
    link: &mut dyn Link,
    program: &Arc<Program>,
    pieces: Vec<Box<dyn Executable>>,
    head: Option<Head>,
    (trace, interrupt): (&Arc<Trace>, &AtomicBool),
    bind: impl FnOnce() + Send + 'static,
) -> Result<Driven, Failure> {
    let board = Arc::new(Board::new());
    let worker = {
        let (board, program, trace) = (Arc::clone(&board), Arc::clone(program), Arc::clone(trace));
        std::thread::spawn(move || {
            bind();
            compute(&board, &program, pieces, &trace)
        })
    };
    let driven = Drive::new(link, program, (&board, trace), head, interrupt).run();
    board.stop();
    let driven = driven?;
    if driven.dropped == 0 {
        // Every frame is closed, so the thread is waiting for work and ends at once.
        let _pieces = worker.join();
    }
    Ok(driven)
}
