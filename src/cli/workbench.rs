//! `autodice`: the workbench, with no MPI in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::model::folder;
use crate::model::read::read;
use crate::model::standard;
use crate::plan::{check, compile};
use crate::runner::{folder_of, read_spec};
use crate::spec::{autodice, yaml, FramesSpec, Spec};

/// Models, specs and plans for autodice-run.
#[derive(Parser, Debug)]
#[command(name = "autodice", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write a standard architecture with seeded weights as ONNX
    Model {
        /// Which architecture; without it, list them
        name: Option<String>,
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Seed of the weights
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Height and width of the input
        #[arg(long, value_name = "HxW", value_parser = size)]
        size: Option<(usize, usize)>,
        /// Width multiplier (mobilenet_v1)
        #[arg(long)]
        width: Option<f32>,
        /// Write the weights to FILE.data beside it
        #[arg(long)]
        external: bool,
    },
    /// Show a model's nodes, or a spec's plan
    Show {
        /// An ONNX model or a spec
        path: PathBuf,
        /// Length of a symbolic dimension
        #[arg(long, value_name = "NAME=N", value_parser = super::shape)]
        shape: Vec<(String, usize)>,
    },
    /// Predict what a run of a spec takes on a platform
    Simulate(super::simulate::Simulate),
    /// Write the sub-models of a spec, a folder for each rank
    Split {
        /// The spec
        spec: PathBuf,
        /// The folder to write
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Replace what is in the folder
        #[arg(long)]
        replace: bool,
    },
    /// Turn AutoDiCE's mapping and platform files into a spec
    Import {
        /// AutoDiCE's mapping.json
        mapping: PathBuf,
        /// AutoDiCE's platform.txt
        #[arg(long, value_name = "FILE")]
        platform: PathBuf,
        /// The model that the mapping is for
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// The spec to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Length of a symbolic dimension
        #[arg(long, value_name = "NAME=N", value_parser = super::shape)]
        shape: Vec<(String, usize)>,
    },
    /// Print the completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return super::usage(&error),
    };
    super::logger::start(0);
    let done = match arguments.command {
        Command::Show { path, shape } => return super::show::main(&path, &shape),
        Command::Simulate(asked) => {
            return match super::simulate::text(&asked) {
                Ok(text) => super::print(&text),
                Err(error) => super::wrong(&error),
            };
        }
        Command::Model { name: None, .. } => return super::print(&list()),
        Command::Model {
            name: Some(name),
            output,
            seed,
            size,
            width,
            external,
        } => {
            let options = standard::Options {
                seed,
                size,
                width,
                ..Default::default()
            };
            model(&name, output, &options, external)
        }
        Command::Split {
            spec,
            output,
            replace,
        } => split(&spec, &output, replace),
        Command::Import {
            mapping,
            platform,
            model,
            output,
            shape,
        } => import(&mapping, &platform, &model, &output, &shape),
        Command::Completions { shell } => {
            let mut command = <Arguments as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "autodice", &mut std::io::stdout());
            Ok(())
        }
    };
    done.map_or_else(|error| super::wrong(&error), |()| ExitCode::SUCCESS)
}

fn size(text: &str) -> Result<(usize, usize), String> {
    crate::units::parse_hw(text).map_err(|error| error.to_string())
}

fn list() -> String {
    standard::NAMES
        .iter()
        .map(|name| format!("{name}\n"))
        .collect()
}

fn model(
    name: &str,
    output: Option<PathBuf>,
    options: &standard::Options,
    external: bool,
) -> Result<()> {
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{name}.onnx")));
    let built = standard::build(name, options)?;
    match external {
        true => built.write_external(&output),
        false => built.write(&output),
    }
    .with_context(|| format!("{}", output.display()))?;
    eprintln!(
        "{}: {name}, {} parameters, {:.3} GMAC",
        output.display(),
        built.parameters(),
        built.macs() as f64 / 1e9
    );
    Ok(())
}

fn split(spec: &Path, output: &Path, replace: bool) -> Result<()> {
    let (file, _, parsed) = read_spec(spec).map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let source = read(&folder_of(spec).join(&parsed.model), &parsed.shapes)?;
    let plan =
        compile(&source.graph, &parsed).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    check(&source.graph, &plan, None)?;
    let text = yaml::to_yaml(&rooted(&parsed, &folder_of(spec))?);
    folder::write(output, &text, &source.graph, &plan, &source, replace)?;
    super::tables::write(output, &source.graph, &plan, &parsed)?;
    eprintln!("{}: {} ranks", output.display(), plan.ranks.len());
    Ok(())
}

fn import(
    mapping: &Path,
    platform: &Path,
    model: &Path,
    output: &Path,
    shapes: &[(String, usize)],
) -> Result<()> {
    let text =
        |path: &Path| std::fs::read_to_string(path).with_context(|| format!("{}", path.display()));
    let source = read(model, shapes)?;
    let (mapping, platform) = (text(mapping)?, text(platform)?);
    let (spec, warnings) = autodice::import(
        &mapping,
        &platform,
        &source.graph,
        &seen_from(output, model),
    )?;
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    std::fs::write(output, yaml::to_yaml(&spec))
        .with_context(|| format!("{}", output.display()))?;
    Ok(())
}

/// The spec with its paths made absolute, so that it means the same in another folder.
fn rooted(spec: &Spec, base: &Path) -> Result<Spec> {
    let root = |path: &Path| {
        let joined = base.join(path);
        std::path::absolute(&joined).with_context(|| format!("{}", joined.display()))
    };
    let mut spec = spec.clone();
    spec.model = root(&spec.model)?;
    spec.labels = spec.labels.map(|path| root(&path)).transpose()?;
    if let Some(input) = &mut spec.input {
        input.truth = input.truth.take().map(|path| root(&path)).transpose()?;
        if let FramesSpec::Path(path) = &mut input.frames {
            *path = root(path)?;
        }
    }
    Ok(spec)
}

/// The model's path as the spec has it: relative to the spec's own folder where that is simple,
/// else absolute.
fn seen_from(spec: &Path, model: &Path) -> PathBuf {
    let folder = folder_of(spec);
    let beside = model.is_relative() && folder == Path::new(".");
    match (beside, folder.canonicalize(), model.canonicalize()) {
        (false, Ok(folder), Ok(model)) => match model.strip_prefix(&folder) {
            Ok(inside) => inside.to_path_buf(),
            Err(_) => model,
        },
        _ => model.to_path_buf(),
    }
}
