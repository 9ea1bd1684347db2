//! Writing the folders of all ranks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use prost::Message;
use tract_onnx::pb;

use super::{
    at, folder_name, hash, is_numbered, piece_name, FileEntry, Manifest, SliceEntry, WeightsEntry,
    FORMAT, GRAPH, MANIFEST, PLAN, SPEC, WEIGHTS,
};
use crate::geometry::Region;
use crate::graph::Graph;
use crate::ids::{PieceId, Rank, WeightId};
use crate::model::cut::{check_slice, draft, Draft};
use crate::model::{onnx, Weights};
use crate::plan::Plan;

/// Slices start at multiples of this, so that they can be mapped one by one.
const PAGE: u64 = 4096;
/// The list of files before it is whole.
const UNFINISHED: &str = "rank.json.part";

/// Writes `dir` for the job of `spec_text`: the spec and a folder for each rank of the plan. A
/// folder that has anything in it is refused, unless `replace` says that an earlier split in it
/// may go; files that no split wrote are never touched.
///
/// # Errors
/// One line that names the file or the piece.
pub fn write(
    dir: &Path,
    spec_text: &str,
    graph: &Graph,
    plan: &Plan,
    weights: &dyn Weights,
    replace: bool,
) -> Result<()> {
    prepare(dir, replace)?;
    for rank in 0..plan.ranks.len() {
        write_rank(
            &dir.join(folder_name(rank)),
            graph,
            plan,
            Rank::new(rank),
            weights,
        )?;
    }
    let path = dir.join(SPEC);
    at(&path, fs::write(&path, spec_text))
}

/// Makes the folder, and clears an earlier split out of it.
fn prepare(dir: &Path, replace: bool) -> Result<()> {
    at(dir, fs::create_dir_all(dir))?;
    let mut earlier = vec![];
    for entry in at(dir, fs::read_dir(dir))? {
        let entry = at(dir, entry)?;
        ensure!(
            replace,
            "{}: the folder is not empty (it has {}); name another one, or ask to replace it",
            dir.display(),
            entry.file_name().to_string_lossy()
        );
        let name = entry.file_name();
        let is_folder = at(dir, entry.file_type())?.is_dir();
        if is_folder && is_numbered(&name.to_string_lossy(), "rank-", "") {
            earlier.push(entry.path());
        }
    }
    remove(&dir.join(SPEC))?;
    for folder in earlier {
        // Without its list of files a folder counts as unfinished, also when this is cut short.
        remove(&folder.join(MANIFEST))?;
        for entry in at(&folder, fs::read_dir(&folder))? {
            let entry = at(&folder, entry)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = [GRAPH, PLAN, WEIGHTS, UNFINISHED].contains(&&name[..]);
            ensure!(
                ours || is_numbered(&name, "piece-", ".onnx"),
                "{}: no split wrote this; move it away to replace the folder",
                entry.path().display()
            );
            remove(&entry.path())?;
        }
        at(&folder, fs::remove_dir(&folder))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => at(path, Err(error)),
        _ => Ok(()),
    }
}

fn write_rank(
    dir: &Path,
    graph: &Graph,
    plan: &Plan,
    rank: Rank,
    weights: &dyn Weights,
) -> Result<()> {
    at(dir, fs::create_dir(dir))?;
    let pieces = 0..plan.ranks[rank.index()].pieces.len();
    let drafts = pieces.map(|piece| draft(graph, plan, rank, PieceId::new(piece)));
    let drafts: Vec<Draft> = drafts.collect::<Result<_>>()?;
    let mut layout = Layout::default();
    for draft in &drafts {
        for slice in &draft.weights {
            layout.place(graph, slice.weight, &slice.region);
        }
    }
    let stored = layout.write(&dir.join(WEIGHTS), graph, weights)?;
    let mut files = vec![];
    for (piece, draft) in drafts.into_iter().enumerate() {
        let model = layout.locate(draft)?;
        files.push(store(dir, &piece_name(piece), &model.encode_to_vec())?);
    }
    files.push(store(dir, GRAPH, &postcard::to_stdvec(graph)?)?);
    files.push(store(dir, PLAN, &postcard::to_stdvec(plan)?)?);
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        rank: rank.0,
        ranks: plan.ranks.len() as u32,
        plan_blake3: blake3::Hash::from(plan.hash()).to_hex().to_string(),
        files,
        weights: stored,
    };
    let text = serde_json::to_string_pretty(&manifest)?;
    // Written last and moved into place: where it is, everything else is whole.
    let (path, draft) = (dir.join(MANIFEST), dir.join(UNFINISHED));
    at(&draft, fs::write(&draft, text))?;
    at(&path, fs::rename(&draft, &path))
}

fn store(dir: &Path, name: &str, bytes: &[u8]) -> Result<FileEntry> {
    let path = dir.join(name);
    at(&path, fs::write(&path, bytes))?;
    Ok(FileEntry {
        name: name.into(),
        bytes: bytes.len() as u64,
        blake3: hash(bytes),
    })
}

/// Where the slices of one rank lie in its file.
#[derive(Default)]
struct Layout {
    slices: Vec<(WeightId, Region, u64, u64)>,
    known: HashMap<(WeightId, Region), usize>,
    end: u64,
}

impl Layout {
    fn place(&mut self, graph: &Graph, weight: WeightId, region: &Region) {
        let key = (weight, region.clone());
        if self.known.contains_key(&key) {
            return;
        }
        let offset = self.end.next_multiple_of(PAGE);
        let bytes = (region.volume() * graph.weight(weight).dtype.size()) as u64;
        self.end = offset + bytes;
        self.known.insert(key, self.slices.len());
        self.slices.push((weight, region.clone(), offset, bytes));
    }

    /// Writes the slices one after the other; one at a time is in memory.
    fn write(&self, path: &Path, graph: &Graph, weights: &dyn Weights) -> Result<WeightsEntry> {
        let mut file = BufWriter::new(at(path, File::create(path))?);
        let (mut slices, mut end) = (vec![], 0);
        for (weight, region, offset, bytes) in &self.slices {
            let value = weights.slice(*weight, region)?;
            check_slice(graph, *weight, region, &value)?;
            let gap = vec![0; (offset - end) as usize];
            at(path, file.write_all(&gap))?;
            at(path, file.write_all(&value.bytes))?;
            end = offset + bytes;
            slices.push(SliceEntry {
                offset: *offset,
                bytes: *bytes,
                blake3: hash(&value.bytes),
            });
        }
        at(path, file.flush())?;
        Ok(WeightsEntry {
            name: WEIGHTS.into(),
            bytes: end,
            slices,
        })
    }

    /// The draft's model with its weights where they lie in the file.
    fn locate(&self, draft: Draft) -> Result<pb::ModelProto> {
        let mut model = draft.model;
        let graph = model.graph.as_mut().context("a draft has a graph")?;
        for slice in draft.weights {
            let index = self.known.get(&(slice.weight, slice.region));
            let tensor = graph
                .initializer
                .iter_mut()
                .find(|tensor| tensor.name == slice.name);
            let (Some(&index), Some(tensor)) = (index, tensor) else {
                bail!("{}: weight {} was not placed", draft.name, slice.name);
            };
            let (_, _, offset, bytes) = self.slices[index];
            tensor.external_data = onnx::external_data(WEIGHTS, (offset, bytes));
        }
        Ok(model)
    }
}
