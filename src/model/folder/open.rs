//! Reading one rank's own folder. What lies in it may have been cut short, mixed up or changed:
//! every size and hash is checked, and what is wrong comes back as one line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, ensure, Context, Result};
use prost::Message;
use serde::de::DeserializeOwned;
use tract_onnx::pb;

use super::{folder_name, hash, piece_name, FileEntry, Manifest, SliceEntry, FORMAT};
use super::{GRAPH, MANIFEST, PLAN, WEIGHTS};
use crate::graph::{check_graph, Dtype, Graph, SubModel, Value};
use crate::ids::{PieceId, Rank};
use crate::model::cut::title;
use crate::model::onnx;
use crate::plan::Plan;

/// A list of files is never longer than this.
const MAX_MANIFEST: u64 = 256 << 20;

/// The folder of one rank.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    rank: Rank,
    graph: Graph,
    plan: Plan,
    files: BTreeMap<String, FileEntry>,
    /// By offset.
    slices: BTreeMap<u64, SliceEntry>,
}

impl Folder {
    /// Opens `dir/rank-<rank>`, without reading weights.
    ///
    /// # Errors
    /// One line that names the file, and says to split again where that helps.
    pub fn open(dir: &Path, rank: Rank) -> Result<Self> {
        let path = dir.join(folder_name(rank.index()));
        let manifest = manifest(&path)?;
        check_manifest(&path, &manifest, rank)?;
        let files = manifest
            .files
            .into_iter()
            .map(|file| (file.name.clone(), file));
        let slices = manifest
            .weights
            .slices
            .into_iter()
            .map(|slice| (slice.offset, slice));
        let (files, slices) = (files.collect(), slices.collect());
        let graph: Graph = decode(&path, &files, GRAPH)?;
        let context = || path.join(GRAPH).display().to_string();
        check_graph(&graph).with_context(context)?;
        let plan: Plan = decode(&path, &files, PLAN)?;
        let found = blake3::Hash::from(plan.hash()).to_hex().to_string();
        ensure!(
            found == manifest.plan_blake3 && plan.ranks.len() == manifest.ranks as usize,
            "{}: it is not the plan that {MANIFEST} names; split again",
            path.join(PLAN).display()
        );
        let size = length(&path.join(WEIGHTS))?;
        ensure!(
            size == manifest.weights.bytes,
            "{}: {size} bytes, {MANIFEST} says {}; split again",
            path.join(WEIGHTS).display(),
            manifest.weights.bytes
        );
        Ok(Self {
            path,
            rank,
            graph,
            plan,
            files,
            slices,
        })
    }

    /// The model, as it was split.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan, as it was split. It is not checked: compare its hash with that of a plan that is.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads one of the rank's sub-models with its weights.
    ///
    /// # Errors
    /// One line that names the file and the weight.
    pub fn sub_model(&self, piece: PieceId) -> Result<SubModel> {
        let file = piece_name(piece.index());
        let bytes = read(&self.path, &self.files, &file)?;
        let path = self.path.join(&file);
        let context = || path.display().to_string();
        let mut model = pb::ModelProto::decode(&bytes[..]).with_context(context)?;
        let graph = model
            .graph
            .as_mut()
            .context("no graph in it")
            .with_context(context)?;
        let weights_path = self.path.join(WEIGHTS);
        let mut source =
            File::open(&weights_path).with_context(|| weights_path.display().to_string())?;
        let mut weights = vec![];
        for tensor in &mut graph.initializer {
            if tensor.data_location != Some(pb::tensor_proto::DataLocation::External as i32) {
                continue;
            }
            let value = self
                .weight(&mut source, tensor)
                .with_context(|| format!("{}: weight {}", weights_path.display(), tensor.name))?;
            let length = value.bytes.len() as u64;
            tensor.external_data = onnx::external_data(&tensor.name, (0, length));
            weights.push((tensor.name.clone(), Arc::new(value)));
        }
        Ok(SubModel {
            name: title(&self.graph, &self.plan, self.rank, piece)?,
            onnx: model.encode_to_vec(),
            weights,
        })
    }

