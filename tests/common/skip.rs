//! Saying that a test did nothing, where it cannot be overlooked.

use std::io::Write;

/// One line, past the test runner's capture, which `.ci/run` counts: who skips, and why.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}
