//! Why a rank gives up, and the exit code that goes with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::comm::LinkError;
use crate::ids::Rank;

/// Exit code of a run that failed while running.
pub const FAILED: i32 = 1;
/// Exit code for a wrong spec, model, input or flag.
pub const WRONG_INPUT: i32 = 2;
/// Exit code of a run whose outputs differ from the reference.
pub const WRONG_OUTPUT: i32 = 3;
/// Exit code of a run that stopped early and can be resumed.
pub const INTERRUPTED: i32 = 75;
/// Exit code of a defect of this program.
pub const DEFECT: i32 = 101;

/// One rank's reason to end the job: an exit code and one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub code: i32,
    /// One line; the rank and host are put before it where it is printed.
    pub message: String,
    /// Whether another rank has said it already, so that this one prints nothing.
    pub silent: bool,
    /// The role of the rank that it happened to, where roles are known.
    pub rank: Option<Rank>,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            silent: false,
            rank: None,
        }
    }

    /// A failure while running.
    pub fn running(message: impl Into<String>) -> Self {
        Self::new(FAILED, message)
    }

    /// The user's spec, model, input or flags are wrong; the whole chain of causes on one line.
    pub fn input(error: &anyhow::Error) -> Self {
        Self::new(WRONG_INPUT, one_line(&format!("{error:#}")))
    }

    /// An engine or file failed while running.
    pub fn from_error(error: &anyhow::Error) -> Self {
        Self::running(one_line(&format!("{error:#}")))
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let silent = matches!(error, LinkError::Aborted { .. });
        Self {
            code: FAILED,
            message: error.to_string(),
            silent,
            rank: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A message without line breaks.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the last panic of this process was, for the line about it.
static PANICKED_AT: Mutex<Option<String>> = Mutex::new(None);

/// Keeps panics from printing pages: whoever catches one says it in one line.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|at| format!("{}:{}", at.file(), at.line()));
        *PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
}

/// What a panic said, and where it was if `quiet_panics` is on.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let place = PANICKED_AT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    one_line(&format!(
        "{}{place}",
        text.unwrap_or("a panic without a message")
    ))
}
