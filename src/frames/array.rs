//! Arrays with frames first, read one frame at a time from `.npy` files and `.npz` members.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{ensure, Context, Result};

use super::npy::{self, Header};
use super::{convert, zip, Frame, InputShape, Item};
use crate::graph::{Dtype, Value};

/// One array for each model input, at the next frame.
pub(super) struct Arrays {
    name: String,
    inputs: Vec<InputShape>,
    arrays: Vec<Array>,
    next: u64,
    frames: u64,
}

struct Array {
    stream: Box<dyn Read + Send>,
    dtype: Dtype,
    big_endian: bool,
    /// None: the array is one frame and shown by the file's name alone.
    frames: Option<u64>,
}

impl Arrays {
    /// A `.npy` file, for a model with one input.
    pub(super) fn open_npy(path: &Path, name: String, inputs: &[InputShape]) -> Result<Self> {
        ensure!(
            inputs.len() == 1,
            "an .npy is one array and the model has {} inputs: give an .npz with an array for each",
            inputs.len()
        );
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut stream = BufReader::new(file);
        let header = npy::read_header(&mut stream)?;
        let array = Array::new(Box::new(stream), &header, length, &inputs[0])?;
        Self::new(name, inputs, vec![array])
    }

    /// An `.npz` file: one array for each input, by name; any name where there is one of each.
    pub(super) fn open_npz(path: &Path, name: String, inputs: &[InputShape]) -> Result<Self> {
        let members = zip::members(path)?;
        let arrays = inputs.iter().map(|input| {
            let wanted = format!("{}.npy", input.name);
            let member = match (&members[..], inputs.len()) {
                ([only], 1) => Some(only),
                _ => members.iter().find(|member| member.name == wanted),
            };
            let member = member.with_context(|| {
                let found: Vec<_> = members.iter().map(|m| m.name.as_str()).take(9).collect();
                format!("no array {wanted:?} among {found:?}; {}", input.describe())
            })?;
            let open = || {
                let mut stream = zip::open(path, member)?;
                let header = npy::read_header(&mut stream)?;
                Array::new(stream, &header, member.bytes, input)
            };
            open().with_context(|| format!("array {:?}", member.name))
        });
        Self::new(name, inputs, arrays.collect::<Result<_>>()?)
    }

    fn new(name: String, inputs: &[InputShape], arrays: Vec<Array>) -> Result<Self> {
        let frames = arrays[0].frames;
        for (array, input) in arrays.iter().zip(inputs) {
            ensure!(
                array.frames.unwrap_or(1) == frames.unwrap_or(1),
                "{} frames for input {:?}, {} for input {:?}",
                frames.unwrap_or(1),
                inputs[0].name,
                array.frames.unwrap_or(1),
                input.name
            );
        }
        Ok(Self {
            name,
            inputs: inputs.to_vec(),
            next: 0,
            frames: frames.unwrap_or(1),
            arrays,
        })
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// The next frame; a stream that breaks gives one bad item for all that is left of it.
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.next >= self.frames {
            return None;
        }
        let index = self.next;
        let one = self.arrays.iter().all(|array| array.frames.is_none());
        let inputs = self.arrays.iter_mut().zip(&self.inputs);
        let values: Result<Vec<_>> = inputs.map(|(array, input)| array.read(input)).collect();
        self.next += 1;
        let source = if one {
            self.name.clone()
        } else {
            format!("{}[{index}]", self.name)
        };
        match values {
            Ok(inputs) => Some(Item::Frame(Frame { source, inputs })),
            Err(error) => {
                self.next = self.frames;
                Some(Item::bad(source, &error.context("and all after it")))
            }
        }
    }
}

impl Array {
    /// Matches a header to the model's input and to the `length` of header and data.
    fn new(
        stream: Box<dyn Read + Send>,
        header: &Header,
        length: u64,
        input: &InputShape,
    ) -> Result<Self> {
        let frames = frames_first(&header.shape, &input.shape).with_context(|| {
            let tail = &input.shape[usize::from(input.shape.first() == Some(&1))..];
            let axes: String = tail.iter().map(|axis| format!(", {axis}")).collect();
            format!(
                "array {:?}; {}, so [frames{axes}] is read",
                header.shape,
                input.describe()
            )
        })?;
        ensure!(frames != Some(0), "array without frames");
        ensure!(
            convert::is_exact(header.dtype, input.dtype),
            "array of {}, which {} cannot hold exactly (NumPy: astype); {}",
            header.dtype,
            input.dtype,
            input.describe()
        );
        let expected = header.data_offset.checked_add(header.data_bytes);
        ensure!(
            expected == Some(length),
            "damaged: its header promises {} bytes of data, there are {}",
            header.data_bytes,
            length.saturating_sub(header.data_offset)
        );
        Ok(Self {
            stream,
            dtype: header.dtype,
            big_endian: header.big_endian,
            frames,
        })
    }

    fn read(&mut self, input: &InputShape) -> Result<Value> {
        let elements = input.elements().context("the model's input is empty")?;
        let mut bytes = vec![0; elements * self.dtype.size()];
        self.stream.read_exact(&mut bytes)?;
        Ok(Value {
            dtype: input.dtype,
            shape: input.shape.clone(),
            bytes: convert::convert(bytes, self.dtype, self.big_endian, input.dtype),
        })
    }
}

/// How many frames an array holds: `Some(None)` where it has exactly the input's shape; else the
/// first axis counts frames of the input's shape, with or without the input's leading 1.
fn frames_first(array: &[usize], input: &[usize]) -> Option<Option<u64>> {
    if array == input {
        return Some(None);
    }
    let (&frames, frame) = array.split_first()?;
    let fits = frame == input || (input.first() == Some(&1) && *frame == input[1..]);
    fits.then_some(Some(frames as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_axis_counts_frames() {
        assert_eq!(frames_first(&[1, 3, 4], &[1, 3, 4]), Some(None));
        assert_eq!(frames_first(&[7, 3, 4], &[1, 3, 4]), Some(Some(7)));
        assert_eq!(frames_first(&[7, 1, 3, 4], &[1, 3, 4]), Some(Some(7)));
        assert_eq!(frames_first(&[7, 2, 4], &[2, 4]), Some(Some(7)));
        assert_eq!(frames_first(&[7], &[]), Some(Some(7)));
        assert_eq!(frames_first(&[], &[]), Some(None));
        assert_eq!(frames_first(&[3, 4], &[1, 3, 4]), None);
        assert_eq!(frames_first(&[7, 4, 3], &[1, 3, 4]), None);
        assert_eq!(frames_first(&[7, 4], &[2, 4]), None);
        assert_eq!(frames_first(&[], &[1]), None);
    }
}
