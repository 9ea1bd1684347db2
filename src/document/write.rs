//! Values as YAML text: lines, and lists, mappings and scalars within a line.

use std::fmt::Write;

/// Adds a line, indented by two spaces a level.
pub(crate) fn line(text: &mut String, indent: usize, content: &str) {
    let spaces = 2 * indent;
    writeln!(text, "{:spaces$}{content}", "").expect("text takes any line");
}

pub(crate) fn map(entries: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

/// An entry of a mapping in braces whose key is a name. The parser looks for the `:` in no more
/// than 1024 characters, where the key is not marked as one.
pub(crate) fn entry(name: &str, value: &str) -> String {
    let key = scalar(name);
    if key.len() > 1000 {
        format!("? {key} : {value}")
    } else {
        format!("{key}: {value}")
    }
}

pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

pub(crate) fn numbers<N: ToString>(items: &[N]) -> String {
    list(items.iter().map(N::to_string))
}

pub(crate) fn names(items: &[String]) -> String {
    list(items.iter().map(|name| scalar(name)))
}

/// Text as YAML: plain where nothing else can be read into it, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let inner = |c: char| c.is_ascii_alphanumeric() || "_/.-".contains(c);
    // A letter first: no number, no indicator; `..` starts most paths.
    let first =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || text.starts_with("../");
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if first && !word && text.chars().all(inner) {
        return text.into();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            _ => {
                write!(quoted, "\\U{:08x}", u32::from(c)).expect("text takes any character");
            }
        }
    }
    quoted.push('"');
    quoted
}
