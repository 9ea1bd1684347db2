//! `autodice simulate`: what a run of a spec would take on a platform.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use clap::{value_parser, Args};

use crate::cost::{cost, Asked, Cost};
use crate::graph::Graph;
use crate::model::read::read;
use crate::plan::{check, compile, Plan};
use crate::platform::{Medium, Platform};
use crate::report::{chrome_trace, cost_json, cost_lines, cost_table, timeline_svg};
use crate::runner::{folder_of, read_platform, read_spec};
use crate::spec::Spec;

/// What to simulate.
#[derive(Args, Debug)]
pub struct Simulate {
    /// The spec
    spec: PathBuf,
    /// The platform file: hosts, their speed, the network
    #[arg(long, value_name = "FILE")]
    platform: PathBuf,
    /// Frames that count
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64)
        .range(1..=10_000_000))]
    frames: u64,
    /// Frames before them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64)
        .range(..=10_000_000))]
    warmup: u64,
    /// Draw what every rank does when
    #[arg(long, value_name = "SVG")]
    timeline: Option<PathBuf>,
    /// Write the same as a Chrome trace
    #[arg(long, value_name = "JSON")]
    trace: Option<PathBuf>,
    /// Print the prediction as JSON
    #[arg(long)]
    json: bool,
    /// Length of a symbolic dimension
    #[arg(long, value_name = "NAME=N", value_parser = super::shape)]
    shape: Vec<(String, usize)>,
}

/// The machine of every rank of a spec.
///
/// # Errors
/// One line where a rank finds no slot.
pub fn places(platform: &Platform, spec: &Spec) -> Result<Vec<usize>, String> {
    let host = |rank: usize| spec.ranks.get(rank).and_then(|own| own.host.clone());
    let roles: Vec<_> = (0..spec.rank_count()).map(host).collect();
    platform.places(&roles)
}

/// What `simulate` prints; pictures and traces are written on the way.
///
/// # Errors
/// One line: the spec, the model, the platform, or a file that cannot be written.
pub fn text(asked: &Simulate) -> Result<String> {
    let (file, _, spec) = read_spec(&asked.spec).map_err(|failure| anyhow!("{failure}"))?;
    let platform = read_platform(&asked.platform).map_err(|failure| anyhow!("{failure}"))?;
    let at = asked.platform.display();
    let places = places(&platform, &spec).map_err(|error| anyhow!("{at}: {error}"))?;
    let shapes: Vec<_> = asked.shape.iter().chain(&spec.shapes).cloned().collect();
    let source = read(&folder_of(&asked.spec).join(&spec.model), &shapes)?;
    let graph = &source.graph;
    let plan = compile(graph, &spec).map_err(|error| anyhow!("{file}: {error}"))?;
    check(graph, &plan, None)?;
    let how = Asked {
        frames: asked.frames,
        warmup: asked.warmup,
        intervals: asked.timeline.is_some() || asked.trace.is_some(),
    };
    let cost =
        cost(graph, &plan, &platform, &places, how).map_err(|error| anyhow!("{at}: {error}"))?;
    pictures(asked, &file, (graph, &plan), &cost)?;
    if asked.json {
        let json = serde_json::to_string_pretty(&cost_json(&cost))?;
        return Ok(json + "\n");
    }
    let header = header(asked, &file, &spec, &plan, &platform);
    Ok(header + &cost_table(&cost) + "#\n" + &cost_lines(&cost).join("\n") + "\n")
}

fn header(asked: &Simulate, file: &str, spec: &Spec, plan: &Plan, platform: &Platform) -> String {
    let medium = match platform.network.medium {
        Medium::Switch => "switch",
        Medium::Radio => "radio",
    };
    format!(
        "# autodice simulate {}\n# spec {file}  model {}\n\
         # platform {}  hosts {}  medium {medium}\n\
         # frames {}  warmup {}  in flight {}\n#\n",
        env!("CARGO_PKG_VERSION"),
        spec.model.display(),
        asked.platform.display(),
        platform.machines().len(),
        asked.frames,
        asked.warmup,
        plan.window,
    )
}

fn pictures(
    asked: &Simulate,
    file: &str,
    (graph, plan): (&Graph, &Plan),
    cost: &Cost,
) -> Result<()> {
    let hosts: Vec<String> = cost.ranks.iter().map(|rank| rank.host.clone()).collect();
    let put = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("{}", path.display()))
    };
    if let Some(path) = &asked.timeline {
        let title = format!("{file}: {} frames, predicted", asked.warmup + asked.frames);
        put(
            path,
            timeline_svg(&title, (graph, plan), &hosts, &cost.intervals),
        )?;
    }
    if let Some(path) = &asked.trace {
        put(path, chrome_trace(graph, plan, &hosts, &cost.intervals))?;
    }
    Ok(())
}
