//! The document's tree as a `Spec`, key by key.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::platform::{is_host_name, rankfile::parse_cores};

use super::read_stages::{read_stages, STAGES};
use super::{FramesSpec, ImageSpec, InputSpec, Layout, RankSpec, RunSpec, Spec, ENGINES, WIRES};
use crate::document::Tree;
use crate::document::{whole, At, Fault};

/// Highest core number + 1: far beyond any edge cluster, small enough to count.
const MAX_CORES: usize = 4096;
const MAX_THREADS: usize = 1024;
/// Tags end at 32767, and each frame in flight has its own.
const MAX_IN_FLIGHT: u64 = 32767;
pub(super) const MAX_LENGTH: usize = 1 << 31;
const MAX_IMAGE: usize = 65535;
const DAY: Duration = Duration::from_secs(24 * 3600);

const CORES: &str = "core numbers, e.g. 0-3 or [0, 1, 4]";
const FRAMES: &str = "a path, or {synthetic: {count: 100, seed: 1}}";
const MODEL: &str = "the path of an ONNX file";

/// The spec that a document says.
pub(super) fn read_spec(tree: &Tree) -> Result<Spec, Fault> {
    let path = String::new();
    let document = At { path, tree };
    if *tree == Tree::Null {
        return Err(document.fault("empty; a spec needs at least model and stages"));
    }
    let keys = document.fields(&[
        "model", "shapes", "input", "labels", "ranks", "stages", "run",
    ])?;
    let ranks = keys.get("ranks");
    let stages = keys.need("stages", STAGES)?;
    let spec = Spec {
        model: keys.need("model", MODEL)?.path_text(MODEL)?,
        shapes: keys.get("shapes").map_or(Ok(vec![]), |at| shapes(&at))?,
        input: keys.get("input").map(|at| input(&at)).transpose()?,
        labels: keys
            .get("labels")
            .map(|at| at.path_text("the path of a file with one class name a line"))
            .transpose()?,
        ranks: ranks.as_ref().map_or(Ok(vec![]), rank_list)?,
        stages: read_stages(&stages)?,
        run: keys
            .get("run")
            .map_or(Ok(RunSpec::default()), |at| run(&at))?,
    };
    check_ranks(&spec, &stages, ranks.as_ref())?;
    Ok(spec)
}

fn shapes(at: &At) -> Result<Vec<(String, usize)>, Fault> {
    let entries = at.entries("a mapping of dimension names to lengths, e.g. {height: 224}")?;
    let length = |(name, at): (&str, At)| Ok((name.to_string(), at.size(1, MAX_LENGTH)?));
    entries.into_iter().map(length).collect()
}

fn input(at: &At) -> Result<InputSpec, Fault> {
    let keys = at.fields(&["frames", "image", "truth"])?;
    Ok(InputSpec {
        frames: frames(&keys.need("frames", FRAMES)?)?,
        image: keys
            .get("image")
            .map_or(Ok(ImageSpec::default()), |at| image(&at))?,
        truth: keys
            .get("truth")
            .map(|at| at.path_text("a CSV file with the columns file and label"))
            .transpose()?,
    })
}

fn frames(at: &At) -> Result<FramesSpec, Fault> {
    let Tree::Map(_) = at.tree else {
        return Ok(FramesSpec::Path(at.path_text(FRAMES)?));
    };
    let synthetic = at
        .fields(&["synthetic"])?
        .need("synthetic", "{count: 100, seed: 1}")?;
    let keys = synthetic.fields(&["count", "seed"])?;
    Ok(FramesSpec::Synthetic {
        count: keys
            .need("count", "how many frames")?
            .count(1, u64::from(u32::MAX))?,
        seed: keys.get("seed").map_or(Ok(1), |at| at.count(0, u64::MAX))?,
    })
}

fn image(at: &At) -> Result<ImageSpec, Fault> {
    let keys = at.fields(&["size", "layout", "mean", "std"])?;
    let layout = match keys.get("layout") {
        None => None,
        Some(at) => Some(match at.word(&["rgb", "bgr", "grey"])? {
            "rgb" => Layout::Rgb,
            "bgr" => Layout::Bgr,
            _ => Layout::Grey,
        }),
    };
    let channels = |key: &str| match keys.get(key) {
        None => Ok(vec![]),
        Some(at) => per_channel(&at, layout),
    };
    let (mean, std) = (channels("mean")?, channels("std")?);
    if let (Some(at), true) = (keys.get("std"), std.contains(&0.0)) {
        return Err(at.fault("a standard deviation of 0 divides by zero"));
    }
    let size = keys
        .get("size")
        .map(|at| at.sides(MAX_IMAGE, "width and height, e.g. 224x224"))
        .transpose()?;
    Ok(ImageSpec {
        size,
        layout,
        mean,
        std,
    })
}

