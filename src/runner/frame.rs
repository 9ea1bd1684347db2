//! One open frame of one rank: how far it is, and its steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::failure::{one_line, Failure};
use super::reduce;
use super::store::Store;
use super::times::FrameTimes;
use super::trace::{Kind, Trace};
use crate::engine::{Executable, Tensor};
use crate::graph::Graph;
use crate::ids::{ActivationId, Rank, TransferId};
use crate::plan::{Plan, RankPlan, Step};

/// What a rank's steps need besides the frame: the same for all frames.
#[derive(Debug)]
pub struct Program {
    /// The model's facts.
    pub graph: Graph,
    /// The plan of all ranks.
    pub plan: Plan,
    /// Which rank's steps these are.
    pub rank: Rank,
}

impl Program {
    /// What this rank holds and does.
    pub fn own(&self) -> &RankPlan {
        &self.plan.ranks[self.rank.index()]
    }
}

/// Something that a step hands to the main thread.
pub enum Effect {
    /// Start this message.
    Send(TransferId, Arc<Tensor>),
    /// A model output of this frame.
    Output(ActivationId, Arc<Tensor>),
}

/// One frame in flight on this rank.
pub struct Frame {
    /// Its sequence number.
    pub sequence: u64,
    /// The next step.
    cursor: usize,
    store: Store,
    /// The frame's data, on rank 0.
    inputs: BTreeMap<ActivationId, Arc<Tensor>>,
    /// Messages that are here and not yet taken by their step.
    pub arrived: BTreeMap<TransferId, Arc<Tensor>>,
    /// Since when the next step waits for a message.
    waiting: Option<Instant>,
    /// Messages started and not yet completed.
    pub sends_open: usize,
    /// What it cost so far.
    pub times: FrameTimes,
}

/// Why a frame's walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The next step waits for a message.
    Receive,
    /// The next step computes.
    Work,
    /// There is no next step.
    End,
}

impl Frame {
    /// A frame before its first step.
    pub fn open(
        program: &Program,
        sequence: u64,
        inputs: BTreeMap<ActivationId, Arc<Tensor>>,
    ) -> Self {
        Self {
            sequence,
            cursor: 0,
            store: Store::new(program.own().parts.len()),
            inputs,
            arrived: BTreeMap::new(),
            waiting: None,
            sends_open: 0,
            times: FrameTimes::default(),
        }
    }