    fn weight(&self, source: &mut File, tensor: &pb::TensorProto) -> Result<Value> {
        let number = |key: &str| -> Result<u64> {
            let entry = tensor.external_data.iter().find(|entry| entry.key == key);
            let entry = entry.with_context(|| format!("it has no {key}"))?;
            Ok(entry.value.parse()?)
        };
        let (offset, length) = (number("offset")?, number("length")?);
        let known = self
            .slices
            .get(&offset)
            .filter(|slice| slice.bytes == length);
        let known =
            known.with_context(|| format!("{MANIFEST} has no {length} bytes at {offset}"))?;
        let dtype = Dtype::from_onnx(tensor.data_type);
        let dtype = dtype.with_context(|| format!("type {}", tensor.data_type))?;
        let axes = tensor.dims.iter().map(|&axis| usize::try_from(axis).ok());
        let shape: Option<Vec<usize>> = axes.collect();
        let shape = shape.with_context(|| format!("shape {:?}", tensor.dims))?;
        let bytes = shape
            .iter()
            .try_fold(dtype.size(), |n, &axis| n.checked_mul(axis));
        ensure!(
            bytes.map(|n| n as u64) == Some(length),
            "{length} bytes for {dtype} {shape:?}"
        );
        // The file has been seen to be long enough, which bounds the memory.
        let mut bytes = vec![0; length as usize];
        source.seek(SeekFrom::Start(offset))?;
        source.read_exact(&mut bytes)?;
        ensure!(
            hash(&bytes) == known.blake3,
            "its bytes are not those that were split; split again"
        );
        Ok(Value {
            dtype,
            shape,
            bytes,
        })
    }
}

fn manifest(path: &Path) -> Result<Manifest> {
    let file = path.join(MANIFEST);
    ensure!(
        path.is_dir(),
        "{}: there is no such folder; autodice split writes it",
        path.display()
    );
    ensure!(
        file.is_file(),
        "{}: it is missing, so the folder was not written to its end; split again",
        file.display()
    );
    let size = length(&file)?;
    ensure!(
        size <= MAX_MANIFEST,
        "{}: {size} bytes are too many",
        file.display()
    );
    let context = || file.display().to_string();
    let bytes = fs::read(&file).with_context(context)?;
    serde_json::from_slice(&bytes).with_context(context)
}

fn check_manifest(path: &Path, manifest: &Manifest, rank: Rank) -> Result<()> {
    let file = path.join(MANIFEST);
    let file = file.display();
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        manifest.format == FORMAT && manifest.version == version,
        "{file}: split by autodice {} (form {}), this is {version} (form {FORMAT}); split again",
        manifest.version,
        manifest.format
    );
    ensure!(
        manifest.rank == rank.0,
        "{file}: the folder is rank {}'s, not rank {rank}'s",
        manifest.rank
    );
    ensure!(
        manifest.weights.name == WEIGHTS,
        "{file}: the weights' file is not {WEIGHTS}"
    );
    for slice in &manifest.weights.slices {
        let end = slice.offset.checked_add(slice.bytes);
        if end.is_none_or(|end| end > manifest.weights.bytes) {
            bail!(
                "{file}: a slice at {} lies outside of {WEIGHTS}",
                slice.offset
            );
        }
    }
    Ok(())
}

fn length(path: &Path) -> Result<u64> {
    let data = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(data.len())
}

/// A file that the manifest lists, as it lists it.
fn read(path: &Path, files: &BTreeMap<String, FileEntry>, name: &str) -> Result<Vec<u8>> {
    let file = path.join(name);
    let known = files.get(name);
    let known =
        known.with_context(|| format!("{}: {MANIFEST} has no such file", file.display()))?;
    let size = length(&file)?;
    ensure!(
        size == known.bytes,
        "{}: {size} bytes, {MANIFEST} says {}; split again",
        file.display(),
        known.bytes
    );
    let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
    ensure!(
        hash(&bytes) == known.blake3,
        "{}: its bytes are not those that were split; split again",
        file.display()
    );
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(
    path: &Path,
    files: &BTreeMap<String, FileEntry>,
    name: &str,
) -> Result<T> {
    let bytes = read(path, files, name)?;
    postcard::from_bytes(&bytes).with_context(|| path.join(name).display().to_string())
}
