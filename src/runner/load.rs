//! Loading a rank's pieces: from the model's file, from messages, or from its own folder.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::Arc;

use super::deploy::{until, Sender, Taker};
use super::failure::Failure;
use super::frame::Program;
use super::job::{End, Place};
use super::setup::{join, spawn, verdict};
use crate::comm::{Link, Mailbox};
use crate::engine::{Engine, Executable};
use crate::graph::{SubModel, Value};
use crate::ids::PieceId;
use crate::model::cut::cut_with;
use crate::model::folder::Folder;
use crate::model::Weights;

/// Where a rank's weights come from.
pub enum Origin {
    /// Rank 0 of a deployed job: the model's file.
    Model(Arc<dyn Weights + Send + Sync>),
    /// Another rank of a deployed job.
    Messages,
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
    let (mut sender, mut taker, mut values) = (None, None, None);
    match &origin {
        Origin::Model(weights) => {
            sender = Some(Sender::start(Arc::clone(program), Arc::clone(weights)));
        }
        Origin::Messages => {
            let (started, from_main) = Taker::start(Arc::clone(program));
            (taker, values) = (Some(started), Some(from_main));
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

fn load_pieces(
    program: &Program,
    origin: &Origin,
    values: Option<&Receiver<Value>>,
    engine: &dyn Engine,
) -> Result<Pieces, Failure> {
    let folder = match origin {
        Origin::Folder(dir) => Some(open_folder(dir, program)?),
        _ => None,
    };
    let count = program.own().pieces.len();
    let load = |index: usize| {
        let piece = PieceId::new(index);
        let sub_model = match (&folder, origin, values) {
            (Some(folder), ..) => folder.sub_model(piece),
            (_, Origin::Model(weights), _) => cut(program, piece, |weight, region| {
                weights.slice(weight, region)
            }),
            (_, _, Some(values)) => cut(program, piece, |_, _| {
                values
                    .recv()
                    .map_err(|_| anyhow::anyhow!("the weights stopped coming"))
            }),
            _ => Err(anyhow::anyhow!("no weights")),
        };
        sub_model.and_then(|sub_model| engine.load(sub_model))
    };
    let loaded: anyhow::Result<Pieces> = (0..count).map(load).collect();
    loaded.map_err(|error| Failure::input(&error))
}

fn cut(
    program: &Program,
    piece: PieceId,
    mut take: impl FnMut(crate::ids::WeightId, &crate::geometry::Region) -> anyhow::Result<Value>,
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
