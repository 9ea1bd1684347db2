//! What one frame cost on one rank.

use std::time::Duration;

/// Sums over one frame's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTimes {
    /// Standing before a message that was not here yet; includes waiting for the rank before.
    pub receive: Duration,
    /// Running pieces, copying and adding.
    pub compute: Duration,
    /// From the start of each message to its completion, summed.
    pub send: Duration,
    /// Payload bytes taken in.
    pub received_bytes: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
}
