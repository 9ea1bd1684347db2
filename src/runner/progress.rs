//! Progress for people: a bar on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where stderr is no terminal, as under every launcher.
const EVERY: Duration = Duration::from_secs(10);

/// What shows how far a run is.
pub enum Progress {
    /// Nothing.
    Quiet,
    /// A bar.
    Bar(ProgressBar),
    /// Lines on stderr.
    Lines {
        /// Frames in all, where known.
        total: Option<u64>,
        /// When the run started.
        started: Instant,
        /// When the last line was printed.
        said: Instant,
    },
}

impl Progress {
    /// Progress over `total` frames.
    pub fn start(total: Option<u64>, quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if std::io::stderr().is_terminal() {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} frames  {per_sec}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            return Self::Bar(bar);
        }
        Self::Lines {
            total,
            started: Instant::now(),
            said: Instant::now(),
        }
    }

    /// So many frames are done.
    pub fn step(&mut self, done: usize) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => bar.set_position(done as u64),
            Self::Lines {
                total,
                started,
                said,
            } if said.elapsed() >= EVERY => {
                *said = Instant::now();
                let rate = done as f64 / started.elapsed().as_secs_f64();
                let of = total
                    .map(|total| format!(" of {total}"))
                    .unwrap_or_default();
                eprintln!("autodice-run: {done}{of} frames, {rate:.2} frames/s");
            }
            Self::Lines { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
