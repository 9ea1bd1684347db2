//! YAML text as a bounded tree; the one file that knows the YAML crate.
//!
//! A spec comes from a user or over a message, so nothing in it is trusted: the text, the depth
//! (128, the parser's own limit) and what aliases expand to are bounded before anything is built.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;

use super::read::read_spec;
use super::{Spec, SpecError};

pub use super::write::to_yaml;

/// Longest spec in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Most bytes that a document may be worth after its aliases are expanded; a value counts for at
/// least `VALUE_BYTES`.
const MAX_EXPANDED: usize = 8 << 20;
const VALUE_BYTES: usize = 8;

/// The deepest nesting of `[` and `{`; a spec needs seven. The scanner below the parser takes time
/// that grows with the square of the depth, so this is looked at first.
const MAX_DEPTH: usize = 64;

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
    read_tree(text)
        .and_then(|tree| read_spec(&tree).map_err(|e| (e.path, e.message)))
        .map_err(|(path, message)| SpecError {
            file: file.into(),
            path: one_line(&path, 200),
            message: one_line(&message, 500),
        })
}

/// A YAML document as plain data, in the document's order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
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

/// The tree of one document, or (path, message).
fn read_tree(text: &str) -> Result<Tree, (String, String)> {
    let whole = |message: String| (String::new(), message);
    if text.len() > MAX_BYTES {
        let bytes = text.len();
        return Err(whole(format!(
            "{bytes} bytes; a spec has at most {MAX_BYTES}"
        )));
    }
    if nesting(text) > MAX_DEPTH {
        return Err(whole(format!("brackets nest deeper than {MAX_DEPTH}")));
    }
    let left = Cell::new(MAX_EXPANDED);
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let tree = match documents.next() {
        Some(document) => Budget(&left).deserialize(document).map_err(|e| place(&e))?,
        None => Tree::Null,
    };
    match documents.next() {
        None => Ok(tree),
        Some(second) => {
            // What stands behind a complete value is more often a slip than a document.
            Budget(&left).deserialize(second).map_err(|e| place(&e))?;
            Err(whole("more than one document; a spec is one".into()))
        }
    }
}

/// (path, message) of an error of the parser.
fn place(error: &serde_yaml::Error) -> (String, String) {
    let text = error.to_string();
    match error.location() {
        Some(at) => {
            let place = format!("line {} column {}", at.line(), at.column());
            let message = text.replacen(&format!(" at {place}"), "", 1);
            (place, message)
        }
        None => (String::new(), text),
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
pub(super) fn one_line(message: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = message.chars().map(clean).take(limit).collect();
    if message.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}

/// Builds a tree while the bytes last.
#[derive(Clone, Copy)]
struct Budget<'a>(&'a Cell<usize>);

impl Budget<'_> {
    fn spend<E: Error>(self, text_bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(text_bytes + VALUE_BYTES);
        self.0
            .set(left.ok_or_else(|| E::custom("aliases expand to more than a spec can hold"))?);
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
        Err(A::Error::custom(
            "a tag (`!…`) stands here; a spec has none",
        ))
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
    pub(super) fn describe(&self) -> String {
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
