//! Pieces against the uncut model, bit for bit on small integers.

#![allow(clippy::unwrap_used)]

mod engine;
mod fixture;
mod folders;
mod geometry;
mod operators;
mod random;
mod spatial;
mod sums;
