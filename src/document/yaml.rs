//! YAML text as a bounded tree; the one file that knows the YAML crate.
//!
//! A document comes from a user or over a message, so nothing in it is trusted: the text, the
//! depth (128, the parser's own limit) and what aliases expand to are bounded before anything is
//! built.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;

use super::Fault;

/// What a document is called in messages, and how much of it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// E.g. `spec`.
    pub name: &'static str,
    /// Longest text in bytes.
    pub bytes: usize,
    /// Most bytes that it may be worth after its aliases are expanded; a value counts for at
    /// least `VALUE_BYTES`.
    pub expanded: usize,
}

const VALUE_BYTES: usize = 8;

/// The deepest nesting of `[` and `{`; a spec needs seven. The scanner below the parser takes time
/// that grows with the square of the depth, so this is looked at first.
const MAX_DEPTH: usize = 64;

/// A YAML document as plain data, in the document's order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// Nothing, `~` or `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a point or an exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// `[…]`.
    List(Vec<Tree>),
    /// `{…}`, with keys as they stand: any value, perhaps twice.
    Map(Vec<(Tree, Tree)>),
}

/// The tree of one document.
///
/// # Errors
/// `Fault` with a line and a column for its path, where the text is no YAML or too much of it.
pub(crate) fn read_tree(text: &str, form: Form) -> Result<Tree, Fault> {
    let Form { name, bytes, .. } = form;
    let whole = |message: String| Fault {
        path: String::new(),
        message,
    };
    if text.len() > bytes {
        let found = text.len();
        return Err(whole(format!(
            "{found} bytes; a {name} has at most {bytes}"
        )));
    }
    if nesting(text) > MAX_DEPTH {
        return Err(whole(format!("brackets nest deeper than {MAX_DEPTH}")));
    }
    let left = Cell::new(form.expanded);
    let budget = Budget(&left, name);
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let tree = match documents.next() {
        Some(document) => budget.deserialize(document).map_err(|e| place(&e))?,
        None => Tree::Null,
    };
    match documents.next() {
        None => Ok(tree),
        Some(second) => {
            // What stands behind a complete value is more often a slip than a document.
            budget.deserialize(second).map_err(|e| place(&e))?;
            Err(whole(format!("more than one document; a {name} is one")))
        }
    }
}

/// Where and what of an error of the parser.
fn place(error: &serde_yaml::Error) -> Fault {
    let message = error.to_string();
    match error.location() {
        Some(at) => {
            let path = format!("line {} column {}", at.line(), at.column());
            let message = message.replacen(&format!(" at {path}"), "", 1);
            Fault { path, message }
        }
        None => Fault {
            path: String::new(),
            message,
        },
    }
}

/// The deepest nesting of brackets, those in text and comments included.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Control characters and length of a hostile name must not break the one line.
pub(crate) fn one_line(message: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = message.chars().map(clean).take(limit).collect();
    if message.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}

/// Builds a tree while the bytes last.
#[derive(Clone, Copy)]
struct Budget<'a>(&'a Cell<usize>, &'static str);

impl Budget<'_> {
    fn spend<E: Error>(self, text_bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(text_bytes + VALUE_BYTES);
        let name = self.1;
        let too_much = || E::custom(format!("aliases expand to more than a {name} can hold"));
        self.0.set(left.ok_or_else(too_much)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Budget<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Budget<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value without a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        self.spend(0).map(|()| Tree::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        self.visit_unit()
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Tree, A::Error> {
        let name = self.1;
        Err(A::Error::custom(format!(
            "a tag (`!…`) stands here; a {name} has none"
        )))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        self.spend(0).map(|()| Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        self.visit_i128(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        self.visit_i128(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Tree, E> {
        self.spend(0).map(|()| Tree::Int(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Tree, E> {
        // Only numbers that fit nowhere come here; as a float they still print as found.
        match i128::try_from(value) {
            Ok(value) => self.visit_i128(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        self.spend(0).map(|()| Tree::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        self.spend(value.len()).map(|()| Tree::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        self.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        self.spend(0)?;
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(self)? {
            map.push((key, entries.next_value_seed(self)?));
        }
        Ok(Tree::Map(map))
    }
}

impl Tree {
    /// What a message calls this value.
    pub(crate) fn describe(&self) -> String {
        match self {
            Tree::Null => "nothing".into(),
            Tree::Bool(value) => value.to_string(),
            Tree::Int(value) => value.to_string(),
            // A whole one with its point: 1.0 is no whole number.
            Tree::Float(value) => format!("{value:?}"),
            Tree::Text(text) if text.is_empty() => "empty text".into(),
            Tree::Text(text) if text.chars().count() > 60 => {
                format!("`{}…`", text.chars().take(60).collect::<String>())
            }
            Tree::Text(text) => format!("`{text}`"),
            Tree::List(_) => "a list".into(),
            Tree::Map(_) => "a mapping".into(),
        }
    }
}
