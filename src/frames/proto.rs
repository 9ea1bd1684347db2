//! ONNX `TensorProto` files, read field by field.
//!
//! The fields of `onnx.proto`: 1 dims, 2 data_type, 4 float_data, 5 int32_data (all types of at
//! most 32 bits, a half as its bits), 7 int64_data, 9 raw_data, 10 double_data.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

use super::{convert, InputShape};
use crate::graph::{Dtype, Value};

/// Longest form of one element (a 64-bit varint with its tag), and room for names.
const BYTES_PER_ELEMENT: u64 = 11;
const MAX_OVERHEAD: u64 = 64 * 1024;

/// The tensor of a file, as the model's input takes it.
pub(super) fn read(path: &Path, input: &InputShape) -> Result<Value> {
    let elements = input.elements().context("the model's input is empty")?;
    let limit = (elements as u64) * BYTES_PER_ELEMENT + MAX_OVERHEAD;
    let mut bytes = vec![];
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= limit,
        "too long for a tensor of one frame: {}",
        input.describe()
    );
    let value = parse(&bytes).context("not an ONNX TensorProto that is read")?;
    ensure!(
        value.shape == input.shape,
        "tensor {} {:?}; {}",
        value.dtype,
        value.shape,
        input.describe()
    );
    ensure!(
        convert::is_exact(value.dtype, input.dtype),
        "tensor of {}, which {} cannot hold exactly; {}",
        value.dtype,
        input.dtype,
        input.describe()
    );
    Ok(Value {
        dtype: input.dtype,
        bytes: convert::convert(value.bytes, value.dtype, false, input.dtype),
        shape: value.shape,
    })
}

#[derive(Default)]
struct Fields<'a> {
    dims: Vec<u64>,
    data_type: u64,
    raw: Option<&'a [u8]>,
    floats: Vec<u8>,
    doubles: Vec<u8>,
    int32s: Vec<u64>,
    int64s: Vec<u64>,
}

/// Reads a tensor whose data is inside of the message.
fn parse(bytes: &[u8]) -> Result<Value> {
    let mut fields = Fields::default();
    let mut reader = Reader { rest: bytes };
    while !reader.rest.is_empty() {
        let tag = reader.varint()?;
        let (field, payload) = (tag >> 3, reader.payload(tag & 7)?);
        match (field, payload) {
            (1, payload) => payload.numbers(&mut fields.dims)?,
            (2, Payload::Number(number)) => fields.data_type = number,
            (4, Payload::Bytes(data)) => fields.floats.extend(data),
            (10, Payload::Bytes(data)) => fields.doubles.extend(data),
            (5, payload) => payload.numbers(&mut fields.int32s)?,
            (7, payload) => payload.numbers(&mut fields.int64s)?,
            (9, Payload::Bytes(data)) => fields.raw = Some(data),
            (13, _) => bail!("its data is in another file"),
            _ => {}
        }
    }
    let number = fields.data_type;
    let dtype = i32::try_from(number).ok().and_then(Dtype::from_onnx);
    let dtype = dtype.with_context(|| format!("data type {number} is not taken"))?;
    let shape: Vec<usize> = fields
        .dims
        .iter()
        .map(|&axis| i64::try_from(axis).ok().and_then(|a| a.try_into().ok()))
        .collect::<Option<_>>()
        .context("a dimension is negative")?;
    let length = shape
        .iter()
        .try_fold(dtype.size(), |n, &axis| n.checked_mul(axis))
        .with_context(|| format!("tensor of {shape:?}"))?;
    let bytes = fields.data(dtype)?;
    ensure!(
        bytes.len() == length,
        "{} bytes of data, a tensor {dtype} {shape:?} has {length}",
        bytes.len()
    );
    Ok(Value {
        dtype,
        shape,
        bytes,
    })
}

