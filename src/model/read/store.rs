//! Constants: where a weight's bytes lie, read box by box.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{ensure, Context, Result};

use super::hash::hash;
use crate::geometry::{runs, Region};
use crate::graph::{Dtype, Value};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Runs of one read may have this many bytes between them that nobody asked for.
const GAP: usize = 4 << 10;

/// A file that holds data: the model itself or an external one.
#[derive(Debug)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes when it was opened.
    pub length: u64,
    file: File,
}

impl DataFile {
    /// Opens a regular file; anything else could block or never end.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let facts = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        ensure!(facts.is_file(), "{}: not a regular file", path.display());
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(Arc::new(Self {
            path: path.to_path_buf(),
            length: facts.len(),
            file,
        }))
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(bytes, offset)
            .with_context(|| format!("{}: byte {offset}", self.path.display()))
    }
}

/// Where a constant's little-endian row-major bytes are.
#[derive(Clone, Debug)]
pub enum Data {
    /// In a file, from this offset.
    File(Arc<DataFile>, u64),
    /// In memory.
    Memory(Arc<Vec<u8>>),
    /// Nowhere: every element is this one.
    Fill(Vec<u8>),
}

/// A tensor that does not depend on the frame. Its bytes were checked to be there.
#[derive(Clone, Debug)]
pub struct Constant {
    /// Element type.
    pub dtype: Dtype,
    /// Length of every axis; the product in bytes fits `isize`.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

impl Constant {
    /// A constant in memory.
    pub fn from_value(value: Value) -> Self {
        Self {
            dtype: value.dtype,
            shape: value.shape,
            data: Data::Memory(Arc::new(value.bytes)),
        }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// The same elements under another shape of the same volume.
    pub fn with_shape(&self, shape: Vec<usize>) -> Self {
        Self {
            shape,
            ..self.clone()
        }
    }

    /// All elements.
    pub fn value(&self) -> Result<Value> {
        self.slice(&Region::whole(&self.shape))
    }

    /// The hash of the bytes (`hash.rs`).
    pub fn hash(&self) -> Result<[u8; 32]> {
        // What is read at once is a multiple of every element's size, and an offset below the
        // length fits.
        hash(self.bytes() as u64, |offset, bytes| {
            self.read(offset as usize, bytes)
        })
    }

    /// A box of the elements. Neighbouring runs are read at once.
    pub fn slice(&self, region: &Region) -> Result<Value> {
        self.slice_in(Vec::new(), region)
    }

    /// As `slice`, in this memory where there is enough of it.
    pub fn slice_in(&self, mut bytes: Vec<u8>, region: &Region) -> Result<Value> {
        let whole = Region::whole(&self.shape);
        let fits = region.rank() == whole.rank() && whole.contains(region);
        ensure!(fits, "region {region} is not inside of {:?}", self.shape);
        let item = self.dtype.size();
        // Runs cover the box: nothing stays of what was there.
        match region.volume() * item {
            length if length <= bytes.capacity() => bytes.resize(length, 0),
            length => bytes = vec![0; length],
        }
        let runs = runs(&whole, region, region);
        let mut buffer = Vec::new();
        let mut rest = &runs[..];
        while let Some(first) = rest.first() {
            let start = first.source * item;
            let mut end = start + first.length * item;
            let mut count = 1;
            for run in &rest[1..] {
                let (from, to) = (run.source * item, (run.source + run.length) * item);
                if from > end + GAP || to > start + CHUNK {
                    break;
                }
                end = to;
                count += 1;
            }
            if count == 1 {
                let to = first.target * item;
                self.read(start, &mut bytes[to..to + end - start])?;
            } else {
                buffer.resize(end - start, 0);
                self.read(start, &mut buffer)?;
                for run in &rest[..count] {
                    let (from, to) = (run.source * item - start, run.target * item);
                    let length = run.length * item;
                    bytes[to..to + length].copy_from_slice(&buffer[from..from + length]);
                }
            }
            rest = &rest[count..];
        }
        Ok(Value {
            dtype: self.dtype,
            shape: region.shape(),
            bytes,
        })
    }

    /// Bytes from `offset`, which is a whole number of elements.
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        match &self.data {
            Data::File(file, start) => file.read(start + offset as u64, bytes)?,
            Data::Memory(all) => bytes.copy_from_slice(&all[offset..offset + bytes.len()]),
            Data::Fill(element) => {
                for item in bytes.chunks_exact_mut(element.len()) {
                    item.copy_from_slice(element);
                }
            }
        }
        if self.dtype == Dtype::Bool {
            // Files may hold any byte for true; in memory a bool is 0 or 1.
            bytes
                .iter_mut()
                .for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(())
    }
}
