//! Engines: a sub-model goes in, activations come out.
//!
//! Activations keep ONNX's row-major order at a piece's borders; inside, the layout is the
//! engine's own business.

use std::sync::Arc;

use anyhow::Result;

use crate::graph::SubModel;

mod tensor;
pub mod tract;

pub use tensor::Tensor;

/// Something that loads sub-models.
pub trait Engine: Send + Sync {
    /// Loads and optimises a sub-model for execution on the calling rank's compute threads.
    ///
    /// # Errors
    /// One line that names the sub-model and, where known, the node and its operator.
    fn load(&self, sub_model: SubModel) -> Result<Box<dyn Executable>>;
}

/// A loaded sub-model.
pub trait Executable: Send {
    /// Runs it: tensors of the inputs' shapes in, tensors of the outputs' shapes out, both in
    /// the sub-model's order.
    ///
    /// # Errors
    /// One line that names the sub-model.
    fn run(&mut self, inputs: &[Arc<Tensor>]) -> Result<Vec<Tensor>>;
}
