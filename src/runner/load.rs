//! Loading a rank's pieces: from the model's file, from messages, or from its own folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::Arc;

use anyhow::{ensure, Context};

use super::cache::Cache;
use super::deploy::{slices, until, Sender, Slice, Taker};
use super::failure::{Failure, DEFECT};
use super::frame::Program;
use super::job::{End, Place};
use super::setup::{aside, join, pump, spawn, verdict, NOTE_LIMIT};
use crate::comm::collective::gather_bytes;
use crate::comm::{Link, Mailbox};
use crate::engine::{Engine, Executable};
use crate::geometry::Region;
use crate::graph::{SubModel, Value};
use crate::ids::{PieceId, Rank, WeightId};
use crate::model::cut::cut_with;
use crate::model::folder::Folder;
use crate::model::Weights;
use crate::plan::{loading, Loading, SliceKey};

/// Where a rank's weights come from.
pub enum Origin {
    /// Rank 0 of a deployed job: the model's file.
    Model(Arc<dyn Weights + Send + Sync>),
    /// Another rank of a deployed job, which may keep slices from run to run.
    Messages(Option<Cache>),
    /// The rank's own folder, in this one.
    Folder(PathBuf),
}

/// The pieces of a rank, in the plan's order.
pub type Pieces = Vec<Box<dyn Executable>>;

/// Loads this rank's pieces while rank 0 sends the others theirs.
///
/// # Errors
/// `End`: a rank could not load its pieces.
pub fn load(
    link: &mut dyn Link,
    place: &Place<'_>,
    program: &Arc<Program>,
    origin: Origin,
    engine: impl FnOnce() -> anyhow::Result<Arc<dyn Engine>> + Send + 'static,
    bind: impl FnOnce() + Send + 'static,
) -> Result<Pieces, End> {
    let wanted = wanted(link, program, &origin)?;
    let all_wanted = exchange(link, place, program, &wanted)?;
    let (mut sender, mut taker, mut values) = (None, None, None);
    match &origin {
        Origin::Model(weights) => {
            let (program, weights) = (Arc::clone(program), Arc::clone(weights));
            sender = Some(Sender::start(program, weights, all_wanted));
        }
        Origin::Messages(_) => {
            let (started, from_main) = Taker::start(Arc::clone(program), &wanted);
            (taker, values) = (Some(started), Some((from_main, wanted)));
        }
        Origin::Folder(_) => {}
    }
    let loader = {
        let program = Arc::clone(program);
        spawn(move || {
            bind();
            let engine = engine().map_err(|error| Failure::input(&error))?;
            load_pieces(&program, &origin, values.as_ref(), &*engine)
        })
    };
    let mut mail = Mailbox::new(&mut *link);
    let moved = until(&mut mail, |mail| {
        let sent = sender
            .as_mut()
            .map_or(Ok(true), |sender| sender.step(mail))?;
        let taken = taker.as_mut().map_or(Ok(true), |taker| taker.step(mail))?;
        Ok(sent && taken && loader.is_finished())
    });
    moved?;
    verdict(link, place, join(loader))
}

/// Which of its slices this rank has sent to it: those that its cache lacks.
fn wanted(link: &mut dyn Link, program: &Arc<Program>, origin: &Origin) -> Result<Vec<bool>, End> {
    let own = slices(program, program.rank);
    let cache = match origin {
        Origin::Messages(Some(cache)) => cache.clone(),
        Origin::Messages(None) => return Ok(vec![true; own.len()]),
        Origin::Model(_) | Origin::Folder(_) => return Ok(vec![false; own.len()]),
    };
    let program = Arc::clone(program);
    let lacks = move |slice: &Slice| !cache.has(&program.graph, slice);
    Ok(aside(link, move || Ok(own.iter().map(lacks).collect()))??)
}

/// Rank 0 learns what every rank wants; the others learn nothing.
fn exchange(
    link: &mut dyn Link,
    place: &Place<'_>,
    program: &Program,
    wanted: &[bool],
) -> Result<Vec<Vec<bool>>, End> {
    let bytes = postcard::to_stdvec(wanted).expect("plain data serialises");
    let gathered = {
        let mut mail = Mailbox::new(&mut *link);
        gather_bytes(&mut mail, bytes, NOTE_LIMIT, &mut pump())?
    };
    let read = |(rank, bytes): (usize, &Vec<u8>)| -> Result<Vec<bool>, Failure> {
        let list: Option<Vec<bool>> = postcard::from_bytes(bytes).ok();
        let count = slices(program, Rank::new(rank)).len();
        list.filter(|list| list.len() == count).ok_or_else(|| {
            Failure::new(
                DEFECT,
                format!("rank {rank} wants other slices than the plan has"),
            )
        })
    };
    let all = gathered.iter().enumerate().map(read).collect();
    verdict(link, place, all)
}

