//! Which splits of which models on which platforms are predicted and measured.

use std::path::Path;

/// The models.
pub const MODELS: [&str; 4] = ["resnet50", "mobilenet_v1", "densenet121", "vgg16"];

/// A platform.
pub struct Lab {
    /// For people.
    pub name: &'static str,
    /// `labs/FILE.lab`.
    pub file: &'static str,
    /// How many hosts it has.
    pub hosts: usize,
    /// What all hosts are changed to.
    rate: Option<&'static str>,
}

impl Lab {
    /// Changes for every host.
    pub fn changes(&self) -> Vec<(&'static str, &'static str)> {
        let hosts = ["e1", "e2", "e3", "e4"];
        let each = |rate| hosts[..self.hosts].iter().map(move |&host| (host, rate));
        self.rate.into_iter().flat_map(each).collect()
    }
}

/// All platforms.
pub fn platforms() -> [Lab; 3] {
    let lab = |name, file, hosts, rate| Lab {
        name,
        file,
        hosts,
        rate,
    };
    [
        lab("3 equal hosts at 1 Gbit/s", "equal3", 3, None),
        lab(
            "3 equal hosts at 100 Mbit/s",
            "equal3",
            3,
            Some("rate=100mbit"),
        ),
        lab("4 uneven hosts at 1 Gbit/s", "uneven4", 4, None),
    ]
}

/// One way of splitting a model.
pub struct Split {
    /// For people.
    pub name: &'static str,
    stages: String,
    /// Frames in flight; the spec's own default where none.
    pub window: Option<usize>,
}

impl Split {
    /// The spec.
    pub fn text(&self, model: &Path, frames: &Path) -> String {
        let run = self
            .window
            .map_or(String::new(), |n| format!("run: {{in_flight: {n}}}\n"));
        format!(
            "model: {}\ninput: {{frames: {}}}\n\
             stages: {}\n{run}",
            model.display(),
            frames.display(),
            self.stages
        )
    }
}

/// Where a model is cut: three stages' last nodes, the last node before its matrices or small
/// maps, and the ends of blocks.
struct Cuts {
    stages: [&'static str; 3],
    late: &'static str,
    early: &'static str,
    blocks: &'static str,
}

fn cuts(model: &str) -> Cuts {
    match model {
        "resnet50" => Cuts {
            stages: ["layer2.3.relu", "layer3.3.relu", "layer3.5.relu"],
            late: "layer3.5.relu",
            early: "layer2.3.relu",
            blocks: "layer1.2.relu, layer2.3.relu, layer3.5.relu",
        },
        "mobilenet_v1" => Cuts {
            stages: ["conv5.pw.relu6", "conv9.pw.relu6", "conv12.pw.relu6"],
            late: "conv12.pw.relu6",
            early: "conv5.pw.relu6",
            blocks: "conv3.pw.relu6, conv5.pw.relu6, conv7.pw.relu6, conv9.pw.relu6, \
                     conv11.pw.relu6",
        },
        "densenet121" => Cuts {
            stages: ["transition1.pool", "transition2.pool", "transition3.pool"],
            late: "transition3.pool",
            early: "transition1.pool",
            blocks: "transition1.pool, transition2.pool",
        },
        _ => Cuts {
            stages: ["pool2", "pool3", "pool4"],
            late: "pool4",
            early: "pool3",
            blocks: "pool1, pool2, pool3, pool4",
        },
    }
}

/// Every way for a model over so many hosts.
pub fn splits(model: &str, hosts: usize) -> Vec<Split> {
    let Cuts {
        stages,
        late,
        early,
        blocks,
    } = cuts(model);
    let all: Vec<usize> = (0..hosts).collect();
    let last = hosts - 1;
    let lines = stages[stages.len() - last..].iter().enumerate();
    let lines = lines.map(|(rank, node)| format!("{{until: {node}, ranks: [{rank}]}}, "));
    let stages = format!("[{}{{ranks: [{last}]}}]", lines.collect::<String>());
    let rows = format!("[{{ranks: {all:?}, split: {{by: rows}}}}]");
    let in_blocks = format!(
        "[{{until: {late}, ranks: {all:?}, split: {{by: rows, exchange: [{blocks}]}}}}, \
         {{ranks: [0]}}]"
    );
    let channels = format!("[{{ranks: {all:?}, split: {{by: channels}}}}]");
    let frames = format!("[{{ranks: {all:?}, split: {{by: frames}}}}]");
    let then_channels = format!(
        "[{{until: {late}, ranks: {all:?}, split: {{by: rows}}}}, \
         {{ranks: {all:?}, split: {{by: channels, pair: auto}}}}]"
    );
    let then_frames = format!(
        "[{{until: {early}, ranks: [0, 1], split: {{by: rows, overlap: true}}}}, \
         {{ranks: {:?}, split: {{by: frames}}}}]",
        &all[2..]
    );
    let split = |name, stages: &String, window| Split {
        name,
        stages: stages.clone(),
        window,
    };
    vec![
        split("stages", &stages, Some(1)),
        split("stages", &stages, None),
        split("rows", &rows, Some(1)),
        split("blocks", &in_blocks, Some(1)),
        split("channels", &channels, Some(1)),
        split("frames", &frames, None),
        split("rows-channels", &then_channels, Some(1)),
        split("rows-frames", &then_frames, Some(1)),
        split("rows-frames", &then_frames, None),
    ]
}
