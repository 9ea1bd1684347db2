//! Names of nodes in a document, each of them once.

use std::collections::HashMap;

use crate::document::{At, Fault};

/// The names that stand somewhere already, each with its place in the document.
#[derive(Default)]
pub(super) struct Taken<'a>(HashMap<&'a str, String>);

impl<'a> Taken<'a> {
    /// The name of a node, which is taken from here on.
    pub fn node(&mut self, at: &At<'a>) -> Result<String, Fault> {
        let name = at.text("the name of a node")?;
        match self.0.insert(name, at.path.clone()) {
            Some(first) => Err(at.fault(format!("node `{name}` is already taken by {first}"))),
            None => Ok(name.into()),
        }
    }

    /// A list of them, one or more.
    pub fn nodes(&mut self, at: &At<'a>, wanted: &str) -> Result<Vec<String>, Fault> {
        let items = at.list(wanted)?;
        if items.is_empty() {
            return Err(at.fault(format!("no node, expected {wanted}")));
        }
        items.iter().map(|item| self.node(item)).collect()
    }
}
