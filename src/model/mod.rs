//! ONNX: read, fold, cut, write, and the standard architectures.

use anyhow::Result;

use crate::geometry::Region;
use crate::graph::Value;
use crate::ids::WeightId;

pub mod builder;
pub mod cut;
pub mod folder;
pub mod onnx;
pub mod read;
pub mod standard;

/// Where weights' data comes from: a model file, a rank's folder, or messages.
pub trait Weights {
    /// A box of a weight's elements.
    ///
    /// # Errors
    /// One line that names the file and the weight.
    fn slice(&self, weight: WeightId, region: &Region) -> Result<Value>;

    /// As `slice`, in memory that the caller no longer needs, where its length is enough.
    ///
    /// # Errors
    /// As `slice`.
    fn slice_in(&self, buffer: Vec<u8>, weight: WeightId, region: &Region) -> Result<Value> {
        drop(buffer);
        self.slice(weight, region)
    }
}
