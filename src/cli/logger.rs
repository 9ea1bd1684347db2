//! Log lines on stderr, with the rank in front where there is one.

use std::io::Write;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

static NAME: OnceLock<String> = OnceLock::new();

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries below say too much at every level but this one.
        metadata.target().starts_with("autodice") || metadata.level() <= Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Warn => "warning: ",
            Level::Error => "error: ",
            _ => "",
        };
        let name = NAME
            .get()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        // One write for a line: the lines of many ranks share one stderr.
        let line = format!("{name}{level}{}\n", record.args());
        let _unread = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Starts logging at a level: warnings, and with `verbose` more.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}

/// From here on lines begin with this name, e.g. `rank 2@pi3`. The first name stays.
pub fn name(name: String) {
    // A second name would be a second rank in this process, which only tests have.
    let _first_stays = NAME.set(name);
}
