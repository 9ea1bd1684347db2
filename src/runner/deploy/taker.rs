//! The side of every rank but 0 of a deployment.

use std::collections::VecDeque;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;

use super::{chunks, only, slices, Slice, AHEAD, TAG};
use crate::comm::{Channel, Landing, Link, Mailbox, ReceiveId};
use crate::graph::{Dtype, Value};
use crate::ids::Rank;
use crate::plan::SLICES_AHEAD;
use crate::runner::failure::Failure;
use crate::runner::frame::Program;

/// Receives on the main thread, hands whole slices to the loader.
pub struct Taker {
    slices: VecDeque<Slice>,
    /// Chunks of the slices that no receive is posted for yet: bytes of each.
    unposted: VecDeque<usize>,
    posted: VecDeque<ReceiveId>,
    /// Buffers of chunks that have been copied to their slice.
    spare: Vec<Box<dyn Landing>>,
    filling: Option<(Dtype, Vec<u8>, usize)>,
    full: Option<Value>,
    to_loader: SyncSender<Value>,
    program: Arc<Program>,
}

impl Taker {
    /// A taker for this rank's wanted slices, and where the loader gets them from, in order.
    pub fn start(program: Arc<Program>, wanted: &[bool]) -> (Self, Receiver<Value>) {
        let slices: VecDeque<_> = only(slices(&program, program.rank), wanted).collect();
        let unposted = slices
            .iter()
            .flat_map(|slice| {
                let item = program.graph.weight(slice.weight).dtype.size();
                let boxes = chunks(&slice.region, item).into_iter();
                boxes.map(move |chunk| chunk.volume() * item)
            })
            .collect();
        // One more is full and waits for its place.
        let (to_loader, from_main) = sync_channel(SLICES_AHEAD - 1);
        let (posted, spare, filling, full) = (VecDeque::new(), Vec::new(), None, None);
        (
            Self {
                slices,
                unposted,
                posted,
                spare,
                filling,
                full,
                to_loader,
                program,
            },
            from_main,
        )
    }

    /// Takes in what has arrived; whether every slice is with the loader.
    ///
    /// # Errors
    /// None of its own; the signature is that of `Sender::step`.
    pub fn step<L: Link>(&mut self, mailbox: &mut Mailbox<L>) -> Result<bool, Failure> {
        loop {
            if let Some(value) = self.full.take() {
                match self.to_loader.try_send(value) {
                    Ok(()) => {}
                    Err(TrySendError::Full(value)) => {
                        self.full = Some(value);
                        return Ok(false);
                    }
                    // The loader has failed and says so in its verdict; rank 0 sends on.
                    Err(TrySendError::Disconnected(_)) => {}
                }
            }
            self.begin_slice();
            if self.filling.is_none() {
                self.spare.clear();
                return Ok(true);
            }
            while self.posted.len() < AHEAD {
                let Some(bytes) = self.unposted.pop_front() else {
                    break;
                };
                let landing = self.landing(bytes);
                let id = mailbox.receive(Channel::Deploy, Rank(0), TAG, landing);
                self.posted.push_back(id);
            }
            let arrived = self
                .posted
                .front()
                .and_then(|&id| mailbox.take_received(id));
            let Some((_, mut landing)) = arrived else {
                if self.is_full() {
                    self.finish_slice();
                    continue;
                }
                return Ok(false);
            };
            self.posted.pop_front();
            if let Some((_, bytes, filled)) = &mut self.filling {
                let chunk = landing.bytes_mut();
                bytes[*filled..*filled + chunk.len()].copy_from_slice(chunk);
                *filled += chunk.len();
            }
            self.spare.push(landing);
            if self.is_full() {
                self.finish_slice();
            }
        }
    }

    /// A buffer for a chunk of so many bytes: of a slice all but the last have as many.
    fn landing(&mut self, bytes: usize) -> Box<dyn Landing> {
        let has_as_many = |mut landing: Box<dyn Landing>| {
            let fits = landing.bytes_mut().len() == bytes;
            fits.then_some(landing)
        };
        let spare = self.spare.pop().and_then(has_as_many);
        spare.unwrap_or_else(|| Box::new(vec![0u8; bytes]))
    }

    fn begin_slice(&mut self) {
        if self.filling.is_none() {
            self.filling = self.slices.front().map(|slice| {
                let dtype = self.program.graph.weight(slice.weight).dtype;
                (dtype, vec![0; slice.region.volume() * dtype.size()], 0)
            });
        }
    }

    fn is_full(&self) -> bool {
        self.filling
            .as_ref()
            .is_some_and(|(_, bytes, filled)| *filled == bytes.len())
    }

    fn finish_slice(&mut self) {
        let (Some(slice), Some((dtype, bytes, _))) = (self.slices.pop_front(), self.filling.take())
        else {
            return;
        };
        self.full = Some(Value {
            dtype,
            shape: slice.region.shape(),
            bytes,
        });
    }
}
