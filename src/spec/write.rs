//! A `Spec` as YAML text that reads back as the same `Spec`.

use super::write_split::split_map;
use super::{FramesSpec, ImageSpec, Layout, RankSpec, RunSpec, Spec, StageNodes, StageSpec};
use crate::document::write::{entry, line, list, map, names, numbers, scalar};

/// The YAML text of a spec, in the form that the README shows; defaults are left out.
///
/// `parse(to_yaml(spec))` is the same spec for every spec that `parse` can give: relative paths
/// stay as they are, and a watchdog has whole milliseconds.
pub fn to_yaml(spec: &Spec) -> String {
    let mut text = String::new();
    line(&mut text, 0, &format!("model: {}", path(&spec.model)));
    if !spec.shapes.is_empty() {
        let length = |(name, n): &(String, usize)| entry(name, &n.to_string());
        line(
            &mut text,
            0,
            &format!("shapes: {}", map(spec.shapes.iter().map(length))),
        );
    }
    if let Some(input) = &spec.input {
        line(&mut text, 0, "input:");
        let frames = match &input.frames {
            FramesSpec::Path(frames) => path(frames),
            FramesSpec::Synthetic { count, seed } => {
                format!("{{synthetic: {{count: {count}, seed: {seed}}}}}")
            }
        };
        line(&mut text, 1, &format!("frames: {frames}"));
        if input.image != ImageSpec::default() {
            line(&mut text, 1, &format!("image: {}", image(&input.image)));
        }
        if let Some(truth) = &input.truth {
            line(&mut text, 1, &format!("truth: {}", path(truth)));
        }
    }
    if let Some(labels) = &spec.labels {
        line(&mut text, 0, &format!("labels: {}", path(labels)));
    }
    if !spec.ranks.is_empty() {
        line(&mut text, 0, "ranks:");
        for entry in &spec.ranks {
            line(&mut text, 1, &format!("- {}", rank(entry)));
        }
    }
    line(&mut text, 0, "stages:");
    for entry in &spec.stages {
        line(&mut text, 1, &format!("- {}", stage(entry)));
    }
    if spec.run != RunSpec::default() {
        line(&mut text, 0, &format!("run: {}", run(&spec.run)));
    }
    text
}

fn path(path: &std::path::Path) -> String {
    scalar(&path.to_string_lossy())
}

fn image(image: &ImageSpec) -> String {
    let mut entries = vec![];
    if let Some((width, height)) = image.size {
        entries.push(format!("size: {width}x{height}"));
    }
    if let Some(layout) = image.layout {
        let word = match layout {
            Layout::Rgb => "rgb",
            Layout::Bgr => "bgr",
            Layout::Grey => "grey",
        };
        entries.push(format!("layout: {word}"));
    }
    for (key, values) in [("mean", &image.mean), ("std", &image.std)] {
        if !values.is_empty() {
            entries.push(format!(
                "{key}: {}",
                list(values.iter().map(|x| number(*x)))
            ));
        }
    }
    map(entries.into_iter())
}

/// The shortest decimal that reads back as the same number; it is read as 64 bits first, and
/// where that rounds twice to another number all its digits are written.
fn number(value: f32) -> String {
    let short = format!("{value:?}");
    match short.parse::<f64>() {
        Ok(read) if read as f32 == value => short,
        _ => format!("{:?}", f64::from(value)),
    }
}

fn rank(rank: &RankSpec) -> String {
    let entries = [
        rank.host
            .as_ref()
            .map(|host| format!("host: {}", scalar(host))),
        rank.cores
            .as_ref()
            .map(|cores| format!("cores: {}", numbers(cores))),
        rank.threads.map(|threads| format!("threads: {threads}")),
        rank.engine
            .as_ref()
            .map(|engine| format!("engine: {}", scalar(engine))),
        rank.memory_mb.map(|memory| format!("memory_mb: {memory}")),
    ];
    map(entries.into_iter().flatten())
}

fn stage(stage: &StageSpec) -> String {
    let nodes = match &stage.nodes {
        StageNodes::Until(name) => Some(format!("until: {}", scalar(name))),
        StageNodes::List(list) => Some(format!("nodes: {}", names(list))),
        StageNodes::Rest => None,
    };
    let ranks = Some(format!("ranks: {}", numbers(&stage.ranks)));
    let split = stage.split.as_ref();
    let split = split.map(|spec| format!("split: {}", split_map(spec)));
    map([nodes, ranks, split].into_iter().flatten())
}

fn run(run: &RunSpec) -> String {
    let watchdog = run.watchdog;
    let time = match watchdog.subsec_millis() {
        0 => format!("{}s", watchdog.as_secs()),
        _ => format!("{}ms", watchdog.as_millis()),
    };
    let entries = [
        Some(format!("threads: {}", run.threads)),
        run.in_flight.map(|frames| format!("in_flight: {frames}")),
        Some(format!("engine: {}", scalar(&run.engine))),
        Some(format!("wire: {}", scalar(&run.wire))),
        Some(format!("watchdog: {time}")),
    ];
    map(entries.into_iter().flatten())
}
