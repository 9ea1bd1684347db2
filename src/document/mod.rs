//! Documents that people write: bounded trees of YAML, typed access with good errors, and text.

mod at;
mod nearest;
mod yaml;

pub(crate) mod write;

pub(crate) use at::{whole, At, Fault, Fields};
pub(crate) use nearest::nearest;
pub(crate) use yaml::{one_line, read_tree, Form, Tree};
