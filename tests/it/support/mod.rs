//! What several rooms' tests share.

pub mod graph_builder;
pub mod random_graph;