/// One number, or one for each channel.
fn per_channel(at: &At, layout: Option<Layout>) -> Result<Vec<f32>, Fault> {
    if !matches!(at.tree, Tree::List(_)) {
        return match at.tree {
            Tree::Int(_) | Tree::Float(_) => Ok(vec![at.number()?]),
            _ => Err(at.found("a number, or a list with one for each channel")),
        };
    }
    let items = at.list("")?;
    let numbers: Vec<f32> = items.iter().map(At::number).collect::<Result<_, _>>()?;
    let channels = if layout == Some(Layout::Grey) { 1 } else { 3 };
    match numbers.len() {
        1 => Ok(numbers),
        count if count == channels => Ok(numbers),
        count => Err(at.fault(format!(
            "{count} numbers, expected one, or one for each channel: {channels}"
        ))),
    }
}

fn rank_list(at: &At) -> Result<Vec<RankSpec>, Fault> {
    let items = at.list("a list with an entry for each rank, e.g. [{host: pi0}, {host: pi1}]")?;
    items.iter().map(rank).collect()
}

fn rank(at: &At) -> Result<RankSpec, Fault> {
    let keys = at.fields(&["host", "cores", "threads", "engine", "memory_mb"])?;
    Ok(RankSpec {
        host: keys.get("host").map(|at| host(&at)).transpose()?,
        cores: keys.get("cores").map(|at| cores(&at)).transpose()?,
        threads: keys
            .get("threads")
            .map(|at| at.size(1, MAX_THREADS))
            .transpose()?,
        engine: keys
            .get("engine")
            .map(|at| at.word(&ENGINES).map(String::from))
            .transpose()?,
        memory_mb: keys
            .get("memory_mb")
            .map(|at| at.count(1, 1 << 40))
            .transpose()?,
    })
}

fn host(at: &At) -> Result<String, Fault> {
    let wanted = "the name of a host, e.g. pi0";
    let name = at.text(wanted)?;
    // What a host file's line can hold; a slot count or a user belongs there, not here.
    if !is_host_name(name) {
        return Err(at.found(&format!("{wanted}: letters, digits, `-`, `.` and `_`")));
    }
    Ok(name.into())
}

fn cores(at: &At) -> Result<Vec<usize>, Fault> {
    let list = match at.tree {
        Tree::Int(_) => vec![at.size(0, MAX_CORES - 1)?],
        Tree::List(_) => {
            let items = at.list(CORES)?;
            let core = |item: &At| item.size(0, MAX_CORES - 1);
            items.iter().map(core).collect::<Result<_, _>>()?
        }
        Tree::Text(text) => parse_cores(text, MAX_CORES).ok_or_else(|| at.found(CORES))?,
        _ => return Err(at.found(CORES)),
    };
    if list.is_empty() {
        return Err(at.fault(format!("no core, expected {CORES}")));
    }
    at.no_repeat("core", &list)?;
    Ok(list)
}

fn run(at: &At) -> Result<RunSpec, Fault> {
    let keys = at.fields(&["threads", "in_flight", "engine", "wire", "watchdog"])?;
    let mut run = RunSpec::default();
    if let Some(at) = keys.get("threads") {
        run.threads = at.size(1, MAX_THREADS)?;
    }
    if let Some(at) = keys.get("in_flight") {
        let frames = at.count(1, MAX_IN_FLIGHT)?;
        run.in_flight = Some(u32::try_from(frames).expect("at most a tag"));
    }
    if let Some(at) = keys.get("engine") {
        run.engine = at.word(&ENGINES)?.into();
    }
    if let Some(at) = keys.get("wire") {
        run.wire = at.word(&WIRES)?.into();
    }
    if let Some(at) = keys.get("watchdog") {
        run.watchdog = duration(&at)?;
    }
    Ok(run)
}

fn duration(at: &At) -> Result<Duration, Fault> {
    let wanted = "a time with its unit, e.g. 30s or 500ms, at most a day";
    let Tree::Text(text) = at.tree else {
        return Err(at.found(wanted));
    };
    let value = match text.strip_suffix("ms") {
        Some(number) => whole(number).map(|n| Duration::from_millis(n as u64)),
        None => text
            .strip_suffix('s')
            .and_then(whole)
            .map(|n| Duration::from_secs(n as u64)),
    };
    let good = |value: &Duration| !value.is_zero() && *value <= DAY;
    value.filter(good).ok_or_else(|| at.found(wanted))
}

/// Every rank has a stage, and an entry of `ranks:` where there are any.
fn check_ranks(spec: &Spec, stages: &At, ranks: Option<&At>) -> Result<(), Fault> {
    let used: BTreeSet<usize> = spec.stages.iter().flat_map(|s| s.ranks.clone()).collect();
    let count = used.last().map_or(0, |last| last + 1);
    if let Some(missing) = (0..count).find(|rank| !used.contains(rank)) {
        let last = count - 1;
        return Err(stages.fault(format!(
            "rank {last} has a stage, but rank {missing} has none; ranks count from 0 without a gap"
        )));
    }
    match ranks {
        Some(at) if spec.ranks.len() != count => {
            let entries = match spec.ranks.len() {
                1 => "1 entry".into(),
                n => format!("{n} entries"),
            };
            let plural = if count == 1 { "rank" } else { "ranks" };
            Err(at.fault(format!("{entries}, but the stages name {count} {plural}")))
        }
        _ => Ok(()),
    }
}
