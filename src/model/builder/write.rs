//! Writing a built model as a stream, so that its weights are never held at once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{bail, Context, Result};
use prost::Message;
use tract_onnx::pb;

use super::{Initializer, ModelBuilder};
use crate::model::onnx;

// Protobuf keys of length-delimited fields: number << 3 | 2.
const MODEL_GRAPH: u8 = 7 << 3 | 2;
const GRAPH_INITIALIZER: u8 = 5 << 3 | 2;
const TENSOR_RAW_DATA: u8 = 9 << 3 | 2;

/// A protobuf message is at most this long.
const LIMIT: u64 = i32::MAX as u64;
/// Weights from this size on leave the model where external data is asked for; shapes and other
/// small constants stay inside, where every reader finds them.
const EXTERNAL_BYTES: u64 = 1024;
/// External weights start at multiples of this, so that they can be mapped.
const PAGE: u64 = 4096;

impl ModelBuilder {
    /// The whole model as an ONNX file's bytes.
    ///
    /// # Errors
    /// The builder's first fault (see [`check`](Self::check)); a model beyond protobuf's 2 GiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the model as an ONNX file, weights inside.
    ///
    /// # Errors
    /// The builder's first fault; a model beyond protobuf's 2 GiB; what the file system says.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check()?;
        let mut file = create(path)?;
        self.write_to(&mut file)
            .and_then(|()| Ok(file.flush()?))
            .with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// Writes the model as an ONNX file `path` and its weights of 1 KiB or more as external data
    /// beside it, in `<path>.data`.
    ///
    /// # Errors
    /// The builder's first fault; what the file system says.
    pub fn write_external(&self, path: &Path) -> Result<()> {
        self.check()?;
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            bail!("{}: not the name of a file", path.display());
        };
        let location = format!("{name}.data");
        let data_path = path.with_file_name(&location);
        let mut data = create(&data_path)?;
        let tensors = self
            .write_data(&location, &mut data)
            .and_then(|tensors| {
                data.flush()?;
                Ok(tensors)
            })
            .with_context(|| format!("{}: cannot be written", data_path.display()))?;
        let graph = pb::GraphProto {
            initializer: tensors,
            ..self.skeleton()
        };
        std::fs::write(path, onnx::model(graph, self.opset).encode_to_vec())
            .with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// Writes the large weights one after another; the headers of all.
    fn write_data(&self, location: &str, data: &mut impl Write) -> Result<Vec<pb::TensorProto>> {
        let mut end = 0_u64;
        let mut tensors = vec![];
        for initializer in &self.initializers {
            let bytes = initializer.bytes();
            if bytes < EXTERNAL_BYTES {
                let mut tensor = initializer.header();
                initializer.write(&mut tensor.raw_data)?;
                tensors.push(tensor);
                continue;
            }
            let offset = end.next_multiple_of(PAGE);
            data.write_all(&vec![0; (offset - end) as usize])?;
            initializer.write(data)?;
            end = offset + bytes;
            tensors.push(onnx::external_tensor(
                &initializer.name,
                (initializer.dtype, &initializer.shape),
                location,
                (offset, bytes),
            ));
        }
        Ok(tensors)
    }

    /// Everything but the weights first, then the graph field by hand: its nodes, and one weight
    /// after another. Protobuf fields may come in any order.
    fn write_to(&self, out: &mut impl Write) -> Result<()> {
        self.check()?;
        let nodes = self.skeleton().encode_to_vec();
        let headers: Vec<_> = self
            .initializers
            .iter()
            .map(|initializer| initializer.header().encode_to_vec())
            .collect();
        let lengths: Vec<u64> = self
            .initializers
            .iter()
            .zip(&headers)
            .map(|(initializer, header)| header.len() as u64 + field(initializer.bytes()))
            .collect();
        let graph = nodes.len() as u64 + lengths.iter().map(|&bytes| field(bytes)).sum::<u64>();
        if graph > LIMIT - 1024 {
            bail!(
                "{}: the model takes {graph} bytes, a protobuf file holds {LIMIT} at most; write \
                 its weights as external data",
                self.name
            );
        }
        let mut model = onnx::model(pb::GraphProto::default(), self.opset);
        model.graph = None;
        out.write_all(&model.encode_to_vec())?;
        open(out, MODEL_GRAPH, graph)?;
        out.write_all(&nodes)?;
        for ((initializer, header), length) in self.initializers.iter().zip(headers).zip(lengths) {
            open(out, GRAPH_INITIALIZER, length)?;
            out.write_all(&header)?;
            open(out, TENSOR_RAW_DATA, initializer.bytes())?;
            initializer.write(out)?;
        }
        Ok(())
    }

    /// The graph without its weights.
    fn skeleton(&self) -> pb::GraphProto {
        let info = |&handle: &super::Handle| {
            let tensor = &self.tensors[handle.0];
            onnx::value_info(&tensor.name, tensor.dtype, &tensor.shape)
        };
        let mut input: Vec<_> = self.inputs.iter().map(info).collect();
        if self.list_weights {
            input.extend(
                self.initializers
                    .iter()
                    .map(|weight| onnx::value_info(&weight.name, weight.dtype, &weight.shape)),
            );
        }
        pb::GraphProto {
            name: self.name.clone(),
            node: self.nodes.clone(),
            input,
            output: self.outputs.iter().map(info).collect(),
            ..Default::default()
        }
    }
}

impl Initializer {
    fn header(&self) -> pb::TensorProto {
        pb::TensorProto {
            name: self.name.clone(),
            dims: self.shape.iter().map(|&axis| axis as i64).collect(),
            data_type: self.dtype.onnx(),
            ..Default::default()
        }
    }

    fn bytes(&self) -> u64 {
        self.count() * self.dtype.size() as u64
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.fill.write(self.count() as usize, out)
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("{}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 18, file))
}

/// Bytes of a length-delimited field with a one-byte key.
fn field(length: u64) -> u64 {
    1 + prost::length_delimiter_len(length as usize) as u64 + length
}

fn open(out: &mut impl Write, key: u8, length: u64) -> Result<()> {
    let mut head = vec![key];
    prost::encode_length_delimiter(length as usize, &mut head)?;
    Ok(out.write_all(&head)?)
}
