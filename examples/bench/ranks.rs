//! One rank of a measuring job: the real loop over hand-made or compiled pieces, again and again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use autodice::binding::{bind_current_thread, current_mask};
use autodice::comm::collective::{agree, gather_bytes, CollectiveError};
use autodice::comm::world::World;
use autodice::comm::{Channel, Event, Header, Landing, Link, LinkError, Mailbox};
use autodice::comm::{Payload, ReceiveId, SendId};
use autodice::engine::tract::Tract;
use autodice::engine::{Engine, Executable, Tensor};
use autodice::graph::{Dtype, Graph};
use autodice::ids::{ActivationId, PieceId, Rank};
use autodice::model::cut::cut;
use autodice::model::Weights;
use autodice::plan::Plan;
use autodice::runner::{
    run_loop, sharpen_sleeps, Delivered, Fed, FrameTimes, Head, Interval, Kind,
};
use autodice::runner::{Program, Pulse, Trace};
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::lab::{probe, Probes};

/// Longer than any pause between two runs.
const PATIENCE: Duration = Duration::from_secs(600);
const LIMIT: u64 = 1 << 20;

/// The world as a link of several owners on one thread: the heartbeats' and the ping-pong's.
pub struct Shared(Rc<RefCell<World>>);

/// Starts MPI with this process on a core of its own, where there are enough.
///
/// # Errors
/// Where MPI cannot be started, or the core not be had.
pub fn start() -> Result<(Shared, Rc<RefCell<World>>)> {
    // Not the rank on its host: hosts may be namespaces of one machine.
    let launched = std::env::var("OMPI_COMM_WORLD_RANK");
    let rank: usize = launched
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    take_core(rank)?;
    sharpen_sleeps();
    autodice::heap::for_frames();
    let world = Rc::new(RefCell::new(World::init()?));
    Ok((Shared(Rc::clone(&world)), world))
}

/// Keeps the calling thread, and those that it starts, on one core: `index` counts them round.
///
/// # Errors
/// Where the core cannot be had.
pub fn take_core(index: usize) -> Result<()> {
    let mut cores = current_mask()?.0;
    cores.sort_unstable();
    bind_current_thread(&[cores[index % cores.len()]])
}

/// The job's end, in order.
pub fn end(world: &Rc<RefCell<World>>) {
    world.borrow_mut().close();
}

impl Link for Shared {
    fn rank(&self) -> Rank {
        self.0.borrow().rank()
    }

    fn size(&self) -> usize {
        self.0.borrow().size()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        self.0.borrow_mut().send(channel, to, tag, header, payload)
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        self.0.borrow_mut().receive(channel, from, tag, landing)
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        self.0.borrow_mut().poll()
    }

    fn is_moving(&self) -> bool {
        self.0.borrow().is_moving()
    }

    fn abort(&mut self, code: i32) {
        self.0.borrow_mut().abort(code);
    }

    fn close(&mut self) {
        self.0.borrow_mut().close();
    }
}

/// A link under the heartbeats of a real job.
pub fn pulse(link: &mut Shared) -> Pulse<'_> {
    Pulse::new(link, PATIENCE)
}

/// All ranks are here when it returns.
///
/// # Errors
/// Where the link failed.
pub fn meet(link: &mut dyn Link) -> Result<()> {
    agree::<_, CollectiveError>(&mut Mailbox::new(link), None, &mut |_| {
        std::thread::sleep(Duration::from_micros(100));
        Ok(())
    })?;
    Ok(())
}

/// Every rank's value, on rank 0; nothing elsewhere.
///
/// # Errors
/// Where the link failed.
pub fn gather<T: Serialize + DeserializeOwned>(link: &mut dyn Link, own: &T) -> Result<Vec<T>> {
    let bytes = serde_json::to_vec(own)?;
    let mut mail = Mailbox::new(link);
    let all = gather_bytes::<_, CollectiveError>(&mut mail, bytes, LIMIT, &mut |_| {
        std::thread::sleep(Duration::from_micros(100));
        Ok(())
    })?;
    Ok(all
        .iter()
        .map(|bytes| serde_json::from_slice(bytes))
        .collect::<Result<_, _>>()?)
}

/// Whether rank 0 says so.
///
/// # Errors
/// Where the link failed.
pub fn told(link: &mut dyn Link, own: bool) -> Result<bool> {
    let failure = (link.rank() == Rank(0) && own).then_some(1);
    let said = agree::<_, CollectiveError>(&mut Mailbox::new(link), failure, &mut |_| {
        std::thread::sleep(Duration::from_micros(100));
        Ok(())
    })?;
    Ok(said.is_some())
}

