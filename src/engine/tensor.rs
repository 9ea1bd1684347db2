//! An activation in memory, in the engine's own container so that nothing is copied at its door.

use std::fmt;
use std::sync::Arc;

use tract_onnx::prelude as tract;

use crate::graph::{Dtype, Value};

/// A row-major tensor. Sending reads its bytes in place, receiving writes them in place, and
/// running a sub-model takes it as it is.
pub struct Tensor {
    // Shared with the engine while it runs, and with another tensor where a sub-model passes its
    // input on or puts out a constant: writing then copies first.
    inner: Arc<tract::Tensor>,
    dtype: Dtype,
}

const TYPES: [(Dtype, tract::DatumType); 10] = [
    (Dtype::F32, tract::DatumType::F32),
    (Dtype::U8, tract::DatumType::U8),
    (Dtype::I8, tract::DatumType::I8),
    (Dtype::U16, tract::DatumType::U16),
    (Dtype::I16, tract::DatumType::I16),
    (Dtype::I32, tract::DatumType::I32),
    (Dtype::I64, tract::DatumType::I64),
    (Dtype::Bool, tract::DatumType::Bool),
    (Dtype::F16, tract::DatumType::F16),
    (Dtype::F64, tract::DatumType::F64),
];

impl Tensor {
    /// A tensor of zeros, to be received into.
    ///
    /// # Panics
    /// Where memory for it cannot be had.
    pub fn zeros(dtype: Dtype, shape: &[usize]) -> Self {
        let inner = tract::Tensor::zero_dt(datum_type(dtype), shape).expect("memory for a tensor");
        Self {
            inner: Arc::new(inner),
            dtype,
        }
    }

    /// A tensor with a value's elements (a copy).
    ///
    /// # Panics
    /// Where the value's bytes do not match its shape.
    pub fn from_value(value: &Value) -> Self {
        let mut tensor = Self::zeros(value.dtype, &value.shape);
        tensor.bytes_mut().copy_from_slice(&value.bytes);
        tensor
    }

    /// The elements as a plain value (a copy).
    pub fn to_value(&self) -> Value {
        Value {
            dtype: self.dtype,
            shape: self.shape().to_vec(),
            bytes: self.bytes().to_vec(),
        }
    }

    /// Takes an engine's tensor; none where its type is none of ours.
    pub(super) fn from_tract(inner: Arc<tract::Tensor>) -> Option<Self> {
        let row = TYPES.iter().find(|row| row.1 == inner.datum_type())?;
        Some(Self {
            dtype: row.0,
            inner,
        })
    }

    /// The engine's own tensor, shared.
    pub(super) fn share(&self) -> Arc<tract::Tensor> {
        self.inner.clone()
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        self.inner.shape()
    }

    /// The elements, row-major, little-endian.
    pub fn bytes(&self) -> &[u8] {
        self.inner.as_bytes()
    }

    /// The elements, to be written. Copies them first where another tensor shares them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.inner).as_bytes_mut()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape())
    }
}

/// The engine's name of a type.
pub(super) fn datum_type(dtype: Dtype) -> tract::DatumType {
    TYPES
        .iter()
        .find(|row| row.0 == dtype)
        .map(|row| row.1)
        .expect("every type has a row")
}
