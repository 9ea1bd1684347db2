//! A tensor with its data, as plain little-endian bytes.

use super::Dtype;

/// A tensor outside of any engine: a weight's slice, a decoded frame, an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Element type.
    pub dtype: Dtype,
    /// Length of every axis, outermost first.
    pub shape: Vec<usize>,
    /// Row-major little-endian elements; `shape` product × `dtype.size()` bytes.
    pub bytes: Vec<u8>,
}

impl Value {
    /// A value of zeros.
    pub fn zeros(dtype: Dtype, shape: &[usize]) -> Self {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
        Self {
            dtype,
            shape: shape.to_vec(),
            bytes,
        }
    }

    /// A 32-bit float value.
    ///
    /// # Panics
    /// Where `elements` has not as many elements as `shape` says.
    pub fn from_f32(shape: &[usize], elements: &[f32]) -> Self {
        assert_eq!(
            elements.len(),
            shape.iter().product::<usize>(),
            "elements of {shape:?}"
        );
        let bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes,
        }
    }

    /// The elements of a 32-bit float value.
    ///
    /// # Panics
    /// Where the value has another type.
    pub fn to_f32(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32, "a float value");
        self.bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }
}
