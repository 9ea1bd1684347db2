//! Peak memory of ranks that share channels: in pairs against all by output channels.

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
/// Out-channel split first.
const PAIRS: [&str; 2] = ["none", "auto"];

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
        for pair in PAIRS {
            let text = text(&model, pair);
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
                    tally.load_bytes,
                    tally.part_bytes,
                    tally.message_bytes,
                    tally.inner_bytes,
                ]
                .map(|bytes| bytes as f64 / MB);
                format!(
                    "{name}, pair {pair}, rank {rank}: the tally says weights {weights:.2}, \
                     loading {load:.2}, parts {parts:.2}, messages {messages:.2}, inner \
                     {inner:.2} MB"
                )
            }));
            said.push(memory);
        }
        for _ in 0..REPEATS {
            for (pair, said) in PAIRS.iter().zip(&said) {
                let spec = dir.path().join("spec.yaml");
                std::fs::write(&spec, text(&model, pair))?;
                for (rank, peak) in peaks(&spec, dir.path(), RANKS)?.into_iter().enumerate() {
                    let values = [("peak_mb", peak / MB), ("said_mb", said[rank] / MB)];
                    let case = case_name(name, pair, rank);
                    samples.push(Sample::new(&case, Rule::None, vec![], &values));
                }
            }
        }
        for rank in 0..RANKS {
            let names = PAIRS.map(|pair| case_name(name, pair, rank));
            let [none, auto] = names.each_ref().map(|name| Case::of(&samples, name));
            let more = |value: &str| (auto.median(value) / none.median(value) - 1.0) * 100.0;
            bars.push(Bar {
                what: format!("peak RSS in pairs against out-channel split, {name}, rank {rank}"),
                bar: String::new(),
                figure: format!(
                    "{:+.1} % ({:.0} against {:.0} MB); the tally says {:+.1} % ({:.1} against \
                     {:.1} MB)",
                    more("peak_mb"),
                    auto.median("peak_mb"),
                    none.median("peak_mb"),
                    more("said_mb"),
                    auto.median("said_mb"),
                    none.median("said_mb")
                ),
                met: None,
                count: auto.count,
            });
        }
    }
    let how =
        "`autodice-run` on 4 frames and 3 ranks, shared memory, in turn `by: channels, pair: \
        none` and `pair: auto`; VmHWM of each rank at its end, set-up included, medians of three \
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

fn case_name(model: &str, pair: &str, rank: usize) -> String {
    format!("{model}, pair {pair}, rank {rank}")
}

fn text(model: &Path, pair: &str) -> String {
    let model = model.display();
    format!(
        "model: {model}\ninput: {{frames: {{synthetic: {{count: {FRAMES}, seed: 1}}}}}}\n\
         stages: [{{ranks: [0, 1, 2], split: {{by: channels, pair: {pair}}}}}]\n"
    )
}
