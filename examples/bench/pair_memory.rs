//! Peak memory of ranks that share channels in pairs, against other splits.

use std::path::Path;

use anyhow::Result;
use autodice::model::read::read;
use autodice::plan::tally;

use crate::lab::{Case, Rule, Sample};
use crate::memory::peaks;
use crate::models;
use crate::record::{Bar, Record};

const MB: f64 = 1e6;
const RANKS: usize = 3;
const REPEATS: usize = 3;
const FRAMES: usize = 4;
/// Whose peak, where it is that of the rank that needs most.
const LARGEST: &str = "the largest rank";
/// Names and splits: pairs, and what they are held against.
const SPLITS: [(&str, &str); 3] = [
    ("pairs", "by: channels, pair: auto"),
    ("out-channel split", "by: channels"),
    ("rows", "by: rows"),
];

/// The part.
///
/// # Errors
/// Where a model is missing or a job fails.
pub fn pair_memory(folder: &Path) -> Result<Record> {
    let (mut samples, mut bars, mut notes) = (vec![], vec![], vec![]);
    let dir = tempfile::tempdir()?;
    for name in ["alexnet", "vgg11"] {
        let model = models::file(folder, name)?;
        let graph = read(&model, &[])?.graph;
        let mut said = vec![];
        for (split, by) in SPLITS {
            let text = text(&model, by);
            let plan = models::plan(&graph, &text)?;
            let tally = tally(&graph, &plan)?;
            let ranks = tally.ranks.iter();
            let memory: Vec<_> = ranks
                .clone()
                .map(|r| r.memory(plan.window) as f64)
                .collect();
            notes.extend(ranks.enumerate().map(|(rank, tally)| {
                let [weights, load, parts, messages, inner] = [
                    tally.held_bytes,
                    tally.loading_peak,
                    tally.part_bytes,
                    tally.message_bytes,
                    tally.most_inner_bytes(),
                ]
                .map(|bytes| bytes as f64 / MB);
                format!(
                    "{name}, {split}, rank {rank}: the tally says weights {weights:.2}, \
                     {load:.2} at the worst of loading, parts {parts:.2}, messages {messages:.2}, inner \
                     {inner:.2} MB"
                )
            }));
            said.push(memory);
        }
        for _ in 0..REPEATS {
            for ((split, by), said) in SPLITS.iter().zip(&said) {
                let spec = dir.path().join("spec.yaml");
                std::fs::write(&spec, text(&model, by))?;
                let mut sample = |whose: &str, peak: f64, said: f64| {
                    let values = [("peak_mb", peak / MB), ("said_mb", said / MB)];
                    let case = case_name(name, split, whose);
                    samples.push(Sample::new(&case, Rule::None, vec![], &values));
                };
                let peaks = peaks(&spec, dir.path(), RANKS)?;
                for (rank, (peak, said)) in peaks.iter().zip(said).enumerate() {
                    sample(&format!("rank {rank}"), *peak, *said);
                }
                let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
                sample(LARGEST, most(&peaks), most(said));
            }
        }
        for rank in 0..RANKS {
            bars.push(compared(
                &samples,
                name,
                "out-channel split",
                &format!("rank {rank}"),
            ));
        }
        for other in ["out-channel split", "rows"] {
            bars.push(compared(&samples, name, other, LARGEST));
        }
    }
    let how =
        "`autodice-run` on 4 frames and 3 ranks, shared memory, in turn `by: channels, pair: \
        auto`, `by: channels` and `by: rows`; VmHWM of each rank at its end, set-up included, medians of three \
        jobs. Of it the program, MPI and tract take about 50 MB. The paper (IOP) reports -21.22 \
        to -49.98 %, of a program of its own.";
    Ok(Record {
        part: "pair-memory",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// A line for pairs against another split, on one rank or on the one that needs most.
fn compared(samples: &[Sample], model: &str, other: &str, whose: &str) -> Bar {
    let names = [SPLITS[0].0, other].map(|split| case_name(model, split, whose));
    let [pairs, others] = names.each_ref().map(|name| Case::of(samples, name));
    let figure = |value: &str| {
        let (pairs, others) = (pairs.median(value), others.median(value));
        let more = (pairs / others - 1.0) * 100.0;
        format!("{more:+.1} % ({pairs:.0} against {others:.0} MB)")
    };
    Bar {
        what: format!("peak RSS in pairs against {other}, {model} on {RANKS} ranks, {whose}"),
        bar: String::new(),
        figure: format!(
            "{}; the tally says {}",
            figure("peak_mb"),
            figure("said_mb")
        ),
        met: None,
        by_all: false,
        count: pairs.count,
    }
}

fn case_name(model: &str, split: &str, whose: &str) -> String {
    format!("{model}, {split}, {whose}")
}

fn text(model: &Path, by: &str) -> String {
    let model = model.display();
    format!(
        "model: {model}\ninput: {{frames: {{synthetic: {{count: {FRAMES}, seed: 1}}}}}}\n\
         stages: [{{ranks: [0, 1, 2], split: {{{by}}}}}]\n"
    )
}