/// Measures something between two probes that all ranks take at once. Rank 0 gets every rank's
/// value and probes.
///
/// # Errors
/// Where the link failed, or `measure` did.
pub fn probed<'a, T: Serialize + DeserializeOwned>(
    link: &mut Pulse<'a>,
    measure: impl FnOnce(&mut Pulse<'a>) -> Result<T>,
) -> Result<(Vec<T>, Probes)> {
    meet(link)?;
    let before = probe();
    meet(link)?;
    let value = measure(link)?;
    meet(link)?;
    let after = probe();
    let all = gather(link, &(value, before, after))?;
    Ok(all
        .into_iter()
        .map(|(value, before, after)| (value, (before, after)))
        .unzip())
}

/// What one rank did in one run.
pub struct Ran {
    /// When what was done, where it was traced.
    pub trace: Vec<Interval>,
    /// By frame, in the order of closing.
    pub times: Vec<FrameTimes>,
    /// When each frame was opened and complete, on rank 0.
    pub frames: Vec<(Instant, Instant)>,
}

impl Ran {
    /// Milliseconds between two frames once the first `skipped` are out.
    pub fn period_ms(&self, skipped: usize) -> f64 {
        let landed: Vec<Instant> = self.frames[skipped..].iter().map(|frame| frame.1).collect();
        let (first, last) = (landed[0], landed[landed.len() - 1]);
        (last - first).as_secs_f64() * 1e3 / (landed.len() - 1) as f64
    }

    /// Median milliseconds from a frame's opening to its last output, once the first `skipped`
    /// are out.
    pub fn latency_ms(&self, skipped: usize) -> f64 {
        let frames = self.frames[skipped..].iter();
        let mut latencies: Vec<_> = frames.map(|frame| frame.1 - frame.0).collect();
        latencies.sort();
        latencies[latencies.len() / 2].as_secs_f64() * 1e3
    }

    /// Mean compute time of a frame in milliseconds, without the first `skipped`.
    pub fn compute_ms(&self, skipped: usize) -> f64 {
        let times = &self.times[skipped..];
        let all: Duration = times.iter().map(|times| times.compute).sum();
        all.as_secs_f64() * 1e3 / times.len() as f64
    }

    /// Mean pause between one Run and the next in milliseconds, by frame, without the first
    /// `skipped` frames; where it was traced.
    pub fn gap_ms(&self, skipped: usize) -> f64 {
        let is_run = |interval: &&Interval| matches!(interval.kind, Kind::Run(_));
        let mut runs: Vec<_> = self.trace.iter().filter(is_run).collect();
        runs.sort_by_key(|run| run.start);
        runs.retain(|run| run.sequence >= skipped as u64);
        let gaps = runs.windows(2).map(|two| two[1].start - two[0].end);
        gaps.sum::<Duration>().as_secs_f64() * 1e3 / (self.times.len() - skipped) as f64
    }
}

/// Runs `count` frames of one input through the real loop. The pieces stay loaded.
///
/// # Errors
/// Where the loop fails.
pub fn run(
    link: &mut dyn Link,
    program: &Arc<Program>,
    pieces: &[Keep],
    count: usize,
    traced: bool,
) -> Result<Ran> {
    let graph = &program.graph;
    let (feed, fed) = sync_channel(count);
    let (sink, delivered) = sync_channel::<Delivered>(count);
    let head = (program.rank == Rank(0)).then(|| {
        let inputs: BTreeMap<ActivationId, _> = graph
            .inputs
            .iter()
            .map(|&id| (id, input(graph, id)))
            .collect();
        for number in 0..count as u64 {
            let inputs = inputs.clone();
            feed.send(Fed {
                number: Some(number),
                inputs,
            })
            .expect("the channel holds all");
        }
        Head::new(fed, sink, graph.outputs.clone(), program.plan.window)
    });
    drop(feed);
    let trace = Arc::new(Trace::new(traced));
    let boxed = pieces
        .iter()
        .map(|piece| Box::new(piece.clone()) as Box<dyn Executable>);
    let never = AtomicBool::new(false);
    let driven = run_loop(
        link,
        program,
        boxed.collect(),
        head,
        (&trace, &never),
        || {},
    );
    let driven = driven.map_err(|failure| anyhow!("{failure}"))?;
    let frames = delivered
        .into_iter()
        .map(|frame| (frame.opened, frame.opened + frame.latency));
    Ok(Ran {
        trace: trace.take(),
        times: driven.times.into_iter().map(|(_, times)| times).collect(),
        frames: frames.collect(),
    })
}

