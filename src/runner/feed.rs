//! Rank 0's decoding thread: items of the source become frames, ahead of the model by a window.

use std::collections::BTreeMap;
use std::sync::mpsc::{sync_channel, Receiver, Sender, SyncSender};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::failure::Failure;
use super::head::Fed;
use super::setup::spawn;
use crate::engine::Tensor;
use crate::frames::{Frame, Item, Source};
use crate::ids::ActivationId;

/// What became of one item of the source, in the source's order.
pub enum Entry {
    /// It is the frame of this number; its inputs are kept where outputs are verified.
    Frame {
        /// Frame number, from 0.
        number: u64,
        /// The item's shown name.
        source: String,
        /// One tensor for each model input, in the graph's order.
        inputs: Option<Vec<Arc<Tensor>>>,
    },
    /// It cannot be read; it gets a row and no number.
    Bad {
        /// The item's shown name.
        source: String,
        /// Why.
        reason: String,
    },
}

/// How much is fed, and what is kept of it.
#[derive(Clone, Copy, Debug)]
pub struct Feeding {
    /// Frames before the first that counts; they repeat the first one.
    pub warmup: u64,
    /// Most frames.
    pub limit: u64,
    /// Frames decoded ahead.
    pub ahead: usize,
    /// Whether entries keep the inputs.
    pub keep: bool,
}

/// Starts the decoding thread. It ends by itself when the source ends or nobody listens; its
/// handle says whether it was one of these.
pub fn start(
    source: Source,
    inputs: Vec<ActivationId>,
    feeding: Feeding,
    entries: Sender<Entry>,
) -> (Receiver<Fed>, JoinHandle<Result<(), Failure>>) {
    let (feed, fed) = sync_channel(feeding.ahead);
    let main = std::thread::current();
    let decoding = spawn(move || {
        decode(source, &inputs, feeding, &entries, &feed, &main);
        Ok(())
    });
    (fed, decoding)
}

fn decode(
    mut source: Source,
    inputs: &[ActivationId],
    feeding: Feeding,
    entries: &Sender<Entry>,
    feed: &SyncSender<Fed>,
    main: &std::thread::Thread,
) {
    let mut number = 0;
    while number < feeding.limit {
        let Frame {
            source: name,
            inputs: values,
        } = match source.next() {
            None => return,
            Some(Item::Frame(frame)) => frame,
            Some(Item::Bad { source, reason }) => {
                if entries.send(Entry::Bad { source, reason }).is_err() {
                    return;
                }
                continue;
            }
        };
        let tensors: Vec<_> = values
            .iter()
            .map(|value| Arc::new(Tensor::from_value(value)))
            .collect();
        drop(values);
        let by_id: BTreeMap<_, _> = inputs
            .iter()
            .copied()
            .zip(tensors.iter().cloned())
            .collect();
        let warmups = if number == 0 { feeding.warmup } else { 0 };
        for _ in 0..warmups {
            if feed
                .send(Fed {
                    number: None,
                    inputs: by_id.clone(),
                })
                .is_err()
            {
                return;
            }
            main.unpark();
        }
        let kept = feeding.keep.then_some(tensors);
        let entry = Entry::Frame {
            number,
            source: name,
            inputs: kept,
        };
        let sent = entries.send(entry).is_ok()
            && feed
                .send(Fed {
                    number: Some(number),
                    inputs: by_id,
                })
                .is_ok();
        if !sent {
            return;
        }
        main.unpark();
        number += 1;
    }
}
