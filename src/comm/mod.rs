//! Links: messages between ranks, as threads of one process or as MPI processes.
//!
//! A `Link` belongs to one thread, never blocks and does not copy large payloads: it owns a
//! buffer from `send` or `receive` until the event that completes it gives the buffer back.
//! Whoever holds a Link must call `poll` often, also while other threads compute: TCP makes
//! progress only inside of MPI calls.

use std::any::Any;
use std::sync::Arc;

use thiserror::Error;

use crate::ids::Rank;

pub mod collective;
mod mailbox;
pub mod threads;
#[cfg(feature = "mpi")]
pub mod world;

pub use mailbox::Mailbox;

/// Messages of different channels never meet, whatever their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Frame openings and stops.
    Control,
    /// Signs of life.
    Heartbeat,
    /// Set-up: specs, graphs, weights, verdicts. A long message counts as sent when its receive has
    /// started, so that senders can bound what lies with ranks that are not ready for it.
    Deploy,
    /// Activations.
    Data,
}

/// What precedes every message: 24 bytes, little-endian, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Sequence number of the frame, or whatever the kind says.
    pub sequence: u64,
    /// Transfer id, or whatever the kind says.
    pub transfer: u32,
    /// What the message is.
    pub kind: u32,
    /// Bytes of payload that follow.
    pub length: u64,
}

/// A payload that is being sent. Tensors send themselves without a copy.
pub trait Payload: Send + Sync {
    /// The bytes to send; the same on every call.
    fn bytes(&self) -> &[u8];
}

/// A buffer that a message is received into.
pub trait Landing: Send {
    /// The bytes to fill: as many as the message must have.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// The buffer itself, for its owner to take back.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// A send that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SendId(pub u64);

/// A receive that is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiveId(pub u64);

/// Something that completed.
pub enum Event {
    /// The payload is free again; on some channels (`Channel`) its receive has started, too.
    Sent(SendId),
    /// The message is here; `header.length` equals the landing's length.
    Received(ReceiveId, Header, Box<dyn Landing>),
}

/// Why a link is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// A message has another length than was planned. Its landing is not handed out.
    #[error("message from rank {from} (tag {tag}) has {found} bytes, the plan says {expected}")]
    Length {
        /// Sender.
        from: Rank,
        /// Its tag.
        tag: u32,
        /// Bytes that it announced or had.
        found: u64,
        /// Bytes that the landing has.
        expected: u64,
    },
    /// Another rank gives no sign of life.
    #[error("rank {rank} has been silent for {:.1} s", silence.as_secs_f64())]
    Silent {
        /// Which.
        rank: Rank,
        /// For how long.
        silence: std::time::Duration,
    },
    /// Another rank ended the job (ranks as threads only; MPI ends the process).
    #[error("rank {by} ended the job")]
    Aborted {
        /// Which.
        by: Rank,
    },
    /// The transport itself failed (MPI only).
    #[error("{detail}")]
    Transport {
        /// What was tried, with which rank, and the transport's own words.
        detail: String,
    },
}

/// The messages of one rank.
pub trait Link {
    /// Which rank this is.
    fn rank(&self) -> Rank;
    /// How many ranks there are.
    fn size(&self) -> usize;
    /// Starts a message and returns at once. `header.length` is set from the payload. Messages of
    /// one (channel, from, to, tag) arrive in the order sent. `to` is never this rank.
    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId;
    /// Waits in the background for the next message of (channel, from, tag). Receives of one
    /// such triple complete in the order posted.
    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId;
    /// Drives messages on and returns one thing that completed, if any did.
    ///
    /// # Errors
    /// `LinkError`; the job cannot go on.
    fn poll(&mut self) -> Result<Option<Event>, LinkError>;
    /// Whether bytes of a long message are probably on their way at this moment: a wait should then
    /// be short, because only `poll` moves them on. Links around links must pass it on.
    fn is_moving(&self) -> bool;
    /// Ends the whole job with this exit code. Over MPI this does not return; over threads every
    /// other rank's next `poll` fails with `Aborted`.
    fn abort(&mut self, code: i32);
    /// Takes back the receives that nothing will answer. Sends must have completed. Every rank
    /// calls it, after its last message.
    fn close(&mut self);
}

impl Header {
    /// Bytes of an encoded header.
    pub const BYTES: usize = 24;

    /// The header on the wire.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.transfer.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The header that these bytes encode.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let u32_at = |i: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
        let u64_at = |i: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
        Self {
            sequence: u64_at(0),
            transfer: u32_at(8),
            kind: u32_at(12),
            length: u64_at(16),
        }
    }
}

impl Payload for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Landing for Vec<u8> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl<T: Link + ?Sized> Link for &mut T {
    fn rank(&self) -> Rank {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        (**self).send(channel, to, tag, header, payload)
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        (**self).receive(channel, from, tag, landing)
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        (**self).poll()
    }

    fn is_moving(&self) -> bool {
        (**self).is_moving()
    }

    fn abort(&mut self, code: i32) {
        (**self).abort(code);
    }

    fn close(&mut self) {
        (**self).close();
    }
}
