//! The integration tests, one binary.

mod autodice;
mod comm;
mod cut;
mod frames;
mod geometry;
mod golden;
mod hand_plans;
mod plan;
mod read;
mod refusals;
mod runner;
mod standard;
mod support;
mod tidy;
