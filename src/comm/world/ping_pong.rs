//! Plain blocking MPI, for benchmarks to compare the runner with.

use std::time::Instant;

use super::calls::{receive, send, Address};
use super::World;
use crate::comm::Channel;
use crate::ids::Rank;

/// Nothing else is under way meanwhile.
const TAG: u32 = 32_767;

impl World {
    /// Sends `bytes` back and forth, `repeats` times, with a rank that calls the same, and returns
    /// half of each round trip in seconds. Before each, while no clock runs, `prepare` makes the
    /// message: as it was, which both sides' caches may keep; written anew, as a Run writes what it
    /// sends; or in other memory. It must stay as long.
    ///
    /// # Panics
    /// Where MPI fails, or `bytes` are more than one MPI message holds.
    pub fn ping_pong(
        &mut self,
        with: Rank,
        bytes: usize,
        repeats: usize,
        mut prepare: impl FnMut(&mut Vec<u8>),
    ) -> Vec<f64> {
        let other = Address {
            communicator: self.communicators[Channel::Data as usize],
            rank: with,
            tag: TAG,
        };
        // Not zeros: pages that nobody has written to would be made while the clock runs.
        let (mut from, mut into) = (vec![1_u8; bytes], vec![1_u8; bytes]);
        let mut times = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            // Both ranks do it in the same time.
            prepare(&mut from);
            assert_eq!(from.len(), bytes, "the message keeps its length");
            let start = Instant::now();
            if self.rank < with {
                send(&from, other).expect("MPI_Send");
                receive(&mut into, other).expect("MPI_Recv");
            } else {
                receive(&mut into, other).expect("MPI_Recv");
                send(&from, other).expect("MPI_Send");
            }
            times.push(start.elapsed().as_secs_f64() / 2.0);
        }
        times
    }
}
