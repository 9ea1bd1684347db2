//! A sub-model on its way from the cutter to an engine.

use std::sync::Arc;

use super::Value;

/// An ONNX model whose large initialisers travel beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct SubModel {
    /// For messages: which piece of which rank, e.g. `rank 1 piece 0 (conv2_1 … pool3)`.
    pub name: String,
    /// An encoded ONNX `ModelProto`. Inputs and outputs are in the order of the piece's. An
    /// initialiser whose data is in `weights` has `data_location` EXTERNAL and its own name as
    /// the `location`.
    pub onnx: Vec<u8>,
    /// The data of the external initialisers, by name; shared with other sub-models that use it.
    pub weights: Vec<(String, Arc<Value>)>,
}
