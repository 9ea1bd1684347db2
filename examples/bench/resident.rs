//! Weights that a row-cut rank holds, against one packed copy of the same convolutions.

use std::path::Path;

use anyhow::{Context, Result};
use autodice::engine::tract::Tract;
use autodice::engine::{Engine, Executable};
use autodice::graph::Graph;
use autodice::ids::Rank;
use autodice::model::cut::cut;
use autodice::model::read::{read, Source};
use autodice::plan::{loading, tally, Plan};

use crate::lab::{Case, Rule, Sample};
use crate::models;
use crate::record::{Bar, Record};

const MB: f64 = 1e6;

/// The part.
///
/// # Errors
/// Where the model is missing or a piece cannot be loaded.
pub fn resident(folder: &Path) -> Result<Record> {
    let model = models::file(folder, "vgg16")?;
    let source = read(&model, &[])?;
    let graph = &source.graph;
    let pool = models::last_pool(graph)?;
    let (mut samples, mut bars, mut notes) = (vec![], vec![], vec![]);
    for overlap in [true, false] {
        let cut = plan(
            graph,
            &model,
            &format!(
                "[{{ranks: [0, 1], until: {pool}, split: {{by: rows, overlap: {overlap}}}}}, \
                 {{ranks: [0]}}]"
            ),
        )?;
        for rank in [Rank(0), Rank(1)] {
            // Behind the convolutions rank 0 has the matrices, too; so has what it is held against.
            let stages = format!("[{{ranks: [{rank}], until: {pool}}}, {{ranks: [0]}}]");
            let uncut = plan(graph, &model, &stages)?;
            let (one_copy, whole) = load(&source, &uncut, rank)?;
            drop(whole);
            let before = resident_bytes()?;
            let (held, pieces) = load(&source, &cut, rank)?;
            let grown = resident_bytes()? - before;
            let said = tally(graph, &cut)?.ranks[rank.index()].held_bytes as f64;
            let name = format!(
                "rank {rank}, overlap {}",
                if overlap { "on" } else { "off" }
            );
            let values = [
                ("held_mb", held / MB),
                ("one_copy_mb", one_copy / MB),
                ("said_mb", said / MB),
                ("rss_grown_mb", grown / MB),
                ("ratio", held / one_copy),
            ];
            samples.push(Sample::new(&name, Rule::None, vec![], &values));
            notes.push(format!(
                "{name}: {} pieces hold {:.2} MB, one copy {:.2} MB, the tally says {:.2} MB, \
                 VmRSS grew by {:.0} MB",
                pieces.len(),
                held / MB,
                one_copy / MB,
                said / MB,
                grown / MB
            ));
            let case = Case::of(&samples, &name);
            let ratio = case.median("ratio");
            bars.push(Bar {
                what: format!("weights held by a row-cut rank, vgg16 on 2 ranks, {name}"),
                bar: "≤ 1.15 × one packed copy".into(),
                figure: format!("{ratio:.3} ×"),
                met: Some(ratio <= 1.15),
                by_all: false,
                count: case.count,
            });
        }
    }
    let how = "One process loads the pieces of one rank of the plan as the runner does. Bytes \
        are those of the constants that the engine holds, packed weights included, each once; \
        one copy is what it holds for the same nodes uncut on one rank.";
    Ok(Record {
        part: "resident",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

fn plan(graph: &Graph, model: &Path, stages: &str) -> Result<Plan> {
    let text = format!("model: {}\nstages: {stages}\n", model.display());
    models::plan(graph, &text)
}

/// Loads a rank's pieces; the bytes that the engine then holds, and the pieces.
fn load(source: &Source, plan: &Plan, rank: Rank) -> Result<(f64, Vec<Box<dyn Executable>>)> {
    let engine = Tract::new(1)?;
    let order = loading(&source.graph, plan, rank)?;
    let load = |&piece| engine.load(cut(&source.graph, plan, rank, piece, source)?);
    let pieces = order.pieces.iter().map(load).collect::<Result<_>>()?;
    Ok((engine.held_bytes() as f64, pieces))
}

fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: f64 = number.context("VmRSS")?.parse()?;
    Ok(kib * 1024.0)
}
