//! What several test modules share.

pub mod equality;
pub mod graph_builder;
pub mod harness;
pub mod random_graph;
