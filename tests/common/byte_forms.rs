//! Small splits whose traffic the literature gives in closed form, and jobs that count it in MPI.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{bail, Context, Result};
use autodice::comm::world::World;
use autodice::comm::Link;
use autodice::graph::Graph;
use autodice::ids::{ActivationId, Rank};
use autodice::model::builder::{Conv, ModelBuilder, Weights};
use autodice::plan::{pair_bytes, transfer_bytes, Plan};
use autodice::runner::{run_job, Place, Request};

/// Frames that a counted job runs.
pub const FRAMES: u64 = 3;

/// Channels of the input and of what each convolution makes; shares of 2, 3, 4 and 6 ranks.
const CHANNELS: [usize; 3] = [12, 24, 36];
const HEIGHT: usize = 24;
const WIDTH: usize = 10;
const PLANE: usize = HEIGHT * WIDTH;

/// One or two 3x3 convolutions, `a` and `b`, cut over N ranks.
pub struct Form {
    /// What the literature calls it.
    pub name: &'static str,
    convolutions: usize,
    split: &'static str,
    /// All numbers that travel for a frame, from the number of ranks: the input lies on rank 0,
    /// and there the output is wanted.
    elements: fn(usize) -> usize,
}

const M: usize = CHANNELS[0] * PLANE;
const A: usize = CHANNELS[1] * PLANE;
const B: usize = CHANNELS[2] * PLANE;

/// Of each kind one.
pub const FORMS: [Form; 6] = [
    Form {
        name: "LOP",
        convolutions: 1,
        split: "by: channels",
        elements: |n| M * (n - 1) + A * (n - 1) / n,
    },
    Form {
        name: "LOP, LOP",
        convolutions: 2,
        split: "by: channels",
        elements: |n| M * (n - 1) + A * (n - 1) + B * (n - 1) / n,
    },
    Form {
        name: "LIP",
        convolutions: 1,
        split: "by: channels, pair: [{nodes: [a], reduce: root}]",
        elements: |n| M * (n - 1) / n + A * (n - 1),
    },
    Form {
        name: "FUSE1, FUSE2",
        convolutions: 2,
        split: "by: channels, pair: [{nodes: [a, b], reduce: root}]",
        elements: |n| M * (n - 1) + B * (n - 1),
    },
    Form {
        name: "pair, ring",
        convolutions: 2,
        split: "by: channels, pair: [{nodes: [a, b], reduce: ring}]",
        elements: |n| M * (n - 1) + 2 * (n - 1) * B,
    },
    Form {
        name: "rows",
        convolutions: 2,
        split: "by: rows",
        // A row of the input more for each side that has a neighbour, but rank 0's; then a row
        // each way across every border; then the rows that rank 0 has not.
        elements: |n| {
            let input = M * (n - 1) / n + (2 * n - 3) * WIDTH * CHANNELS[0];
            input + 2 * (n - 1) * WIDTH * CHANNELS[1] + B * (n - 1) / n
        },
    },
];

impl Form {
    /// Bytes of a frame, all ranks' messages together.
    pub fn bytes(&self, ranks: usize) -> u64 {
        (self.elements)(ranks) as u64 * 4
    }

    /// Writes the model and its spec, whose path it returns.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn write(&self, folder: &Path, ranks: usize) -> Result<PathBuf> {
        let weights = Weights::Integers { seed: 5, max: 1 };
        let mut model = ModelBuilder::with_weights("form", weights);
        let mut x = model.input("x", &[1, CHANNELS[0], HEIGHT, WIDTH]);
        for (name, channels) in ["a", "b"]
            .iter()
            .zip(&CHANNELS[1..])
            .take(self.convolutions)
        {
            x = model.conv(name, x, Conv::new(*channels, 3).pad(1));
        }
        model.output(x);
        model.write(&folder.join("model.onnx"))?;
        write_spec(folder, Path::new("model.onnx"), &stage(ranks, self.split))
    }
}

/// A stage of the first ranks.
pub fn stage(ranks: usize, split: &str) -> String {
    let ranks: Vec<usize> = (0..ranks).collect();
    format!("{{ranks: {ranks:?}, split: {{{split}}}}}")
}

/// Writes a spec of `FRAMES` frames.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_spec(folder: &Path, model: &Path, stages: &str) -> Result<PathBuf> {
    let path = folder.join("spec.yaml");
    let model = model.display();
    let text = format!(
        "model: {model}\ninput: {{frames: {{synthetic: {{count: {FRAMES}, seed: 1}}}}}}\n\
         stages: [{stages}]\n"
    );
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// One rank of a counted job: what MPI moved goes to a file beside the spec.
///
/// # Errors
/// Where the job ends otherwise than well, or the file cannot be written.
pub fn run_counted(mut world: World, spec: &Path) -> Result<()> {
    let never = AtomicBool::new(false);
    let place = Place {
        host: world.host(),
        library: world.version(),
        interrupt: &never,
    };
    let request = Request {
        spec: spec.to_path_buf(),
        quiet: true,
        ..Request::default()
    };
    if let Err(end) = run_job(&mut world, &place, &request) {
        bail!("the job ended with {end:?}");
    }
    let others = (0..world.size()).map(Rank::new);
    let count = |other| {
        (
            world.sent_data_bytes(other),
            world.received_data_bytes(other),
        )
    };
    let counts: Vec<(u64, u64)> = others.map(count).collect();
    let own = spec.with_file_name(format!("rank{}", world.rank()));
    std::fs::write(&own, serde_json::to_string(&counts)?)?;
    world.close();
    Ok(())
}

/// What MPI moved, against what a plan says.
pub struct Moved {
    /// Of a frame, all ranks' messages together, as MPI counted them.
    pub bytes: u64,
    /// Pairs of ranks for which sender and receiver counted the same as the plan says.
    pub pairs_alike: usize,
    /// Pairs of ranks, in either direction.
    pub pairs: usize,
}

/// Reads what the ranks of a counted job wrote.
///
/// # Errors
/// Where a rank's file is missing.
pub fn moved(graph: &Graph, plan: &Plan, folder: &Path) -> Result<Moved> {
    let ranks = plan.ranks.len();
    let mut counts: Vec<Vec<(u64, u64)>> = vec![];
    for rank in 0..ranks {
        let path = folder.join(format!("rank{rank}"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        counts.push(serde_json::from_str(&text)?);
    }
    let planned = pair_bytes(graph, plan);
    let pairs = (0..ranks).flat_map(|from| (0..ranks).map(move |to| (from, to)));
    let alike = pairs.filter(|&(from, to)| {
        let wanted = planned.get(&(Rank::new(from), Rank::new(to)));
        let wanted = wanted.copied().unwrap_or(0) * FRAMES;
        counts[from][to].0 == wanted && counts[to][from].1 == wanted
    });
    let pairs_alike = alike.count();
    let sent = counts.iter().flatten().map(|count| count.0);
    Ok(Moved {
        bytes: sent.sum::<u64>() / FRAMES,
        pairs_alike,
        pairs: ranks * ranks,
    })
}

/// Bytes of a frame by which an activation travels between ranks, by the plan.
pub fn planned_bytes(graph: &Graph, plan: &Plan, activation: ActivationId) -> u64 {
    let all = (0..plan.transfers.len()).map(autodice::ids::TransferId::new);
    let of_it = all.filter(|&id| {
        let transfer = plan.transfer(id);
        plan.part(transfer.from, transfer.from_part).activation == activation
    });
    of_it.map(|id| transfer_bytes(graph, plan, id)).sum()
}
