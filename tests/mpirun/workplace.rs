//! A folder with a small model, specs and frames, and jobs that run in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autodice::model::builder::{Conv, ModelBuilder, Pool, Weights};

use super::job::{Job, Mpirun, Running};

/// Shape of the model's input.
pub const SHAPE: [usize; 4] = [1, 3, 12, 8];

/// The folder of one test.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// A folder with `model.onnx` and the frames `six.npy`, all of it small integers, so that
    /// every way of computing it gives the same bytes.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Self { folder };
        place.write_model("model.onnx", 1);
        place.write_frames("six.npy", 6);
        place
    }

    /// conv_a → relu_a → conv_b → relu_b → pool → fc, with outputs `pool` and `fc`.
    pub fn write_model(&self, name: &str, seed: u64) {
        let mut model = ModelBuilder::with_weights("tiny", Weights::Integers { seed, max: 1 });
        let x = model.input("x", &SHAPE);
        let x = model.conv("conv_a", x, Conv::new(4, 3).pad(1));
        let x = model.relu("relu_a", x);
        let x = model.conv("conv_b", x, Conv::new(4, 3).pad(1));
        let x = model.relu("relu_b", x);
        let pool = model.max_pool("pool", x, Pool::new(2).stride(2));
        let x = model.flatten("flat", pool);
        let fc = model.gemm("fc", x, 10);
        model.output(pool);
        model.output(fc);
        model.write(&self.path(name)).expect("the model is written");
    }

    /// Frames of integers 0 to 9 as an array of f32.
    pub fn write_frames(&self, name: &str, frames: usize) {
        let [_, channels, height, width] = SHAPE;
        let header = format!(
            "{{'descr': '<f4', 'fortran_order': False, \
             'shape': ({frames}, {channels}, {height}, {width}), }}"
        );
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(format!("{header:<0$}\n", length - 1).bytes());
        for i in 0..frames * channels * height * width {
            bytes.extend(
                ((i * 7 + i / 13) as u32 % 10)
                    .to_string()
                    .parse::<f32>()
                    .expect("a digit")
                    .to_le_bytes(),
            );
        }
        self.write(name, &bytes);
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().expect("a folder");
        std::fs::create_dir_all(folder).expect("the folder is there");
        std::fs::write(&path, bytes).expect("the file is written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        let text = std::fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes `spec.yaml` for 1 to 4 ranks with these frames and settings.
    pub fn write_spec(&self, ranks: usize, frames: &str, run: &str) {
        let stages = match ranks {
            1 => "  - {ranks: [0]}\n",
            2 => "  - {until: relu_a, ranks: [0]}\n  - {ranks: [1]}\n",
            3 => {
                "  - {until: conv_a, ranks: [1]}\n  - {until: pool, ranks: [0]}\n  \
                 - {ranks: [2]}\n"
            }
            _ => {
                "  - {nodes: [conv_a, relu_b], ranks: [3]}\n  - {nodes: [relu_a], ranks: [1]}\n  \
                 - {nodes: [conv_b, fc], ranks: [2]}\n  - {ranks: [0]}\n"
            }
        };
        let text = format!(
            "model: model.onnx\ninput: {{frames: {frames}}}\nstages:\n{stages}run: {{{run}}}\n"
        );
        self.write("spec.yaml", text);
    }

    /// Starts autodice-run; arguments that begin with `@` are files of the folder. None where
    /// there is no mpirun.
    pub fn start(&self, ranks: usize, arguments: &[&str]) -> Option<Running> {
        self.start_with(Mpirun::new(ranks)?, arguments)
    }

    pub fn start_with(&self, mpirun: Mpirun, arguments: &[&str]) -> Option<Running> {
        let full = |argument: &&str| match argument.strip_prefix('@') {
            Some(name) => self.path(name).to_str().expect("a plain path").to_string(),
            None => argument.to_string(),
        };
        let arguments: Vec<_> = arguments.iter().map(full).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_autodice-run"));
        Some(mpirun.start(program, &arguments))
    }

    pub fn run(&self, ranks: usize, arguments: &[&str]) -> Option<Job> {
        Some(self.start(ranks, arguments)?.wait())
    }

    /// The workbench, with the same arguments.
    pub fn autodice(&self, arguments: &[&str]) {
        let full = |argument: &&str| match argument.strip_prefix('@') {
            Some(name) => self.path(name),
            None => PathBuf::from(argument),
        };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_autodice"))
            .args(arguments.iter().map(full))
            .output()
            .expect("the workbench starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }

    /// Rows of `frames.csv` in a folder of outputs.
    pub fn rows(&self, output: &str) -> Vec<csv::StringRecord> {
        let text = self.read(&format!("{output}/frames.csv"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader
            .records()
            .map(|row| row.expect("a whole row"))
            .collect()
    }

    /// `run.json` of a folder of outputs.
    pub fn report(&self, output: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{output}/run.json"))).expect("JSON")
    }

    /// Frames that an array says it has.
    pub fn frames_in(&self, array: &str) -> usize {
        let bytes = std::fs::read(self.path(array)).expect("the array is there");
        let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
        let shape = header.split_once("'shape': (").expect("a shape").1;
        let frames = shape.split([',', ')']).next().expect("an axis");
        frames.trim().parse().expect("a number of frames")
    }

    /// Waits until so many frames are written.
    pub fn wait_for_frames(&self, running: &mut Running, output: &str, frames: usize) {
        let start = Instant::now();
        let path = self.path(&format!("{output}/frames.csv"));
        let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        while lines() <= frames {
            assert!(!running.has_ended(), "the job ended before frame {frames}");
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "no frame for so long"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The lines of a job in which a rank says why it ends; warnings are none.
pub fn own_lines(job: &Job) -> Vec<&str> {
    let is_own = |line: &&str| line.starts_with("rank ") && !line.contains(": warning: ");
    job.stderr.lines().filter(is_own).collect()
}
