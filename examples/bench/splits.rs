//! Splits inside a stage on two ranks against the whole model on one.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use autodice::comm::threads::{links, Options};
use autodice::comm::Link;
use autodice::ids::Rank;
use autodice::model::read::{read, Source};
use serde::{Deserialize, Serialize};

use crate::lab::{exclude_slow_reading, is_over, Case, Memory, Quota, Rule, Sample, READING};
use crate::launch::{print_sample, workers, Transport};
use crate::models;
use crate::ranks::{self, load, probed, run, told, Keep, Ran};
use crate::record::{Bar, Record};

const FRAMES: usize = 5;
const SKIPPED: usize = 2;

/// One spec and its bar.
struct Split {
    name: &'static str,
    model: &'static str,
    stages: &'static str,
    in_flight: u32,
    least: f64,
}

/// What each stage of a spec is, on ranks 0 and 1.
const SPLITS: [Split; 6] = [
    Split {
        name: "vgg16 by rows, exchange each: latency",
        model: "vgg16",
        stages: "[{ranks: [0, 1], split: {by: rows}}]",
        in_flight: 1,
        least: 1.75,
    },
    Split {
        // Behind conv4_1 each rank adds up over its own channels wherever it has them: it gathers
        // the columns of half of the inputs only, and gets its half of the sums.
        name: "vgg16 by rows, from conv4 by channels with scattered sums: latency",
        model: "vgg16",
        stages: "[{until: pool3, ranks: [0, 1], split: {by: rows}}, \
                 {ranks: [0, 1], split: {by: channels, pair: [\
                 {nodes: [conv4_2], reduce: scatter}, \
                 {nodes: [conv4_3], reduce: scatter}, \
                 {nodes: [conv5_1], reduce: scatter}, \
                 {nodes: [conv5_2], reduce: scatter}, \
                 {nodes: [conv5_3], reduce: scatter}, \
                 {nodes: [fc6, fc7]}]}}]",
        in_flight: 1,
        least: 1.88,
    },
    Split {
        // In layer4 each rank adds up over its own channels wherever it has them, and gets its half
        // of the sums: no rank packs what the other packs too.
        name: "resnet50 by rows, layer4 by channels with scattered sums: latency",
        model: "resnet50",
        stages: "[{until: layer3.5.relu, ranks: [0, 1], split: {by: rows}}, \
                 {ranks: [0, 1], split: {by: channels, pair: [\
                 {nodes: [layer4.0.conv2], reduce: scatter}, \
                 {nodes: [layer4.1.conv1], reduce: scatter}, \
                 {nodes: [layer4.1.conv2], reduce: scatter}, \
                 {nodes: [layer4.2.conv1], reduce: scatter}, \
                 {nodes: [layer4.2.conv2], reduce: scatter}]}}]",
        in_flight: 1,
        least: 1.75,
    },
    Split {
        name: "densenet121 by rows, from transition3 by channels: latency",
        model: "densenet121",
        stages: "[{until: transition3.pool, ranks: [0, 1], split: {by: rows}}, \
                 {ranks: [0, 1], split: {by: channels}}]",
        in_flight: 1,
        least: 1.6,
    },
    Split {
        name: "mobilenet_v1 by rows in blocks, from conv13 by channels: latency",
        model: "mobilenet_v1",
        stages: "[{until: conv12.pw.relu6, ranks: [0, 1], split: {by: rows, \
                 exchange: [conv3.pw.relu6, conv5.pw.relu6, conv7.pw.relu6, conv9.pw.relu6, \
                 conv11.pw.relu6]}}, {ranks: [0, 1], split: {by: channels}}]",
        in_flight: 1,
        least: 1.65,
    },
    Split {
        name: "resnet50 by frames: throughput",
        model: "resnet50",
        stages: "[{ranks: [0, 1], split: {by: frames}}]",
        in_flight: 4,
        least: 1.9,
    },
];

