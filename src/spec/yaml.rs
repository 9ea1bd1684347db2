//! A spec's YAML text: read within bounds, and written.

use super::read::read_spec;
use super::{Spec, SpecError};
use crate::document::{one_line, read_tree, Form};

pub use super::write::to_yaml;

/// Longest spec in bytes.
pub const MAX_BYTES: usize = 1 << 20;

const FORM: Form = Form {
    name: "spec",
    bytes: MAX_BYTES,
    expanded: 8 << 20,
};

/// Reads a spec; `file` is its name in messages.
///
/// # Errors
/// One line: `file: path in the document: what was found and what would be right`.
///
/// ```
/// use autodice::spec::yaml::parse;
/// let spec = parse("a.yaml", "{model: m.onnx, stages: [{until: x, ranks: [0]}, {ranks: [1]}]}");
/// assert_eq!(spec.unwrap().rank_count(), 2);
/// let error = parse("a.yaml", "{model: m.onnx, stages: [{rank: [0]}]}").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "a.yaml: stages[0]: unknown key `rank`, did you mean `ranks`? Keys here: until, nodes, \
///      ranks, split"
/// );
/// ```
pub fn parse(file: &str, text: &str) -> Result<Spec, SpecError> {
    read_tree(text, FORM)
        .and_then(|tree| read_spec(&tree))
        .map_err(|fault| SpecError {
            file: file.into(),
            path: one_line(&fault.path, 200),
            message: one_line(&fault.message, 500),
        })
}
