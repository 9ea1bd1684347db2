//! Rank 0's collecting thread: outputs are written, compared and counted in the frames' order.

use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::failure::Failure;
use super::feed::Entry;
use super::head::Delivered;
use super::progress::Progress;
use super::setup::spawn;
use crate::engine::{Executable, Tensor};
use crate::frames::{compare, top_k, Comparison, Sink, Truth};
use crate::graph::{Dtype, Value};

/// What is done with outputs.
pub struct Collecting {
    /// Where they are written, if they are.
    pub sink: Option<Sink>,
    /// Right answers by source.
    pub truth: Option<Truth>,
    /// The uncut model, to compare with.
    pub reference: Option<Box<dyn Executable>>,
    /// Whether to say nothing on the way.
    pub quiet: bool,
    /// Items that the source has, where it knows.
    pub total: Option<u64>,
}

/// What the outputs came to.
#[derive(Debug, Default)]
pub struct Collected {
    /// Of every frame that counts, in order.
    pub latencies: Vec<Duration>,
    /// When the first frame that counts was opened.
    pub opened: Option<Instant>,
    /// When every frame that counts was complete, in order.
    pub landed: Vec<Instant>,
    /// All outputs against the reference; none where nothing was compared.
    pub comparison: Option<Comparison>,
    /// Items that could not be read.
    pub bad: u64,
    /// Frames with a right answer known, and with the right answer given.
    pub answers: (u64, u64),
}

/// Starts the collecting thread; it ends when the last frame has come.
pub fn start(
    delivered: Receiver<Delivered>,
    entries: Receiver<Entry>,
    collecting: Collecting,
) -> JoinHandle<Result<Collected, Failure>> {
    spawn(move || {
        let collected = collect(&delivered, &entries, collecting);
        collected.map_err(|error| Failure::from_error(&error))
    })
}

fn collect(
    delivered: &Receiver<Delivered>,
    entries: &Receiver<Entry>,
    mut collecting: Collecting,
) -> Result<Collected> {
    let mut sink = collecting.sink.take();
    let mut collected = Collected {
        comparison: collecting.reference.is_some().then(Comparison::default),
        ..Collected::default()
    };
    let mut progress = Progress::start(collecting.total, collecting.quiet);
    for frame in delivered {
        let Some(number) = frame.number else { continue };
        while let Ok(entry) = entries.recv() {
            match entry {
                Entry::Bad { source, reason } => {
                    bad(&mut collected, sink.as_mut(), &source, &reason)?;
                }
                Entry::Frame {
                    number: at,
                    source,
                    inputs,
                } => {
                    assert_eq!(at, number, "frames are delivered in order");
                    let inputs = inputs.as_deref();
                    take(
                        &mut collected,
                        &mut collecting,
                        sink.as_mut(),
                        &frame,
                        &source,
                        inputs,
                    )?;
                    break;
                }
            }
        }
        progress.step(collected.latencies.len());
    }
    // What is left are items behind the last frame, and frames that were given up.
    for entry in entries.try_iter() {
        if let Entry::Bad { source, reason } = entry {
            bad(&mut collected, sink.as_mut(), &source, &reason)?;
        }
    }
    if let Some(sink) = sink {
        sink.sync()?;
    }
    Ok(collected)
}

fn bad(
    collected: &mut Collected,
    sink: Option<&mut Sink>,
    source: &str,
    reason: &str,
) -> Result<()> {
    collected.bad += 1;
    log::warn!("{source}: {reason}");
    sink.map_or(Ok(()), |sink| sink.bad(source, reason))
}

fn take(
    collected: &mut Collected,
    collecting: &mut Collecting,
    sink: Option<&mut Sink>,
    frame: &Delivered,
    source: &str,
    inputs: Option<&[Arc<Tensor>]>,
) -> Result<()> {
    collected.opened.get_or_insert(frame.opened);
    collected.latencies.push(frame.latency);
    collected.landed.push(frame.opened + frame.latency);
    let values: Vec<_> = frame
        .outputs
        .iter()
        .map(|tensor| tensor.to_value())
        .collect();
    if let (Some(reference), Some(inputs)) = (&mut collecting.reference, inputs) {
        let expected = reference.run(inputs)?;
        for (value, expected) in values.iter().zip(&expected) {
            let comparison = compare(value, &expected.to_value());
            collected
                .comparison
                .get_or_insert_default()
                .merge(&comparison);
        }
    }
    if let Some(right) = collecting
        .truth
        .as_ref()
        .and_then(|truth| judge(truth, source, &values))
    {
        collected.answers.0 += 1;
        collected.answers.1 += u64::from(right);
    }
    let latency_ms = frame.latency.as_secs_f64() * 1e3;
    let number = collected.latencies.len() as u64 - 1;
    sink.map_or(Ok(()), |sink| {
        sink.frame(number, source, latency_ms, &values)
    })
}

/// Whether the first output's highest score is the source's class; none where either is unknown.
fn judge(truth: &Truth, source: &str, outputs: &[Value]) -> Option<bool> {
    let scores = outputs
        .first()
        .filter(|output| output.dtype == Dtype::F32)?;
    let &(class, _) = top_k(scores, 1).first()?;
    Some(truth.class(source)? == class)
}