/// Every spec of the table, one job each.
///
/// # Errors
/// Where a model is missing or a job fails.
pub fn splits(folder: &Path, quota: Quota) -> Result<Record> {
    let (mut bars, mut samples, mut notes) = (vec![], vec![], vec![]);
    for (index, split) in SPLITS.iter().enumerate() {
        let model = models::file(folder, split.model)?;
        let arguments = [
            "split".to_string(),
            model.display().to_string(),
            index.to_string(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        let (mut measured, said) = workers(2, Transport::SharedMemory, &[], &arguments)?;
        exclude_slow_reading(&mut measured);
        let case = Case::of(&measured, split.name);
        let bar = format!("≥ {}×", split.least);
        let least = split.least;
        let gain = |case: &Case<'_>| case.median("gain");
        bars.push(Bar::judged((split.name, &bar), &case, (gain, "×"), |g| {
            g >= least
        }));
        samples.extend(measured);
        notes.extend(said);
    }
    let how = "Two MPI processes on a core each, one thread each, shared memory. In turn: the \
        whole model through the loop on rank 0 alone, on rank 1 alone, then both ranks by the \
        spec; before and after, both read through 12 MiB each. Gain = mean of the two single times \
        / the time of both; time = latency with one frame in flight, or the period of frames where \
        more are.";
    Ok(Record {
        part: "splits",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// What one rank of a job does.
///
/// # Errors
/// Where the job fails.
pub fn worker(model: &Path, index: &str, quota: Quota) -> Result<()> {
    let trial;
    let split = match index.parse::<usize>() {
        Ok(index) => SPLITS.get(index).context("no such split")?,
        // Anything else is the stages of a spec to try.
        Err(_) => {
            trial = Split {
                name: "trial",
                model: "",
                stages: index.to_string().leak(),
                in_flight: 1,
                least: 0.0,
            };
            &trial
        }
    };
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    let source = read(model, &[])?;
    let plan = models::plan(&source.graph, &text(model, split.stages, split.in_flight))?;
    let program = models::program(&source.graph, &plan, rank);
    let pieces = load(&source.graph, &plan, rank, &source)?;
    let alone = Alone::new(&source, model, split)?;
    let memory = Memory::new();
    let (start, mut samples) = (Instant::now(), Vec::new());
    loop {
        let (both, probes) = probed(&mut link, |link| {
            let reading_before = memory.reading_ms();
            let mut alone_ms = 0.0;
            for turn in [Rank(0), Rank(1)] {
                ranks::meet(link)?;
                if turn == rank {
                    alone_ms = alone.time_ms()?;
                }
            }
            ranks::meet(link)?;
            // Two replicas deliver in pairs: from one's frame to one of its own.
            let frames = FRAMES * split.in_flight as usize + usize::from(split.in_flight > 1);
            let ran = run(link, &program, &pieces, frames, true)?;
            let time_ms = match rank {
                Rank(0) => time_ms(&ran, split),
                _ => 0.0,
            };
            ranks::meet(link)?;
            let reading_ms = memory.reading_ms().max(reading_before);
            Ok(Own {
                alone_ms,
                time_ms,
                compute_ms: ran.compute_ms(SKIPPED),
                reading_ms,
            })
        })?;
        if let [zero, one] = &both[..] {
            let single = (zero.alone_ms + one.alone_ms) / 2.0;
            let values = [
                ("alone0_ms", zero.alone_ms),
                ("alone1_ms", one.alone_ms),
                ("both_ms", zero.time_ms),
                ("compute0_ms", zero.compute_ms),
                ("compute1_ms", one.compute_ms),
                (READING, zero.reading_ms.max(one.reading_ms)),
                ("gain", single / zero.time_ms),
            ];
            let sample = Sample::new(split.name, Rule::DriftAndCores, probes, &values);
            print_sample(&sample)?;
            samples.push(sample);
        }
        let mut judged = samples.clone();
        exclude_slow_reading(&mut judged);
        let over = rank == Rank(0) && is_over(quota, start, &judged);
        if told(&mut link, over)? {
            break;
        }
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}

fn text(model: &Path, stages: &str, in_flight: u32) -> String {
    let model = model.display();
    format!("model: {model}\nstages: {stages}\nrun: {{in_flight: {in_flight}}}\n")
}

/// The latency of one frame in flight, the period of several.
fn time_ms(ran: &Ran, split: &Split) -> f64 {
    match split.in_flight {
        1 => ran.latency_ms(SKIPPED),
        _ => ran.period_ms(SKIPPED),
    }
}

/// What one rank measured for one sample, in milliseconds per frame.
#[derive(Serialize, Deserialize)]
struct Own {
    /// The whole model, while the other rank waits.
    alone_ms: f64,
    /// Both ranks by the spec; on rank 0 alone.
    time_ms: f64,
    /// Its compute thread in that.
    compute_ms: f64,
    /// Reading through memory on both ranks at once, the longer of before and after.
    reading_ms: f64,
}

/// The whole model on this rank alone.
struct Alone<'a> {
    split: &'a Split,
    program: std::sync::Arc<autodice::runner::Program>,
    pieces: Vec<Keep>,
}

impl<'a> Alone<'a> {
    fn new(source: &Source, model: &Path, split: &'a Split) -> Result<Self> {
        let text = text(model, "[{ranks: [0]}]", 1);
        let plan = models::plan(&source.graph, &text)?;
        let program = models::program(&source.graph, &plan, Rank(0));
        let pieces = load(&source.graph, &plan, Rank(0), source)?;
        Ok(Self {
            split,
            program,
            pieces,
        })
    }

    fn time_ms(&self) -> Result<f64> {
        let mut link = links(1, Options::default()).remove(0);
        let ran = run(&mut link, &self.program, &self.pieces, FRAMES, false)?;
        link.close();
        Ok(time_ms(&ran, self.split))
    }
}
