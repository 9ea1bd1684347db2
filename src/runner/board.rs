//! What the main thread and the compute thread of a rank share: the open frames.
//!
//! A frame is at one of the two at a time. The main thread takes in messages and does the steps
//! that only move data; the compute thread takes the oldest frame whose next step computes, does
//! one Run of it and puts it back. So messages never wait for a Run, and between frames the
//! oldest one goes first.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::Duration;

use super::failure::Failure;
use super::frame::{Effect, Frame, Pause, Program};
use crate::engine::Tensor;
use crate::ids::TransferId;

/// The open frames of one rank.
pub struct Board {
    state: Mutex<State>,
    work: Condvar,
    /// Effects were done.
    handed: Condvar,
    main: Thread,
}

/// How long the compute thread waits for the main thread to do an effect.
const HANDOVER: Duration = Duration::from_micros(300);

#[derive(Default)]
struct State {
    /// Oldest first.
    slots: Vec<Slot>,
    /// For the main thread, in order.
    effects: Vec<(u64, Effect)>,
    /// How many of them it has taken and not done yet, and how many it has done.
    taken: u64,
    done: u64,
    failure: Option<Failure>,
    /// The compute thread has a frame, or was woken for one.
    running: bool,
    stopped: bool,
}

struct Slot {
    sequence: u64,
    /// None while the compute thread has it.
    frame: Option<Frame>,
    /// Messages that came while the compute thread had the frame.
    late: Vec<(TransferId, Arc<Tensor>)>,
    sends_done: usize,
    sending: Duration,
}

impl Board {
    /// An empty board; the calling thread is the main thread and is unparked for every effect.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            handed: Condvar::new(),
            main: std::thread::current(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic on the compute thread happens outside of the lock.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes up a frame.
    pub fn open(&self, program: &Program, frame: Frame) {
        let mut state = self.lock();
        let sequence = frame.sequence;
        let slot = Slot {
            sequence,
            frame: Some(frame),
            late: Vec::new(),
            sends_done: 0,
            sending: Duration::ZERO,
        };
        state.slots.push(slot);
        self.settle(&mut state, program, sequence);
    }

    /// Takes in a message of an open frame.
    pub fn arrive(&self, program: &Program, sequence: u64, id: TransferId, tensor: Arc<Tensor>) {
        let mut state = self.lock();
        let Some(slot) = state
            .slots
            .iter_mut()
            .find(|slot| slot.sequence == sequence)
        else {
            return;
        };
        slot.late.push((id, tensor));
        self.settle(&mut state, program, sequence);
    }

    /// A message of an open frame was sent.
    pub fn sent(&self, sequence: u64, took: Duration) {
        let mut state = self.lock();
        if let Some(slot) = state
            .slots
            .iter_mut()
            .find(|slot| slot.sequence == sequence)
        {
            slot.sends_done += 1;
            slot.sending += took;
        }
    }

    /// What steps have handed to the main thread, in order, with the frame's sequence number.
    ///
    /// # Errors
    /// What went wrong on the compute thread.
    pub fn take_effects(&self) -> Result<Vec<(u64, Effect)>, Failure> {
        let mut state = self.lock();
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => {
                state.taken += state.effects.len() as u64;
                Ok(std::mem::take(&mut state.effects))
            }
        }
    }

    /// The oldest frame, where all of its steps and sends are done.
    pub fn take_finished(&self, program: &Program) -> Option<Frame> {
        let mut state = self.lock();
        let at = state.slots.iter().position(|slot| {
            let frame = slot.frame.as_ref();
            frame.is_some_and(|frame| {
                frame.pause(program) == Some(Pause::End) && slot.sends_done == frame.sends_open
            })
        })?;
        let Slot { frame, sending, .. } = state.slots.remove(at);
        let mut frame = frame?;
        frame.times.send += sending;
        Some(frame)
    }

    /// Whether the compute thread is busy, or about to be: a main thread that looks hot at messages
    /// would keep the core from it.
    pub fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Ends the compute thread once it has put its frame back.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.work.notify_all();
    }

    /// For the compute thread: waits for the oldest frame that needs it; none when it is to end.
    pub fn take_work(&self, program: &Program) -> Option<Frame> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let ready = state.slots.iter_mut().find(|slot| {
                let frame = slot.frame.as_ref();
                frame.is_some_and(|frame| frame.pause(program) == Some(Pause::Work))
            });
            if let Some(frame) = ready.and_then(|slot| slot.frame.take()) {
                state.running = true;
                return Some(frame);
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// For the compute thread: an effect in the middle of its work. Returns when the main thread
    /// has done it, or after `HANDOVER`.
    ///
    /// Where both threads share a core, a woken main thread would wait for the end of this
    /// thread's slice, which is milliseconds: first the core is offered to it, and where the
    /// kernel does not take the offer, this thread sleeps.
    pub fn emit(&self, sequence: u64, effect: Effect) {
        let mine = {
            let mut state = self.lock();
            state.effects.push((sequence, effect));
            state.done + state.effects.len() as u64 + state.taken
        };
        self.main.unpark();
        std::thread::yield_now();
        let waits = |state: &mut State| state.done < mine && !state.stopped;
        // Whatever it ended by, the work goes on.
        drop(self.handed.wait_timeout_while(self.lock(), HANDOVER, waits));
    }

    /// The main thread has done what it took.
    pub fn effects_done(&self) {
        let mut state = self.lock();
        state.done += std::mem::take(&mut state.taken);
        drop(state);
        self.handed.notify_all();
    }

    /// For the compute thread: puts a frame back.
    pub fn put_back(&self, program: &Program, frame: Frame) {
        let mut state = self.lock();
        state.running = false;
        let sequence = frame.sequence;
        if let Some(slot) = state
            .slots
            .iter_mut()
            .find(|slot| slot.sequence == sequence)
        {
            slot.frame = Some(frame);
        }
        self.settle(&mut state, program, sequence);
        drop(state);
        self.main.unpark();
    }

    /// For the compute thread: the rank cannot go on.
    pub fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        state.running = false;
        state.failure.get_or_insert(failure);
        drop(state);
        self.main.unpark();
    }

    /// Hands a frame its messages and does what steps only move data.
    fn settle(&self, state: &mut State, program: &Program, sequence: u64) {
        let Some(slot) = state
            .slots
            .iter_mut()
            .find(|slot| slot.sequence == sequence)
        else {
            return;
        };
        let Some(frame) = &mut slot.frame else { return };
        for (id, tensor) in slot.late.drain(..) {
            frame.arrive(id, tensor);
        }
        let mut effects = Vec::new();
        let pause = frame.advance(program, &mut effects);
        state
            .effects
            .extend(effects.into_iter().map(|effect| (sequence, effect)));
        if pause == Pause::Work {
            state.running = true;
            self.work.notify_one();
        }
    }
}
