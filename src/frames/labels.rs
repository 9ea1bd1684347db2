//! Class names, and the true class of each file.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

const MAX_BYTES: u64 = 64 << 20;

/// One name for each class, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// Reads a text file with one class name a line.
    ///
    /// # Errors
    /// One line that names the file, where it is missing, empty or not text.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || {
            let text = read_text(path)?;
            let lines = text.trim_end().lines();
            let names: Vec<_> = lines.map(|line| line.trim().to_string()).collect();
            ensure!(!names.is_empty(), "no labels: one class name a line");
            Ok(Self { names })
        };
        read().with_context(|| path.display().to_string())
    }

    /// The name of a class; none beyond the file's lines.
    pub fn name(&self, class: usize) -> Option<&str> {
        self.names.get(class).map(String::as_str)
    }

    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The one class of this name.
    fn class(&self, name: &str) -> Result<Option<usize>> {
        let same = |class: &usize| self.names[*class] == name;
        let mut classes = (0..self.names.len()).filter(same);
        match (classes.next(), classes.next()) {
            (Some(a), Some(b)) => {
                bail!("{name:?} is the name of classes {a} and {b}: give the index")
            }
            (class, _) => Ok(class),
        }
    }
}

/// The true class of each file, for the accuracy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    classes: HashMap<String, usize>,
}

impl Truth {
    /// Reads a CSV file that has the columns `file` and `label`; a label is a class name where
    /// `labels` has it, else a class index. Folders in `file` do not matter.
    ///
    /// # Errors
    /// One line that names the file and the line, where a column is missing, a label is neither
    /// name nor index, or one file has two classes.
    pub fn read(path: &Path, labels: Option<&Labels>) -> Result<Self> {
        Self::parse(path, labels).with_context(|| path.display().to_string())
    }

    fn parse(path: &Path, labels: Option<&Labels>) -> Result<Self> {
        let text = read_text(path)?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().context("not CSV")?.clone();
        let column = |name: &str| {
            let place = header.iter().position(|cell| cell == name);
            place.with_context(|| format!("no column {name:?} in {:?}", header.as_slice()))
        };
        let (file, label) = (column("file")?, column("label")?);
        let mut classes = HashMap::new();
        for record in reader.records() {
            let record = record.context("not CSV")?;
            let line = record.position().map_or(0, csv::Position::line);
            let (file, label) = (&record[file], &record[label]);
            let class = class(label, labels).with_context(|| format!("line {line}"))?;
            let before = classes.insert(base_name(file).to_string(), class);
            ensure!(
                before.is_none_or(|before| before == class),
                "line {line}: {file:?} has another class above"
            );
        }
        ensure!(!classes.is_empty(), "no file has a class");
        Ok(Self { classes })
    }

    /// The true class of a frame's source; none where the file says nothing about it.
    pub fn class(&self, source: &str) -> Option<usize> {
        self.classes.get(base_name(source)).copied()
    }

    /// How many files have a class.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether no file has a class.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

fn class(label: &str, labels: Option<&Labels>) -> Result<usize> {
    if let Some(class) = labels
        .map(|labels| labels.class(label))
        .transpose()?
        .flatten()
    {
        return Ok(class);
    }
    let index = label.parse().ok();
    let known = |index: &usize| labels.is_none_or(|labels| *index < labels.len());
    index
        .filter(known)
        .with_context(|| format!("label {label:?} is neither a class name nor a class index"))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn read_text(path: &Path) -> Result<String> {
    let mut bytes = vec![];
    let mut file = File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "longer than {MAX_BYTES} bytes"
    );
    let text = String::from_utf8(bytes).ok().context("not UTF-8 text")?;
    Ok(text.trim_start_matches('\u{feff}').to_string())
}