impl Fields<'_> {
    /// The elements as little-endian bytes, from whichever field has them.
    fn data(self, dtype: Dtype) -> Result<Vec<u8>> {
        if let Some(raw) = self.raw {
            return Ok(raw.to_vec());
        }
        let numbers = match dtype {
            Dtype::F32 => return Ok(self.floats),
            Dtype::F64 => return Ok(self.doubles),
            Dtype::I64 => self.int64s,
            _ => self.int32s,
        };
        let size = dtype.size();
        let mut bytes = vec![];
        for number in numbers {
            // An int32 is sent as 64 bits, its sign extended: what is cut off must say nothing.
            let number = number as i64;
            let fits = match dtype {
                Dtype::I64 => true,
                Dtype::I32 => i32::try_from(number).is_ok(),
                Dtype::I16 => i16::try_from(number).is_ok(),
                Dtype::I8 => i8::try_from(number).is_ok(),
                Dtype::Bool => number == 0 || number == 1,
                _ => number >= 0 && number < 1 << (8 * size),
            };
            ensure!(fits, "{number} is no {dtype}");
            bytes.extend(&number.to_le_bytes()[..size]);
        }
        Ok(bytes)
    }
}

enum Payload<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Payload<'_> {
    /// Appends one number, or a packed list of them.
    fn numbers(self, list: &mut Vec<u64>) -> Result<()> {
        match self {
            Self::Number(number) => list.push(number),
            Self::Bytes(bytes) => {
                let mut reader = Reader { rest: bytes };
                while !reader.rest.is_empty() {
                    list.push(reader.varint()?);
                }
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().context("cut off")?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            ensure!(shift < 63 || bits <= 1, "a number beyond 64 bits");
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a number beyond 64 bits")
    }

    fn payload(&mut self, wire: u64) -> Result<Payload<'a>> {
        let length = match wire {
            0 => return Ok(Payload::Number(self.varint()?)),
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            _ => bail!("unknown wire type {wire}"),
        };
        let length = usize::try_from(length).context("cut off")?;
        let (bytes, rest) = self.rest.split_at_checked(length).context("cut off")?;
        self.rest = rest;
        Ok(Payload::Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[&[u8]]) -> Vec<u8> {
        fields.concat()
    }

    #[test]
    fn each_field_of_data_is_read() {
        let one = 1f32.to_le_bytes();
        let raw = message(&[&[8, 1, 8, 1, 16, 1, 0x4a, 4], &one]);
        assert_eq!(parse(&raw).unwrap(), Value::from_f32(&[1, 1], &[1.0]));
        // Packed dims, packed float_data; a name (field 8) before them is skipped.
        let packed = message(&[&[0x42, 1, b'x', 0x0a, 2, 1, 1, 16, 1, 0x22, 4], &one]);
        assert_eq!(parse(&packed).unwrap(), parse(&raw).unwrap());
        // float_data, one tagged 32-bit number an element.
        let single = message(&[&[8, 1, 8, 1, 16, 1, 0x25], &one]);
        assert_eq!(parse(&single).unwrap(), parse(&raw).unwrap());
        // int32_data with -2 in ten bytes, as i8.
        let minus_two = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let i8s = parse(&message(&[&[8, 1, 16, 3, 0x28], &minus_two])).unwrap();
        assert_eq!((i8s.dtype, &i8s.bytes[..]), (Dtype::I8, &[0xfe][..]));
        let i64s = parse(&message(&[&[8, 1, 16, 7, 0x38], &minus_two])).unwrap();
        assert_eq!(i64s.bytes, (-2i64).to_le_bytes());
        assert!(parse(&message(&[&[8, 1, 16, 2, 0x28], &minus_two])).is_err());
    }

    #[test]
    fn a_message_cut_anywhere_is_refused() {
        let one = 1f32.to_le_bytes();
        let whole = message(&[&[8, 1, 8, 1, 16, 1, 0x4a, 4], &one]);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn absurd_sizes_cost_nothing() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let dims = message(&[&[8], &huge, &[8], &huge, &[16, 1]]);
        assert!(parse(&dims).is_err());
        assert!(parse(&message(&[&[0x4a], &huge])).is_err());
        assert!(parse(&[0xff; 11]).is_err());
    }
}