    fn step<'p>(&self, program: &'p Program) -> Option<&'p Step> {
        program
            .plan
            .steps(program.rank, self.sequence)
            .get(self.cursor)
    }

    /// Whether the next step is one that `advance` stops before and `work` does.
    pub fn pause(&self, program: &Program) -> Option<Pause> {
        match self.step(program) {
            None => Some(Pause::End),
            Some(Step::Receive(id)) if !self.arrived.contains_key(id) => Some(Pause::Receive),
            Some(step) if self.computes(program, step) => Some(Pause::Work),
            Some(_) => None,
        }
    }

    /// Whether a step copies or computes, and so belongs on the compute thread.
    fn computes(&self, program: &Program, step: &Step) -> bool {
        let part = |id| program.plan.part(program.rank, id);
        match step {
            Step::Run(_) | Step::Assemble { .. } | Step::Reduce { .. } => true,
            Step::Receive(id) => {
                let transfer = program.plan.transfer(*id);
                part(transfer.to_part).region != transfer.region
            }
            Step::Send(id) => {
                let transfer = program.plan.transfer(*id);
                let whole = part(transfer.from_part).region == transfer.region;
                !whole || !self.store.is_closed(transfer.from_part)
            }
            Step::Input(_) | Step::Output(_) | Step::Release(_) => false,
        }
    }

    /// Does every step that only moves data, up to the next pause.
    pub fn advance(&mut self, program: &Program, effects: &mut Vec<Effect>) -> Pause {
        loop {
            if let Some(pause) = self.pause(program) {
                if pause == Pause::Receive && self.waiting.is_none() {
                    self.waiting = Some(Instant::now());
                }
                return pause;
            }
            self.do_step(program, effects);
        }
    }

    /// Does computing steps up to and including one Run, then what only moves data.
    ///
    /// # Errors
    /// `Failure` of the engine.
    pub fn work(
        &mut self,
        program: &Program,
        pieces: &mut [Box<dyn Executable>],
        trace: &Trace,
        mut effect: impl FnMut(Effect),
    ) -> Result<Pause, Failure> {
        let mut effects = Vec::new();
        loop {
            let pause = self.advance(program, &mut effects);
            effects.drain(..).for_each(&mut effect);
            if pause != Pause::Work {
                return Ok(pause);
            }
            let started = Instant::now();
            let ran = self.compute(program, pieces, &mut effects, trace)?;
            self.times.compute += started.elapsed();
            effects.drain(..).for_each(&mut effect);
            if ran {
                let pause = self.advance(program, &mut effects);
                effects.drain(..).for_each(&mut effect);
                return Ok(pause);
            }
        }
    }

    /// Takes in a message for this frame.
    pub fn arrive(&mut self, id: TransferId, tensor: Arc<Tensor>) {
        self.arrived.insert(id, tensor);
    }

    /// Gives the landings back; the frame is over.
    pub fn close(&mut self) -> Vec<super::store::Returned> {
        self.store.clear()
    }

    /// A step that only moves data.
    fn do_step(&mut self, program: &Program, effects: &mut Vec<Effect>) {
        let Some(step) = self.step(program).cloned() else {
            return;
        };
        self.cursor += 1;
        match step {
            Step::Input(id) => {
                let activation = program.own().parts[id.index()].activation;
                let tensor = Arc::clone(&self.inputs[&activation]);
                self.store.put(id, tensor, None);
            }
            Step::Receive(id) => {
                self.end_wait();
                let tensor = self
                    .arrived
                    .remove(&id)
                    .expect("the pause ended with its arrival");
                self.times.received_bytes += tensor.bytes().len() as u64;
                self.store
                    .put(program.plan.transfer(id).to_part, tensor, Some(id));
            }
            Step::Send(id) => {
                let tensor = self.store.read(program.plan.transfer(id).from_part);
                self.send(id, tensor, effects);
            }
            Step::Output(id) => {
                let activation = program.own().parts[id.index()].activation;
                effects.push(Effect::Output(activation, self.store.read(id)));
            }
            Step::Release(id) => self.store.release(id),
            Step::Run(_) | Step::Assemble { .. } | Step::Reduce { .. } => {
                unreachable!("a computing step is a pause")
            }
        }
    }

    fn end_wait(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.times.receive += since.elapsed();
        }
    }

    fn send(&mut self, id: TransferId, tensor: Arc<Tensor>, effects: &mut Vec<Effect>) {
        self.sends_open += 1;
        self.times.sent_bytes += tensor.bytes().len() as u64;
        effects.push(Effect::Send(id, tensor));
    }

    /// A step that copies or computes; whether it was a Run.
    fn compute(
        &mut self,
        program: &Program,
        pieces: &mut [Box<dyn Executable>],
        effects: &mut Vec<Effect>,
        trace: &Trace,
    ) -> Result<bool, Failure> {
        let Some(step) = self.step(program).cloned() else {
            return Ok(false);
        };
        self.cursor += 1;
        let (graph, own) = (&program.graph, program.own());
        let started = Instant::now();
        match &step {
            Step::Run(id) => {
                let piece = &own.pieces[id.index()];
                let inputs: Vec<_> = piece
                    .inputs
                    .iter()
                    .map(|(part, region)| self.store.take_box(graph, own, *part, region))
                    .collect();
                let outputs = pieces[id.index()].run(&inputs);
                let outputs = outputs.map_err(|error| Failure::from_error(&error))?;
                for ((part, region), tensor) in piece.outputs.iter().zip(outputs) {
                    if tensor.shape() != region.shape() {
                        let (found, name) = (tensor.shape().to_vec(), id);
                        let expected = region.shape();
                        let line = format!("{name} made a tensor {found:?}, not {expected:?}");
                        return Err(Failure::new(super::failure::DEFECT, one_line(&line)));
                    }
                    match *region == own.parts[part.index()].region {
                        true => self.store.put(*part, Arc::new(tensor), None),
                        false => self.store.write(graph, own, *part, region, &tensor),
                    }
                }
            }
            Step::Assemble { from, into } => {
                from.iter()
                    .for_each(|&part| self.store.assemble(graph, own, part, *into));
            }
            Step::Reduce { op: _, from, into } => {
                let region = &own.parts[into.index()].region;
                let mut boxes = from
                    .iter()
                    .map(|&part| self.store.take_box(graph, own, part, region));
                let first = boxes.next();
                let rest: Vec<_> = boxes.collect();
                if let Some(first) = first {
                    let mut sum = Tensor::zeros(first.dtype(), first.shape());
                    sum.bytes_mut().copy_from_slice(first.bytes());
                    for addend in rest {
                        let added = reduce::add(&mut sum, &addend);
                        added.map_err(|error| Failure::from_error(&error))?;
                    }
                    self.store.put(*into, Arc::new(sum), None);
                }
            }
            Step::Receive(id) => {
                self.end_wait();
                let transfer = program.plan.transfer(*id);
                let tensor = self
                    .arrived
                    .remove(id)
                    .expect("the pause ended with its arrival");
                self.times.received_bytes += tensor.bytes().len() as u64;
                self.store
                    .write(graph, own, transfer.to_part, &transfer.region, &tensor);
                self.store.give_back(*id, tensor);
            }
            Step::Send(id) => {
                let transfer = program.plan.transfer(*id);
                let part = transfer.from_part;
                let tensor = self.store.take_box(graph, own, part, &transfer.region);
                self.send(*id, tensor, effects);
            }
            Step::Input(_) | Step::Output(_) | Step::Release(_) => {
                unreachable!("a step that only moves data is no work")
            }
        }
        let kind = match step {
            Step::Run(id) => Kind::Run(id),
            _ => Kind::Copy,
        };
        trace.add(kind, self.sequence, started, Instant::now());
        Ok(matches!(step, Step::Run(_)))
    }
}
