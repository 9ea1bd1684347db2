//! Element types of activations and weights.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An element type, named as ONNX numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// One byte, 0 or 1.
    Bool,
    /// 16-bit float (IEEE half).
    F16,
    /// 64-bit float.
    F64,
}

const NUMBERS: [(Dtype, i32, usize, &str); 10] = [
    (Dtype::F32, 1, 4, "f32"),
    (Dtype::U8, 2, 1, "u8"),
    (Dtype::I8, 3, 1, "i8"),
    (Dtype::U16, 4, 2, "u16"),
    (Dtype::I16, 5, 2, "i16"),
    (Dtype::I32, 6, 4, "i32"),
    (Dtype::I64, 7, 8, "i64"),
    (Dtype::Bool, 9, 1, "bool"),
    (Dtype::F16, 10, 2, "f16"),
    (Dtype::F64, 11, 8, "f64"),
];

impl Dtype {
    fn row(self) -> (Dtype, i32, usize, &'static str) {
        let row = NUMBERS.iter().find(|row| row.0 == self);
        *row.expect("every type has a row")
    }

    /// Bytes for one element.
    pub fn size(self) -> usize {
        self.row().2
    }

    /// ONNX `TensorProto.DataType`.
    pub fn onnx(self) -> i32 {
        self.row().1
    }

    /// The type that ONNX numbers so; none where no engine of ours takes it.
    pub fn from_onnx(number: i32) -> Option<Self> {
        NUMBERS.iter().find(|row| row.1 == number).map(|row| row.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().3)
    }
}
