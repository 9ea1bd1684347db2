//! The integration tests, one binary.

// A test may unwrap, and index ranks by their number.
#![allow(clippy::unwrap_used, clippy::needless_range_loop)]

mod autodice;
mod beside;
mod comm;
mod cost;
mod cut;
mod frames;
mod geometry;
mod golden;
mod hand_plans;
mod plan;
mod read;
mod refusals;
mod resident;
mod runner;
mod show;
mod simulate;
#[path = "../common/skip.rs"]
mod skip;
mod split;
mod splits;
mod standard;
mod support;
mod tidy;