fn load_pieces(
    program: &Program,
    origin: &Origin,
    values: Option<&(Receiver<Value>, Vec<bool>)>,
    engine: &dyn Engine,
) -> Result<Pieces, Failure> {
    let folder = match origin {
        Origin::Folder(dir) => Some(open_folder(dir, program)?),
        _ => None,
    };
    let graph = &program.graph;
    let order = loading(graph, &program.plan, program.rank);
    let order = order.expect("check has accepted the plan");
    let mut raw = RawSlices::new(&order);
    let mut arriving = Arriving::new(program, origin, values);
    let mut load = |piece: PieceId| {
        let sub_model = match (&folder, origin) {
            (Some(folder), _) => folder.sub_model(piece),
            (None, Origin::Model(weights)) => cut(program, piece, |weight, region| {
                raw.take(weight, region, || weights.slice(weight, region))
            }),
            (None, _) => cut(program, piece, |weight, region| {
                raw.take(weight, region, || arriving.next(weight, region))
            }),
        };
        engine.load(sub_model?)
    };
    let mut pieces: Vec<_> = order.pieces.iter().map(|_| None).collect();
    for &piece in &order.pieces {
        let loaded = load(piece).map_err(|error| Failure::input(&error))?;
        pieces[piece.index()] = Some(loaded);
    }
    let pieces = pieces
        .into_iter()
        .map(|piece| piece.expect("every piece is in the order"));
    Ok(pieces.collect())
}

/// The elements of the slices that a piece still waits for, each once.
struct RawSlices<'a> {
    /// By slice: how often it is still asked for, and its elements where they have come.
    slices: HashMap<&'a SliceKey, (usize, Option<Arc<Value>>)>,
}

impl<'a> RawSlices<'a> {
    fn new(order: &'a Loading) -> Self {
        let uses = order.uses.iter().map(|&uses| (uses, None));
        Self {
            slices: order.slices.iter().zip(uses).collect(),
        }
    }

    /// A slice's elements, from `fetch` the first time; whoever asks last has them alone.
    fn take(
        &mut self,
        weight: WeightId,
        region: &Region,
        fetch: impl FnOnce() -> anyhow::Result<Value>,
    ) -> anyhow::Result<Arc<Value>> {
        let slice = self.slices.get_mut(&(weight, region.clone()));
        let (left, held) = slice.context("a slice that is not planned")?;
        *left = left.checked_sub(1).context("a slice more than planned")?;
        let value = match held.take() {
            Some(value) => value,
            None => Arc::new(fetch()?),
        };
        if *left > 0 {
            *held = Some(Arc::clone(&value));
        }
        Ok(value)
    }
}

/// A rank's slices in order: from messages, or from its cache where it wants none.
struct Arriving<'a> {
    program: &'a Program,
    cache: Option<&'a Cache>,
    slices: std::vec::IntoIter<Slice>,
    values: Option<&'a (Receiver<Value>, Vec<bool>)>,
    index: usize,
}

impl<'a> Arriving<'a> {
    fn new(
        program: &'a Program,
        origin: &'a Origin,
        values: Option<&'a (Receiver<Value>, Vec<bool>)>,
    ) -> Self {
        let cache = match origin {
            Origin::Messages(cache) => cache.as_ref(),
            _ => None,
        };
        let slices = slices(program, program.rank).into_iter();
        Self {
            program,
            cache,
            slices,
            values,
            index: 0,
        }
    }

    /// The next slice, which must be this one.
    fn next(&mut self, weight: WeightId, region: &Region) -> anyhow::Result<Value> {
        let slice = self.slices.next().context("a slice more than planned")?;
        ensure!(
            slice.weight == weight && slice.region == *region,
            "slices arrive in another order than they are loaded in"
        );
        let (values, wanted) = self.values.context("no messages to wait for")?;
        let graph = &self.program.graph;
        let index = self.index;
        self.index += 1;
        if wanted[index] {
            let value = values.recv().context("the weights stopped coming")?;
            if let Some(cache) = self.cache {
                cache.put(graph, &slice, &value.bytes)?;
            }
            return Ok(value);
        }
        let cached = self.cache.and_then(|cache| cache.get(graph, &slice));
        let bytes = cached.context("a cached slice has gone since the start: start again")?;
        let dtype = graph.weight(slice.weight).dtype;
        Ok(Value {
            dtype,
            shape: slice.region.shape(),
            bytes,
        })
    }
}

fn cut(
    program: &Program,
    piece: PieceId,
    mut take: impl FnMut(WeightId, &Region) -> anyhow::Result<Arc<Value>>,
) -> anyhow::Result<SubModel> {
    cut_with(
        &program.graph,
        &program.plan,
        program.rank,
        piece,
        &mut take,
    )
}

fn open_folder(dir: &Path, program: &Program) -> Result<Folder, Failure> {
    let folder = Folder::open(dir, program.rank).map_err(|error| Failure::input(&error))?;
    if folder.plan().hash() != program.plan.hash() {
        let line = format!(
            "{}: rank-{} was split for another plan than this spec's: split again",
            dir.display(),
            program.rank
        );
        return Err(Failure::new(super::failure::WRONG_INPUT, line));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
