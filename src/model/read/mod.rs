//! Reading an ONNX file into a `Graph` and a place to fetch its weights from.
//!
//! The file is walked without decoding the tensors' data, so that a model of any size costs
//! little memory; every node then passes tract once, which gives the shapes, and constant nodes
//! are folded. A file is never trusted: what is wrong with it comes back as one line.

mod attributes;
mod build;
mod classify;
mod conv;
mod deduce;
mod draft;
mod fold;
mod hash;
mod infer;
mod inputs;
mod lower;
mod order;
mod scan;
mod store;
mod tensor;
mod upgrade;
mod walk;
mod windows;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure, Context, Result};

use self::store::{Constant, DataFile};
use super::Weights;
use crate::geometry::Region;
use crate::graph::{Graph, Value};
use crate::ids::WeightId;

/// Constants of at most this many bytes are held in memory.
const INLINE_BYTES: usize = 64 << 10;
/// tract sees the elements of constants of at most this many bytes: sizes, axes and scales.
const VISIBLE_BYTES: usize = 4 << 10;
/// A tensor may have this many axes.
const MAX_AXES: usize = 32;
/// An activation may have this many bytes.
const MAX_ACTIVATION_BYTES: usize = 16 << 30;
/// Opsets whose operators are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// A model file after reading: its graph, and its weights where they lie.
#[derive(Debug)]
pub struct Source {
    /// The model.
    pub graph: Graph,
    path: PathBuf,
    /// For each of the graph's weights.
    constants: Vec<Constant>,
}

/// Reads the model at `path`. `shapes` gives lengths to symbolic dimensions by name; one that
/// stands for the batch is 1 without being given.
///
/// # Errors
/// One line that names the file and, where there is one, the node and its operator: a file that
/// is no ONNX model, is damaged or hostile, or has what is not supported; a dimension without a
/// length.
pub fn read(path: &Path, shapes: &[(String, usize)]) -> Result<Source> {
    read_source(path, shapes).map_err(|e| {
        let text = one_line(&format!("{e:#}"));
        let path = path.display().to_string();
        match text.starts_with(&path) {
            true => anyhow!("{text}"),
            false => anyhow!("{path}: {text}"),
        }
    })
}

fn read_source(path: &Path, shapes: &[(String, usize)]) -> Result<Source> {
    let file = DataFile::open(path)?;
    let mut skeleton = scan::scan(tensor::Files::new(&file))?;
    ensure!(
        OPSETS.contains(&skeleton.opset),
        "opset {} of ONNX, supported are {} to {}",
        skeleton.opset,
        OPSETS.start(),
        OPSETS.end()
    );
    upgrade::upgrade(&mut skeleton)?;
    let inputs = inputs::inputs(&skeleton, shapes)?;
    let draft = walk::walk(&skeleton, &inputs)?;
    let name = match &skeleton.name[..] {
        "" => path.file_stem().unwrap_or_default().to_string_lossy(),
        name => name.into(),
    };
    let (graph, constants) = build::build(&name, draft)?;
    Ok(Source {
        graph,
        path: path.to_path_buf(),
        constants,
    })
}

/// A hostile name must not break the line or fill the screen.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| word.chars().map(clean).collect())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{} …", &line[..cut]),
        None => line,
    }
}

impl Source {
    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Weights for Source {
    fn slice(&self, weight: WeightId, region: &Region) -> Result<Value> {
        self.slice_in(Vec::new(), weight, region)
    }

    fn slice_in(&self, buffer: Vec<u8>, weight: WeightId, region: &Region) -> Result<Value> {
        let constant = self.constants.get(weight.index()).with_context(|| {
            let path = self.path.display();
            format!("{path}: weight {weight} of {}", self.constants.len())
        })?;
        constant.slice_in(buffer, region).with_context(|| {
            let name = &self.graph.weight(weight).name;
            format!("{}: weight {name}", self.path.display())
        })
    }
}
