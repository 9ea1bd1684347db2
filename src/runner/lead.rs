//! What only rank 0 reads and opens: the user's spec, model and inputs, the folder of outputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::account::Subject;
use super::collect::Collecting;
use super::failure::{Failure, WRONG_INPUT};
use super::job::Request;
use super::predict::{read_platform, Predicted};
use super::setup::Bundle;
use crate::engine::tract::load_file;
use crate::frames::{InputShape, Labels, Sink, Source, Truth, TOP_K};
use crate::graph::Graph;
use crate::model::folder::Folder;
use crate::model::read::{self, read};
use crate::model::Weights;
use crate::platform::Platform;
use crate::spec::{yaml, FramesSpec, InputSpec, Spec};

/// Rank 0's files, read and checked.
pub struct Lead {
    bundle: Vec<u8>,
    spec: Spec,
    spec_hash: [u8; 32],
    pub(super) graph: Graph,
    model: Option<Arc<read::Source>>,
    /// The model's file; there is none beside a split folder on boards.
    model_path: PathBuf,
    pub(super) frames: Source,
    labels: Option<Labels>,
    truth: Option<Truth>,
    /// The platform file's content, until the run is predicted by it.
    pub(super) platform: Option<Platform>,
    pub(super) predicted: Option<Predicted>,
}

/// Reads the spec, the model and the inputs.
///
/// # Errors
/// `Failure` of the user's: one line with the file and the place.
pub fn prepare(request: &Request) -> Result<Lead, Failure> {
    let wrong = |error: anyhow::Error| Failure::input(&error);
    let (spec_file, spec_text, spec) = read_spec(&request.spec)?;
    if let Some(folder) = &request.output {
        // It is opened after set-up, and nobody should wait so long to learn this.
        Sink::check(folder).map_err(wrong)?;
    }
    if let Some(file) = &request.trace {
        // Likewise: it is written when all is over.
        check_file(file)?;
    }
    let platform = request.platform.as_deref().map(read_platform);
    let platform = platform.transpose()?;
    let base = folder_of(&request.spec);
    let model_path = base.join(&spec.model);
    let from_folder = base.join("rank-0").join("rank.json").is_file();
    let (graph, model) = match from_folder {
        true => {
            let folder = Folder::open(&base, crate::ids::Rank(0)).map_err(wrong)?;
            (folder.graph().clone(), None)
        }
        false => {
            let shapes: Vec<_> = request.shapes.iter().chain(&spec.shapes).cloned().collect();
            let source = read(&model_path, &shapes).map_err(wrong)?;
            (source.graph.clone(), Some(Arc::new(source)))
        }
    };
    let input = input_of(request, &spec, &spec_file)?;
    let here = PathBuf::from(".");
    let from = if request.input.is_some() {
        &here
    } else {
        &base
    };
    let frames = Source::open(&input, from, &shapes_of(&graph, &graph.inputs)).map_err(wrong)?;
    let labels = spec
        .labels
        .as_ref()
        .map(|path| Labels::read(&base.join(path)));
    let labels = labels.transpose().map_err(wrong)?;
    let truth = match (&input.truth, request.input.is_some()) {
        (Some(path), false) => Some(Truth::read(&base.join(path), labels.as_ref()).map_err(wrong)?),
        _ => None,
    };
    let spec_hash = *blake3::hash(spec_text.as_bytes()).as_bytes();
    let bundle = Bundle {
        spec_file,
        spec_text,
        graph: graph.clone(),
        from_folder,
    }
    .encode();
    Ok(Lead {
        bundle,
        spec,
        spec_hash,
        graph,
        model,
        model_path,
        frames,
        labels,
        truth,
        platform,
        predicted: None,
    })
}

/// A spec file: its shown name, its text, and what it says.
///
/// # Errors
/// `Failure` of the user's: one line with the file and the place.
pub fn read_spec(path: &Path) -> Result<(String, String, Spec), Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(WRONG_INPUT, format!("{shown}: {error}")))?;
    let spec =
        yaml::parse(&shown, &text).map_err(|error| Failure::new(WRONG_INPUT, error.to_string()))?;
    Ok((shown, text, spec))
}