/// A loaded piece that outlives the loop which runs it.
#[derive(Clone)]
pub struct Keep(Arc<Mutex<Box<dyn Executable>>>);

impl Keep {
    /// Keeps it.
    pub fn new(piece: Box<dyn Executable>) -> Self {
        Self(Arc::new(Mutex::new(piece)))
    }
}

impl Executable for Keep {
    fn run(&mut self, inputs: &[Arc<Tensor>]) -> Result<Vec<Tensor>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .run(inputs)
    }
}

/// Cuts and loads all pieces of a rank, for one thread.
///
/// # Errors
/// What the cutter or the engine says.
pub fn load(graph: &Graph, plan: &Plan, rank: Rank, weights: &dyn Weights) -> Result<Vec<Keep>> {
    let engine = Tract::new(1)?;
    let count = plan.ranks[rank.index()].pieces.len();
    let load = |index: usize| {
        let sub_model = cut(graph, plan, rank, PieceId::new(index), weights)?;
        Ok(Keep::new(engine.load(sub_model)?))
    };
    (0..count).map(load).collect()
}

/// A tensor for an activation, with numbers around zero in it.
pub fn input(graph: &Graph, id: ActivationId) -> Arc<Tensor> {
    let activation = graph.activation(id);
    assert_eq!(activation.dtype, Dtype::F32, "the models here take floats");
    numbers(&activation.shape)
}

/// A tensor with numbers around zero in it.
pub fn numbers(shape: &[usize]) -> Arc<Tensor> {
    let mut tensor = Tensor::zeros(Dtype::F32, shape);
    for (index, cell) in tensor.bytes_mut().chunks_exact_mut(4).enumerate() {
        let number = (index * 2_654_435_761 % 1000) as f32 / 500.0 - 1.0;
        cell.copy_from_slice(&number.to_le_bytes());
    }
    Arc::new(tensor)
}

/// What a stand-in for a piece does before it returns.
#[derive(Clone, Copy, Debug)]
pub enum Pastime {
    /// Nothing.
    None,
    /// Keeps its core busy.
    Busy(Duration),
    /// Sleeps.
    Sleep(Duration),
}

/// A piece that makes tensors of given shapes out of nothing.
pub struct StandIn {
    shapes: Vec<Vec<usize>>,
    data: Vec<u8>,
    pastime: Pastime,
}

impl StandIn {
    /// Stand-ins for the pieces of a rank, with what each does.
    pub fn for_rank(plan: &Plan, rank: Rank, pastimes: &[Pastime]) -> Vec<Keep> {
        let pieces = &plan.ranks[rank.index()].pieces;
        assert_eq!(
            pieces.len(),
            pastimes.len(),
            "a pastime for each piece of rank {rank}"
        );
        let both = pieces.iter().zip(pastimes);
        let make = both.map(|(piece, &pastime)| {
            let shapes: Vec<_> = piece
                .outputs
                .iter()
                .map(|(_, region)| region.shape())
                .collect();
            let volume = |shape: &Vec<usize>| shape.iter().product::<usize>() * 4;
            let longest = shapes.iter().map(volume).max().unwrap_or(0);
            let data = vec![1; longest];
            Keep::new(Box::new(Self {
                shapes,
                data,
                pastime,
            }))
        });
        make.collect()
    }
}

impl Executable for StandIn {
    fn run(&mut self, _: &[Arc<Tensor>]) -> Result<Vec<Tensor>> {
        match self.pastime {
            Pastime::None => {}
            Pastime::Sleep(time) => std::thread::sleep(time),
            Pastime::Busy(time) => {
                let start = Instant::now();
                while start.elapsed() < time {
                    std::hint::spin_loop();
                }
            }
        }
        let made = self.shapes.iter().map(|shape| {
            let mut tensor = Tensor::zeros(Dtype::F32, shape);
            let bytes = tensor.bytes_mut();
            let length = bytes.len();
            // Written, as an engine does: pages that nobody touched would be made on the way.
            bytes.copy_from_slice(&self.data[..length]);
            tensor
        });
        Ok(made.collect())
    }
}
