//! A value of the document together with its path: every typed access is a good error or a value.

use std::collections::HashSet;
use std::path::PathBuf;

use super::nearest::nearest;
use super::yaml::Tree;

/// What is wrong, and where in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// E.g. `stages[0].ranks`; empty for the whole document.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

/// A value and its path.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub path: String,
    pub tree: &'a Tree,
}

/// A mapping whose keys are all known.
pub(crate) struct Fields<'a> {
    path: String,
    entries: Vec<(&'a str, &'a Tree)>,
}

impl<'a> At<'a> {
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            path: self.path.clone(),
            message: message.into(),
        }
    }

    /// The value is of another kind than `wanted`.
    pub fn found(&self, wanted: &str) -> Fault {
        let found = self.tree.describe();
        self.fault(format!("found {found}, expected {wanted}"))
    }

    /// Text that is not empty.
    pub fn text(&self, wanted: &str) -> Result<&'a str, Fault> {
        match self.tree {
            Tree::Text(text) if !text.trim().is_empty() => Ok(text),
            Tree::Int(_) | Tree::Float(_) | Tree::Bool(_) => {
                let found = self.tree.describe();
                Err(self.fault(format!(
                    "found {found}, expected {wanted}; write it in quotes: \"{found}\""
                )))
            }
            _ => Err(self.found(wanted)),
        }
    }

    /// A path; a NUL, which no system takes, is refused here.
    pub fn path_text(&self, wanted: &str) -> Result<PathBuf, Fault> {
        let text = self.text(wanted)?;
        if text.contains('\0') {
            return Err(self.found(wanted));
        }
        Ok(text.into())
    }

    /// A whole number in `low..=high`.
    pub fn count(&self, low: u64, high: u64) -> Result<u64, Fault> {
        let wanted = || match high {
            u64::MAX => format!("a whole number, at least {low}"),
            _ => format!("a whole number from {low} to {high}"),
        };
        match self.tree {
            Tree::Int(value) => u64::try_from(*value)
                .ok()
                .filter(|value| (low..=high).contains(value))
                .ok_or_else(|| self.found(&wanted())),
            _ => Err(self.found(&wanted())),
        }
    }

    /// As `count`, for a length or an index.
    pub fn size(&self, low: usize, high: usize) -> Result<usize, Fault> {
        let value = self.count(low as u64, high as u64)?;
        Ok(usize::try_from(value).expect("at most `high`"))
    }

    /// A finite number that 32 bits hold.
    pub fn number(&self) -> Result<f32, Fault> {
        let value = match self.tree {
            Tree::Int(value) => *value as f32,
            Tree::Float(value) => *value as f32,
            _ => return Err(self.found("a number")),
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.found("a finite number"))
        }
    }

    /// A finite number, at least 0, as measurements are; `wanted` names it and its unit.
    pub fn measure(&self, wanted: &str) -> Result<f64, Fault> {
        let value = match self.tree {
            Tree::Int(value) => *value as f64,
            Tree::Float(value) => *value,
            _ => return Err(self.found(wanted)),
        };
        match value.is_finite() && value >= 0.0 {
            true => Ok(value),
            false => Err(self.found(wanted)),
        }
    }

    /// The entries of a mapping of whole numbers of `1..=high`, ascending, each with its path.
    pub fn table(&self, high: usize, wanted: &str) -> Result<Vec<(usize, At<'a>)>, Fault> {
        let Tree::Map(entries) = self.tree else {
            return Err(self.found(wanted));
        };
        let mut rows: Vec<(usize, At)> = Vec::with_capacity(entries.len());
        for (key, tree) in entries {
            let path = join(&self.path, &key.describe());
            let at = At { path, tree: key };
            let key = at.size(1, high)?;
            rows.push((
                key,
                At {
                    path: at.path,
                    tree,
                },
            ));
        }
        rows.sort_by_key(|row| row.0);
        match rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(self.fault(format!("key {} stands twice", pair[0].0))),
            None => Ok(rows),
        }
    }

    /// One of these words.
    pub fn word(&self, words: &[&'static str]) -> Result<&'static str, Fault> {
        let list = match words {
            [one] => format!("{one}, the only one there is"),
            _ => format!("one of {}", words.join(", ")),
        };
        let Tree::Text(text) = self.tree else {
            return Err(self.found(&list));
        };
        let known = words.iter().find(|word| *word == text);
        known.copied().ok_or_else(|| match nearest(text, words) {
            Some(word) => self.found(&format!("{list}; did you mean {word}?")),
            None => self.found(&list),
        })
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Result<bool, Fault> {
        match self.tree {
            Tree::Bool(value) => Ok(*value),
            _ => Err(self.found("true or false")),
        }
    }

    /// Two whole numbers of `1..=high` as one word, `2x3`.
    pub fn sides(&self, high: usize, wanted: &str) -> Result<(usize, usize), Fault> {
        let Tree::Text(text) = self.tree else {
            return Err(self.found(wanted));
        };
        let side = |text: &str| whole(text).filter(|side| (1..=high).contains(side));
        let sides = text.split_once('x');
        let sides = sides.and_then(|(first, second)| Some((side(first)?, side(second)?)));
        sides.ok_or_else(|| self.found(wanted))
    }

    /// Refuses a list in which a number stands twice.
    pub fn no_repeat(&self, what: &str, list: &[usize]) -> Result<(), Fault> {
        let mut seen = HashSet::new();
        match list.iter().find(|item| !seen.insert(**item)) {
            Some(item) => Err(self.fault(format!("{what} {item} stands twice"))),
            None => Ok(()),
        }
    }

    /// The items of a list, each with its path.
    pub fn list(&self, wanted: &str) -> Result<Vec<At<'a>>, Fault> {
        let Tree::List(items) = self.tree else {
            return Err(self.found(wanted));
        };
        let item = |(i, tree)| At {
            path: format!("{}[{i}]", self.path),
            tree,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a mapping with any keys, each with its path.
    pub fn entries(&self, wanted: &str) -> Result<Vec<(&'a str, At<'a>)>, Fault> {
        let entry = |(key, tree): (&'a str, &'a Tree)| {
            let path = join(&self.path, key);
            (key, At { path, tree })
        };
        Ok(self.pairs(wanted)?.into_iter().map(entry).collect())
    }

    /// Keys and values; keys are text and stand once.
    fn pairs(&self, wanted: &str) -> Result<Vec<(&'a str, &'a Tree)>, Fault> {
        let Tree::Map(entries) = self.tree else {
            return Err(self.found(wanted));
        };
        let mut seen = HashSet::new();
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let shown = key.describe();
            let Tree::Text(key) = key else {
                return Err(self.fault(format!(
                    "found {shown} where a key should be; quotes are missing, e.g. \"12\" for a \
                     name, or \"0-3,5\" for a list of cores inside of braces"
                )));
            };
            if !seen.insert(key) {
                return Err(self.fault(format!("key {shown} stands twice")));
            }
            pairs.push((key.as_str(), value));
        }
        Ok(pairs)
    }

    /// A mapping that has only these keys.
    pub fn fields(&self, keys: &[&'static str]) -> Result<Fields<'a>, Fault> {
        let list = keys.join(", ");
        let plural = if keys.len() == 1 { "key" } else { "keys" };
        let entries = self.pairs(&format!("a mapping with the {plural} {list}"))?;
        for (key, _) in &entries {
            if !keys.contains(key) {
                let near = match nearest(key, keys) {
                    Some(word) => format!(", did you mean `{word}`? Keys here: {list}"),
                    None => format!("; keys here: {list}"),
                };
                let shown = Tree::Text((*key).into()).describe();
                return Err(self.fault(format!("unknown key {shown}{near}")));
            }
        }
        Ok(Fields {
            path: self.path.clone(),
            entries,
        })
    }
}

impl<'a> Fields<'a> {
    /// The value of a key, if the key stands there.
    pub fn get(&self, key: &str) -> Option<At<'a>> {
        let entry = self.entries.iter().find(|(k, _)| *k == key)?;
        Some(At {
            path: join(&self.path, key),
            tree: entry.1,
        })
    }

    /// The value of a key that must stand there.
    pub fn need(&self, key: &str, wanted: &str) -> Result<At<'a>, Fault> {
        self.get(key).ok_or_else(|| self.missing(key, wanted))
    }

    /// A key must stand there, and does not.
    pub fn missing(&self, key: &str, wanted: &str) -> Fault {
        Fault {
            path: join(&self.path, key),
            message: format!("missing, expected {wanted}"),
        }
    }
}

/// Decimal digits only, so that `+3` and ` 3` are no numbers.
pub(crate) fn whole(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}
