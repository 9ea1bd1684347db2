//! Pieces against the uncut model, bit for bit on small integers.

mod engine;
mod fixture;
mod geometry;
mod operators;
mod sums;
