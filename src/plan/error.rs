//! A spec that no plan can be made from.

use thiserror::Error;

/// One line with the place in the spec's document; the caller puts the file's name before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct PlanError {
    /// Where in the document, e.g. `stages[1].nodes[3]`.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

impl PlanError {
    /// What is wrong at a place of the document.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}
