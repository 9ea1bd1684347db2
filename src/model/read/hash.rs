//! Hashes of weights, read piece by piece on all of the process's cores and never held whole.
//!
//! Rank 0 hashes all of a model's weights before it sends the first of them, so that this is time
//! that a job takes to start. Every core takes a piece after another for itself: cores that share
//! one stream of bytes wait for each other (BENCHMARKS.md, "Starting a job").

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, Builder};

use anyhow::Result;

/// Bytes that have a hash of their own.
const PIECE: u64 = 4 << 20;
/// Bytes that are read at once: they stay in a core's cache.
const CHUNK: usize = 128 << 10;

type Hash = [u8; 32];

/// BLAKE3 of `length` bytes that `read` gives from any offset; where they are more than 4 MiB,
/// BLAKE3 of the hashes of each 4 MiB, one after another.
///
/// # Errors
/// The first of `read`'s by the pieces' order.
pub fn hash(length: u64, read: impl Fn(u64, &mut [u8]) -> Result<()> + Sync) -> Result<Hash> {
    if length <= PIECE {
        return piece(0, length, &read);
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut own = vec![];
        loop {
            // A piece more for each core at the end: far from the largest number.
            let start = next.fetch_add(PIECE, Ordering::Relaxed);
            if start >= length {
                return own;
            }
            own.push((start, piece(start, PIECE.min(length - start), &read)));
        }
    };
    let cores = available_parallelism().map_or(1, |cores| cores.get() as u64);
    let mut pieces = std::thread::scope(|scope| {
        let others = 1..cores.min(length.div_ceil(PIECE));
        // Where the system has no thread left, there are fewer.
        let spawn = |_| Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = others.filter_map(spawn).collect();
        let mut all = work();
        for other in others {
            let own = other.join();
            all.extend(own.unwrap_or_else(|payload| std::panic::resume_unwind(payload)));
        }
        all
    });
    pieces.sort_by_key(|(start, _)| *start);
    let mut hasher = blake3::Hasher::new();
    for (_, hash) in pieces {
        hasher.update(&hash?);
    }
    Ok(*hasher.finalize().as_bytes())
}

fn piece(start: u64, length: u64, read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; length.min(CHUNK as u64) as usize];
    let mut done = 0;
    while done < length {
        let now = (length - done).min(CHUNK as u64) as usize;
        read(start + done, &mut chunk[..now])?;
        hasher.update(&chunk[..now]);
        done += now as u64;
    }
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    fn of(bytes: &[u8]) -> Hash {
        let read = |from: u64, into: &mut [u8]| {
            into.copy_from_slice(&bytes[from as usize..][..into.len()]);
            Ok(())
        };
        hash(bytes.len() as u64, read).expect("nothing fails")
    }

    #[test]
    fn short_ones_are_plain_and_long_ones_a_hash_of_hashes() {
        for length in [0, 1, CHUNK, CHUNK + 1, PIECE as usize] {
            let bytes = bytes(length);
            assert_eq!(of(&bytes), *blake3::hash(&bytes).as_bytes());
        }
        for length in [
            PIECE as usize + 1,
            5 * PIECE as usize,
            5 * PIECE as usize + 77,
        ] {
            let bytes = bytes(length);
            let pieces = bytes.chunks(PIECE as usize).map(blake3::hash);
            let all: Vec<u8> = pieces.flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(of(&bytes), *blake3::hash(&all).as_bytes());
        }
    }

    #[test]
    fn the_first_error_counts_and_every_byte() {
        let length = 3 * PIECE;
        let fails = |from: u64, _: &mut [u8]| {
            ensure!(from < PIECE, "from {}", from / PIECE);
            Ok(())
        };
        let error = hash(length, fails).expect_err("it fails");
        assert_eq!(error.to_string(), "from 1");
        let mut bytes = bytes(2 * PIECE as usize + 9);
        let before = of(&bytes);
        for at in [0, PIECE as usize, bytes.len() - 1] {
            bytes[at] ^= 1;
            assert_ne!(of(&bytes), before);
            bytes[at] ^= 1;
        }
    }
}
