//! Pieces against the uncut model, bit for bit on small integers.

mod engine;
