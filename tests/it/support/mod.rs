//! What several test modules share.

pub mod equality;
pub mod graph_builder;
pub mod hand_plans;
pub mod harness;
pub mod interpreter;
pub mod random_cnn;
pub mod random_graph;
pub mod random_spec;
pub mod specs;
