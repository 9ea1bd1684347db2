//! Frames, one by one, from wherever a spec's `input:` says.

use std::path::{Path, PathBuf};
use std::vec;

use anyhow::{bail, ensure, Context, Result};

use super::array::Arrays;
use super::files::{self, Kind};
use super::picture::Pictures;
use super::{proto, synthetic, Frame, InputShape, Item};
use crate::graph::Value;
use crate::spec::{FramesSpec, InputSpec};

/// A stream of frames. Memory: one frame at a time, and one image while it is decoded.
pub struct Source {
    inputs: Vec<InputShape>,
    origin: Origin,
    count: u64,
    description: String,
}

enum Origin {
    Files {
        files: vec::IntoIter<PathBuf>,
        pictures: Option<Box<Pictures>>,
        open: Option<Arrays>,
    },
    Synthetic {
        seed: u64,
        next: u64,
    },
}

impl Source {
    /// Opens what `input` names, `base` being the folder that its path is relative to, for a
    /// model with these inputs (in graph order).
    ///
    /// Element types other than the model's are taken where every value fits exactly. Headers of
    /// arrays are read here, and a `.pb` named by itself; content comes with `next`.
    ///
    /// # Errors
    /// One line that names the path, what is wrong and what the model takes: nothing there, a
    /// pattern without a match, an array or tensor of another shape or type, an `image:` that
    /// does not fit the model.
    pub fn open(input: &InputSpec, base: &Path, inputs: &[InputShape]) -> Result<Self> {
        ensure!(!inputs.is_empty(), "the model has no input");
        for input in inputs {
            let elements = input.elements();
            elements.with_context(|| format!("no frame fits: {}", input.describe()))?;
        }
        match &input.frames {
            FramesSpec::Synthetic { count, seed } => {
                inputs.iter().try_for_each(synthetic::check)?;
                Ok(Self {
                    inputs: inputs.to_vec(),
                    origin: Origin::Synthetic {
                        seed: *seed,
                        next: 0,
                    },
                    count: *count,
                    description: format!("{count} synthetic frames, seed {seed}"),
                })
            }
            FramesSpec::Path(path) => {
                let open = || Self::open_files(input, &base.join(path), inputs);
                let mut source = open().with_context(|| base.join(path).display().to_string())?;
                source.description = format!("{} frames from {}", source.count, path.display());
                Ok(source)
            }
        }
    }

    fn open_files(input: &InputSpec, path: &Path, inputs: &[InputShape]) -> Result<Self> {
        let files = files::find(path)?;
        let mut count = 0;
        let mut pictures = None;
        for file in &files {
            let mut open = || -> Result<u64> {
                Ok(match Kind::of(file) {
                    Kind::Npy => Arrays::open_npy(file, String::new(), inputs)?.frames(),
                    Kind::Npz => Arrays::open_npz(file, String::new(), inputs)?.frames(),
                    Kind::Tensor if files.len() == 1 => {
                        proto::read(file, single(inputs)?)?;
                        1
                    }
                    Kind::Tensor => single(inputs).map(|_| 1)?,
                    Kind::Image if pictures.is_some() => 1,
                    Kind::Image => {
                        let new = Pictures::new(&input.image, single(inputs)?)?;
                        pictures = Some(Box::new(new));
                        1
                    }
                })
            };
            let frames = match files.len() {
                1 => open(),
                _ => open().with_context(|| shown(file)),
            };
            count = frames.map(|frames| frames.saturating_add(count))?;
        }
        Ok(Self {
            inputs: inputs.to_vec(),
            origin: Origin::Files {
                files: files.into_iter(),
                pictures,
                open: None,
            },
            count,
            description: String::new(),
        })
    }

    /// How many items there are, as far as can be known in advance: fewer come where a file
    /// breaks off or goes away.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The frames in a few words, for people.
    pub fn describe(&self) -> String {
        self.description.clone()
    }

    /// The next frame, decoded; none at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Item> {
        let inputs = &self.inputs;
        let (files, pictures, open) = match &mut self.origin {
            Origin::Synthetic { next, .. } if *next == self.count => return None,
            Origin::Synthetic { seed, next } => {
                let frame = *next;
                *next += 1;
                let values = inputs.iter().enumerate();
                return Some(Item::Frame(Frame {
                    source: format!("synthetic[{frame}]"),
                    inputs: values
                        .map(|(index, input)| synthetic::make(*seed, frame, index, input))
                        .collect(),
                }));
            }
            Origin::Files {
                files,
                pictures,
                open,
            } => (files, pictures, open),
        };
        loop {
            if let Some(item) = open.as_mut().and_then(Arrays::next) {
                return Some(item);
            }
            *open = None;
            let file = files.next()?;
            let name = shown(&file);
            let value = match Kind::of(&file) {
                Kind::Npy => Arrays::open_npy(&file, name.clone(), inputs).map(Opened::Arrays),
                Kind::Npz => Arrays::open_npz(&file, name.clone(), inputs).map(Opened::Arrays),
                Kind::Tensor => proto::read(&file, &inputs[0]).map(Opened::Value),
                Kind::Image => match pictures {
                    Some(pictures) => read_picture(pictures, &file).map(Opened::Value),
                    None => unreachable!("opening saw the same files"),
                },
            };
            match value {
                Ok(Opened::Arrays(arrays)) => *open = Some(arrays),
                Ok(Opened::Value(value)) => {
                    return Some(Item::Frame(Frame {
                        source: name,
                        inputs: vec![value],
                    }))
                }
                Err(error) => return Some(Item::bad(name, &error)),
            }
        }
    }
}

enum Opened {
    Arrays(Arrays),
    Value(Value),
}

fn read_picture(pictures: &Pictures, file: &Path) -> Result<Value> {
    // A pipe or a device that a pattern matches would block, or never end.
    ensure!(file.metadata()?.is_file(), "not a file");
    pictures.read(file)
}

/// A file's name without its folder: files of one source lie in one folder.
fn shown(file: &Path) -> String {
    super::one_line(&file.file_name().unwrap_or_default().to_string_lossy())
}

fn single(inputs: &[InputShape]) -> Result<&InputShape> {
    match inputs {
        [input] => Ok(input),
        _ => {
            let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
            bail!(
                "the model has {} inputs: give an .npz with an array for each of {names:?}",
                inputs.len()
            )
        }
    }
}
