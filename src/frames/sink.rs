//! Outputs of a run as files: an array for each model output, and a line for each frame.
//!
//! A frame's line in `frames.csv` is its commit record: it is written after the frame's outputs,
//! in one call, so that whatever ends the process, every line that is there stands for outputs
//! that are there. Arrays always say how many frames they hold.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::scores::{is_scores, top_k};
use super::{npy, one_line, InputShape, Labels};
use crate::graph::Value;

/// How many of the highest scores `frames.csv` has, where the caller does not say otherwise.
pub const TOP_K: usize = 5;

/// What a model gives at one output.
pub type OutputShape = InputShape;

/// The folder of `--output`; written by rank 0 alone.
#[derive(Debug)]
pub struct Sink {
    arrays: Vec<Array>,
    csv: File,
    csv_path: PathBuf,
    labels: Option<Labels>,
    frames: u64,
}

#[derive(Debug)]
struct Array {
    file: File,
    path: PathBuf,
    output: OutputShape,
    /// `[1, K]` is one frame of an array `[frames, K]`.
    frame_shape: Vec<usize>,
    /// How many of its highest scores are listed.
    top: usize,
}

impl Sink {
    /// Creates `folder` (and those above it), an empty array for each output, and `frames.csv`
    /// with its header: `frame,source,latency_ms,status`, then for an output that is class
    /// scores `top1,top1_score` to `k`, with `top1_label` between them where there are `labels`;
    /// where several outputs are scores, their names stand before: `logits_top1`.
    ///
    /// # Errors
    /// One line that names the path: the folder is not empty, cannot be written, or two outputs
    /// want one file.
    pub fn create(
        folder: &Path,
        outputs: &[OutputShape],
        labels: Option<Labels>,
        k: usize,
    ) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be created", folder.display()))?;
        Self::check(folder)?;
        let mut taken = HashMap::new();
        let mut arrays = vec![];
        for output in outputs {
            let name = file_name(&output.name);
            if let Some(other) = taken.insert(name.clone(), &output.name) {
                anyhow::bail!(
                    "outputs {other:?} and {:?} would both be {name}.npy",
                    output.name
                );
            }
            arrays.push(Array::create(
                folder.join(format!("{name}.npy")),
                output,
                k,
            )?);
        }
        let csv_path = folder.join("frames.csv");
        let mut sink = Self {
            arrays,
            csv: create(&csv_path)?,
            csv_path,
            labels,
            frames: 0,
        };
        let header = sink.header();
        sink.line(&header)?;
        Ok(sink)
    }

    /// Whether `create` would take the folder: it is empty, or not there yet.
    ///
    /// # Errors
    /// One line that names the path.
    pub fn check(folder: &Path) -> Result<()> {
        let mut entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("{}: cannot be read", folder.display()))?,
        };
        let empty = entries.next().is_none();
        ensure!(
            empty,
            "{}: not empty; give a new folder for outputs",
            folder.display()
        );
        Ok(())
    }

    fn header(&self) -> Vec<String> {
        let mut cells: Vec<_> = ["frame", "source", "latency_ms", "status"]
            .map(String::from)
            .to_vec();
        let several = self.arrays.iter().filter(|array| array.top > 0).count() > 1;
        for array in &self.arrays {
            let prefix = match several {
                true => format!("{}_", file_name(&array.output.name)),
                false => String::new(),
            };
            for place in 1..=array.top {
                cells.push(format!("{prefix}top{place}"));
                if self.labels.is_some() {
                    cells.push(format!("{prefix}top{place}_label"));
                }
                cells.push(format!("{prefix}top{place}_score"));
            }
        }
        cells
    }

    /// Writes a frame: its outputs (in the model's order), then its line. Frames come in order.
    ///
    /// # Errors
    /// One line that names the file; also where the frame is not the next one, or an output has
    /// not the shape that the model gives.
    pub fn frame(
        &mut self,
        frame: u64,
        source: &str,
        latency_ms: f64,
        outputs: &[Value],
    ) -> Result<()> {
        ensure!(
            frame == self.frames && outputs.len() == self.arrays.len(),
            "frame {frame} with {} outputs, expected frame {} with {}",
            outputs.len(),
            self.frames,
            self.arrays.len()
        );
        let mut cells = vec![
            frame.to_string(),
            one_line(source),
            format!("{latency_ms:?}"),
            "ok".into(),
        ];
        for (array, value) in self.arrays.iter_mut().zip(outputs) {
            array.append(frame, value)?;
            for (class, score) in top_k(value, array.top) {
                cells.push(class.to_string());
                if let Some(labels) = &self.labels {
                    cells.push(labels.name(class).unwrap_or_default().into());
                }
                cells.push(format!("{score:?}"));
            }
        }
        self.line(&cells)?;
        self.frames += 1;
        Ok(())
    }

    /// Writes the line of something that could not be read: no frame number, no latency, and
    /// `bad: reason` as its status.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn bad(&mut self, source: &str, reason: &str) -> Result<()> {
        let mut cells = vec![
            String::new(),
            one_line(source),
            String::new(),
            format!("bad: {}", one_line(reason)),
        ];
        cells.resize(self.header().len(), String::new());
        self.line(&cells)
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Has the system put everything on the disk; without it, the files survive the end of the
    /// process, but not a loss of power.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sync(&self) -> Result<()> {
        let arrays = self.arrays.iter().map(|array| (&array.file, &array.path));
        for (file, path) in arrays.chain([(&self.csv, &self.csv_path)]) {
            file.sync_all()
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn line(&mut self, cells: &[String]) -> Result<()> {
        let path = &self.csv_path;
        let write = |file: &mut File| -> Result<()> {
            let mut writer = csv::Writer::from_writer(vec![]);
            writer.write_record(cells)?;
            file.write_all(&writer.into_inner()?)?;
            Ok(())
        };
        write(&mut self.csv).with_context(|| path.display().to_string())
    }
}

impl Array {
    fn create(path: PathBuf, output: &OutputShape, k: usize) -> Result<Self> {
        let batch = usize::from(output.shape.first() == Some(&1));
        let frame_shape = output.shape[batch..].to_vec();
        let mut file = create(&path)?;
        file.write_all(&npy::header_bytes(output.dtype, 0, &frame_shape))
            .with_context(|| path.display().to_string())?;
        let classes: usize = frame_shape.iter().product();
        Ok(Self {
            file,
            path,
            output: output.clone(),
            frame_shape,
            top: if is_scores(output) { k.min(classes) } else { 0 },
        })
    }

    /// Writes the data of frame `frame` behind those before it, then the header that counts it.
    fn append(&mut self, frame: u64, value: &Value) -> Result<()> {
        ensure!(
            (value.dtype, &value.shape) == (self.output.dtype, &self.output.shape),
            "output {:?} is {} {:?}, the model says {} {:?}",
            self.output.name,
            value.dtype,
            value.shape,
            self.output.dtype,
            self.output.shape
        );
        let mut write = || -> std::io::Result<()> {
            let header = npy::header_bytes(self.output.dtype, frame + 1, &self.frame_shape);
            let start = header.len() as u64 + frame * value.bytes.len() as u64;
            self.file.seek(SeekFrom::Start(start))?;
            self.file.write_all(&value.bytes)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(path);
    file.with_context(|| format!("{}: cannot be created", path.display()))
}

/// An output's name as a file's: `/` and what no file should have as `_`.
fn file_name(output: &str) -> String {
    let safe = |c: char| {
        if c == '/' || c == '\\' || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let name: String = output.chars().map(safe).collect();
    match name.as_str() {
        "" => "output".into(),
        _ => name,
    }
}
