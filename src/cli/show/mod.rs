//! `autodice show`: a model's nodes, or a spec's plan.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{anyhow, Result};

use crate::model::read::read;
use crate::plan::{check, compile};
use crate::runner::{folder_of, read_spec};

mod cells;
mod model;
mod nodes;
mod spec;
mod stages;
mod table;

pub use spec::text as spec_text;

/// Shows a model (`.onnx`) or a spec (anything else).
pub fn main(path: &Path, shapes: &[(String, usize)]) -> ExitCode {
    let is_model = path
        .extension()
        .is_some_and(|extension| extension == "onnx");
    let shown = match is_model {
        true => read(path, shapes).map(|source| model::text(&source.graph)),
        false => read_and_compile(path, shapes),
    };
    match shown {
        Ok(text) => super::print(&text),
        Err(error) => super::wrong(&error),
    }
}

fn read_and_compile(path: &Path, shapes: &[(String, usize)]) -> Result<String> {
    let (file, _, spec) = read_spec(path).map_err(|failure| anyhow!("{failure}"))?;
    let shapes: Vec<_> = shapes.iter().chain(&spec.shapes).cloned().collect();
    let source = read(&folder_of(path).join(&spec.model), &shapes)?;
    let graph = &source.graph;
    let plan = compile(graph, &spec).map_err(|error| anyhow!("{file}: {error}"))?;
    check(graph, &plan, None)?;
    spec::text(&file, graph, &spec, &plan)
}

/// Bytes as KiB with one decimal.
fn kib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

/// Multiply-accumulates in 10⁹.
fn gmac(macs: u64) -> String {
    format!("{:.3}", macs as f64 / 1e9)
}
