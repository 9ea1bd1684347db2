//! Rank 0's part of the frame protocol: which frame opens when, and what comes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::Tensor;
use crate::ids::ActivationId;

/// A decoded frame on its way into the model.
pub struct Fed {
    /// Its frame number; none for a warm-up, which appears in no output and no statistic.
    pub number: Option<u64>,
    /// One tensor for each model input.
    pub inputs: BTreeMap<ActivationId, Arc<Tensor>>,
}

/// A frame that came out of the model.
pub struct Delivered {
    /// Its frame number; none for a warm-up.
    pub number: Option<u64>,
    /// One tensor for each model output, in the graph's order.
    pub outputs: Vec<Arc<Tensor>>,
    /// When it was opened.
    pub opened: Instant,
    /// From its opening to its last output.
    pub latency: Duration,
}

/// Source and sink, as rank 0's main thread sees them: never blocking.
pub struct Head {
    feed: Receiver<Fed>,
    sink: SyncSender<Delivered>,
    /// The model's outputs in order, an activation each.
    outputs: Vec<ActivationId>,
    window: u64,
    /// Opened and not yet handed to the sink, oldest first.
    flying: VecDeque<Flying>,
    next: u64,
    ended: bool,
}

struct Flying {
    sequence: u64,
    number: Option<u64>,
    opened: Instant,
    outputs: BTreeMap<ActivationId, Arc<Tensor>>,
    landed: Option<Instant>,
}

/// What rank 0 may open next.
pub enum Opening {
    /// This frame.
    Frame(u64, BTreeMap<ActivationId, Arc<Tensor>>),
    /// Nothing at the moment.
    NotYet,
    /// Nothing any more: so many frames there were, and all are delivered.
    End(u64),
}

impl Head {
    /// A head before its first frame.
    pub fn new(
        feed: Receiver<Fed>,
        sink: SyncSender<Delivered>,
        outputs: Vec<ActivationId>,
        window: u32,
    ) -> Self {
        let (flying, next, ended) = (VecDeque::new(), 0, false);
        Self {
            feed,
            sink,
            outputs,
            window: u64::from(window),
            flying,
            next,
            ended,
        }
    }

    /// Opens no further frame.
    pub fn stop_opening(&mut self) {
        self.ended = true;
    }

    /// Sequence number n opens when n - window has been delivered and a frame is decoded.
    pub fn opening(&mut self) -> Opening {
        let blocked = self
            .flying
            .iter()
            .any(|f| f.sequence + self.window <= self.next);
        if blocked {
            return Opening::NotYet;
        }
        if !self.ended {
            match self.feed.try_recv() {
                Ok(fed) => return self.open(fed),
                Err(TryRecvError::Empty) => return Opening::NotYet,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        match self.flying.is_empty() {
            true => Opening::End(self.next),
            false => Opening::NotYet,
        }
    }

    fn open(&mut self, fed: Fed) -> Opening {
        let sequence = self.next;
        self.next += 1;
        self.flying.push_back(Flying {
            sequence,
            number: fed.number,
            opened: Instant::now(),
            outputs: BTreeMap::new(),
            landed: None,
        });
        Opening::Frame(sequence, fed.inputs)
    }

    /// Takes one model output of one frame.
    pub fn land(&mut self, sequence: u64, activation: ActivationId, tensor: Arc<Tensor>) {
        let wanted = self
            .outputs
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        if let Some(flying) = self.flying.iter_mut().find(|f| f.sequence == sequence) {
            flying.outputs.insert(activation, tensor);
            if flying.outputs.len() == wanted {
                flying.landed = Some(Instant::now());
            }
        }
    }

    /// Hands complete frames to the sink, in order, as far as it takes them.
    ///
    /// # Errors
    /// Where the sink has ended: it could not write.
    pub fn deliver(&mut self) -> Result<bool, SinkEnded> {
        let mut delivered = false;
        while let Some(landed) = self.flying.front().and_then(|flying| flying.landed) {
            let Some(flying) = self.flying.pop_front() else {
                break;
            };
            let outputs = self
                .outputs
                .iter()
                .map(|id| Arc::clone(&flying.outputs[id]))
                .collect();
            let item = Delivered {
                number: flying.number,
                outputs,
                opened: flying.opened,
                latency: landed - flying.opened,
            };
            match self.sink.try_send(item) {
                Ok(()) => delivered = true,
                Err(TrySendError::Full(_)) => {
                    self.flying.push_front(flying);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(SinkEnded),
            }
        }
        Ok(delivered)
    }

    /// How many frames are in the model or wait for the sink.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }
}

/// The thread that writes outputs has ended; it says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkEnded;
