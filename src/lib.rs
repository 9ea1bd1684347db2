//! One convolutional network over several hosts: one spec, one SPMD binary, MPI.

pub mod binding;
pub mod cli;
pub mod comm;
pub mod engine;
pub mod frames;
pub mod geometry;
pub mod graph;
pub mod ids;
pub mod model;
pub mod plan;
pub mod platform;
pub mod report;
pub mod runner;
pub mod spec;
pub mod stats;
pub mod units;
