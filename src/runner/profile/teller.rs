//! Progress for people: a line now and then.

use std::time::{Duration, Instant};

/// Says how far it is, now and then.
pub struct Teller {
    quiet: bool,
    said: Instant,
}

impl Teller {
    /// Between two lines.
    const EVERY: Duration = Duration::from_secs(10);

    /// A teller that has just said something, or never does.
    pub fn new(quiet: bool) -> Self {
        let said = Instant::now();
        Self { quiet, said }
    }

    /// Says this, where the last line is long enough ago.
    pub fn say(&mut self, line: &str) {
        if !self.quiet && self.said.elapsed() >= Self::EVERY {
            self.said = Instant::now();
            eprintln!("autodice-run: profile: {line}");
        }
    }
}
