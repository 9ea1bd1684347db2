//! Weight slices kept on a rank's disk, so that the next run need not send them again.
//!
//! A slice is known by what it is: the hash of its whole weight and its box. Its file ends with
//! the hash of its own bytes; a file that is cut short or changed is as if it were not there.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::deploy::Slice;
use crate::graph::Graph;

/// A folder of slices. Several ranks of a host may share one.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// One line that names the folder.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// Whether the slice is there, whole and unchanged.
    pub fn has(&self, graph: &Graph, slice: &Slice) -> bool {
        self.read(graph, slice, |_| {}).is_some()
    }

    /// The slice's bytes, where they are there, whole and unchanged.
    pub fn get(&self, graph: &Graph, slice: &Slice) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(slice_bytes(graph, slice));
        self.read(graph, slice, |chunk| bytes.extend_from_slice(chunk))?;
        Some(bytes)
    }

    /// Keeps a slice; a file is there whole or not at all.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn put(&self, graph: &Graph, slice: &Slice, bytes: &[u8]) -> Result<()> {
        let path = self.path(graph, slice);
        let part = path.with_extension(format!("part{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&part)?;
            file.write_all(bytes)?;
            file.write_all(blake3::hash(bytes).as_bytes())?;
            std::fs::rename(&part, &path)
        };
        write().with_context(|| format!("{}", path.display()))
    }

    /// Hands out the slice's bytes chunk by chunk; none where they are not what they were.
    fn read(&self, graph: &Graph, slice: &Slice, mut take: impl FnMut(&[u8])) -> Option<()> {
        let mut file = File::open(self.path(graph, slice)).ok()?;
        let length = slice_bytes(graph, slice);
        if file.metadata().ok()?.len() != length as u64 + 32 {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; (1 << 20).min(length.max(1))];
        let mut left = length;
        while left > 0 {
            let now = left.min(chunk.len());
            file.read_exact(&mut chunk[..now]).ok()?;
            hasher.update(&chunk[..now]);
            take(&chunk[..now]);
            left -= now;
        }
        let mut hash = [0; 32];
        file.read_exact(&mut hash).ok()?;
        (hasher.finalize().as_bytes() == &hash).then_some(())
    }

    fn path(&self, graph: &Graph, slice: &Slice) -> PathBuf {
        let mut key = blake3::Hasher::new();
        key.update(&graph.weight(slice.weight).hash);
        key.update(slice.region.to_string().as_bytes());
        self.dir.join(format!("{}.slice", key.finalize().to_hex()))
    }
}

fn slice_bytes(graph: &Graph, slice: &Slice) -> usize {
    slice.region.volume() * graph.weight(slice.weight).dtype.size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Region;
    use crate::graph::{Dtype, Weight};
    use crate::ids::WeightId;

    #[test]
    fn a_changed_or_short_file_is_as_if_it_were_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("new")).unwrap();
        let weight = Weight {
            name: "w".into(),
            shape: vec![3],
            dtype: Dtype::F32,
            hash: [7; 32],
        };
        let graph = Graph {
            name: String::new(),
            opset: 13,
            nodes: vec![],
            activations: vec![],
            inputs: vec![],
            outputs: vec![],
            weights: vec![weight],
            folded: vec![],
        };
        let region = Region::whole(&[3]);
        let slice = Slice {
            weight: WeightId(0),
            region,
        };
        let bytes: Vec<u8> = (0..12).collect();
        assert!(!cache.has(&graph, &slice));
        cache.put(&graph, &slice, &bytes).unwrap();
        assert_eq!(cache.get(&graph, &slice), Some(bytes.clone()));
        let path = cache.path(&graph, &slice);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(!cache.has(&graph, &slice), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(!cache.has(&graph, &slice), "cut at {at}");
        }
    }
}
