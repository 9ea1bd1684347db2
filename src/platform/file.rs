//! The platform file: hosts and network as one YAML document.

use std::fmt;

use thiserror::Error;

use super::read::read_platform;
use super::{Host, Network};
use crate::document::{one_line, read_tree, Form};

use super::write::to_yaml;

/// Longest platform file in bytes: the tables of many hosts.
pub const MAX_BYTES: usize = 32 << 20;

const FORM: Form = Form {
    name: "platform file",
    bytes: MAX_BYTES,
    expanded: 256 << 20,
};

/// Machines as a file says them: measured, written by hand or generated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platform {
    /// `hosts:` at least one; their order is the order of the ranks' slots.
    pub hosts: Vec<Host>,
    /// `network:`.
    pub network: Network,
    /// `profiled:` free facts, in order: who measured, when, with which model.
    pub profiled: Vec<(String, String)>,
}

/// A platform file that cannot be used: one line with the place in the document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct PlatformError {
    /// The file as the user named it.
    pub file: String,
    /// Where in the document, e.g. `hosts[0].speed`; empty for the whole of it.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for PlatformError {
    /// `lab.yaml: hosts[0].slots: found 0, expected a whole number from 1 to 65536`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.file, self.message),
            path => write!(f, "{}: {path}: {}", self.file, self.message),
        }
    }
}

impl Platform {
    /// Reads a platform file; `file` is its name in messages.
    ///
    /// # Errors
    /// One line: `file: path in the document: what was found and what would be right`.
    ///
    /// ```
    /// use autodice::platform::Platform;
    /// let text = "{hosts: [{name: pi0, speed: {gmac_per_s: 8}}], network: {}}";
    /// let platform = Platform::parse("a.yaml", text).unwrap();
    /// assert_eq!(platform.hosts[0].speed.gmac_per_s, Some(8.0));
    /// let error = Platform::parse("a.yaml", "{hosts: [{nam: pi0}]}").unwrap_err();
    /// assert!(error.to_string().starts_with("a.yaml: hosts[0]: unknown key `nam`, did you mean"));
    /// ```
    pub fn parse(file: &str, text: &str) -> Result<Self, PlatformError> {
        read_tree(text, FORM)
            .and_then(|tree| read_platform(&tree))
            .map_err(|fault| PlatformError {
                file: file.into(),
                path: one_line(&fault.path, 200),
                message: one_line(&fault.message, 500),
            })
    }

    /// The platform as YAML text that reads back as the same platform.
    pub fn to_yaml(&self) -> String {
        to_yaml(self)
    }
}