/// Whether a file can be made there, as far as that can be seen.
///
/// # Errors
/// `Failure` of the user's: one line.
fn check_file(path: &Path) -> Result<(), Failure> {
    if folder_of(path).is_dir() && !path.is_dir() {
        return Ok(());
    }
    let line = format!(
        "{}: expected a file in a folder that is there",
        path.display()
    );
    Err(Failure::new(WRONG_INPUT, line))
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Names, types and shapes of activations.
pub fn shapes_of(graph: &Graph, ids: &[crate::ids::ActivationId]) -> Vec<InputShape> {
    let shape = |&id: &crate::ids::ActivationId| {
        let activation = graph.activation(id);
        InputShape {
            name: activation.name.clone(),
            dtype: activation.dtype,
            shape: activation.shape.clone(),
        }
    };
    ids.iter().map(shape).collect()
}

/// The spec's input, with `--input` and `--frames` on top.
fn input_of(request: &Request, spec: &Spec, file: &str) -> Result<InputSpec, Failure> {
    let mut input = match (&request.input, &spec.input) {
        (Some(path), given) => InputSpec {
            frames: FramesSpec::Path(path.clone()),
            image: given
                .as_ref()
                .map(|input| input.image.clone())
                .unwrap_or_default(),
            truth: None,
        },
        (None, Some(given)) => given.clone(),
        (None, None) => {
            let line = format!("{file}: input: missing, and no --input was given");
            return Err(Failure::new(WRONG_INPUT, line));
        }
    };
    if let (FramesSpec::Synthetic { count, .. }, Some(frames)) = (&mut input.frames, request.frames)
    {
        *count = frames;
    }
    Ok(input)
}

impl Lead {
    /// The bundle for the other ranks, once.
    pub fn take_bundle(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bundle)
    }

    /// What runs; the plan's hash is not known yet.
    pub fn subject(&self) -> Subject {
        let graph = postcard::to_stdvec(&self.graph).expect("plain data serialises");
        Subject {
            model: self.spec.model.display().to_string(),
            spec_hash: self.spec_hash,
            model_hash: *blake3::hash(&graph).as_bytes(),
            plan_hash: [0; 32],
            input: self.frames.describe(),
            threads: self.spec.run.threads,
            wire: self.spec.run.wire.clone(),
            predicted: self.predicted.clone(),
        }
    }

    /// Where the weights are.
    ///
    /// # Errors
    /// A defect where the job runs from folders.
    pub fn weights(&self) -> Result<Arc<dyn Weights + Send + Sync>, Failure> {
        match &self.model {
            Some(model) => Ok(Arc::clone(model) as _),
            None => Err(Failure::new(super::failure::DEFECT, "no model was read")),
        }
    }

    /// Opens what outputs are written to and compared with.
    ///
    /// # Errors
    /// `Failure` of the user's: the folder or the model's file.
    pub fn open_outputs(&self, request: &Request) -> Result<Collecting, Failure> {
        let wrong = |error: anyhow::Error| Failure::input(&error);
        let inputs: Vec<_> = shapes_of(&self.graph, &self.graph.inputs)
            .into_iter()
            .map(|input| (input.name, input.dtype, input.shape))
            .collect();
        let reference = match request.verify {
            true => Some(load_file(&self.model_path, &inputs, 1).map_err(wrong)?),
            false => None,
        };
        let outputs = shapes_of(&self.graph, &self.graph.outputs);
        let create = |folder| Sink::create(folder, &outputs, self.labels.clone(), TOP_K);
        let sink = request.output.as_deref().map(create).transpose();
        Ok(Collecting {
            sink: sink.map_err(wrong)?,
            truth: self.truth.clone(),
            reference,
            quiet: request.quiet,
            total: Some(self.frames.count().min(request.frames.unwrap_or(u64::MAX))),
        })
    }
}
