//! Input sources and output sinks: frames come in one by one, outputs go to files.
//!
//! Everything here runs on rank 0's I/O thread. Files are untrusted: what a header promises is
//! checked against the model and the file's length before memory is taken for it.

mod array;
mod compare;
mod convert;
mod files;
mod labels;
mod npy;
mod picture;
mod proto;
mod resize;
mod scores;
mod sink;
mod source;
mod synthetic;
mod zip;

pub use compare::{compare, Comparison, TOLERANCE};
pub use labels::{Labels, Truth};
pub use scores::{is_scores, top_k};
pub use sink::{OutputShape, Sink, TOP_K};
pub use source::Source;

use crate::graph::{Dtype, Value};

/// What the model takes at one input, or gives at one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// ONNX tensor name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Length of every axis, `[1, C, H, W]` for images.
    pub shape: Vec<usize>,
}

impl InputShape {
    /// Elements of one frame; none where the product overflows or is zero.
    fn elements(&self) -> Option<usize> {
        let product = |n: usize, &axis: &usize| n.checked_mul(axis);
        let elements = self.shape.iter().try_fold(1, product)?;
        (elements > 0 && elements.checked_mul(8).is_some()).then_some(elements)
    }

    /// For messages: `input "x" is f32 [1, 3, 224, 224]`.
    fn describe(&self) -> String {
        format!("input {:?} is {} {:?}", self.name, self.dtype, self.shape)
    }
}

/// One input through the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Shown name: the file's name, `file[index]` for one of several in a file, or
    /// `synthetic[index]`.
    pub source: String,
    /// One value for each model input, in graph order.
    pub inputs: Vec<Value>,
}

/// What a source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A frame to run.
    Frame(Frame),
    /// Something that cannot be read; it does not end the batch.
    Bad {
        /// Shown name.
        source: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
}

impl Item {
    fn bad(source: impl Into<String>, error: &anyhow::Error) -> Self {
        Self::Bad {
            source: source.into(),
            reason: one_line(&format!("{error:#}")),
        }
    }
}

/// A foreign message as one line: control characters become spaces.
fn one_line(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
