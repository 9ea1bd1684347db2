//! What several rooms' tests share.

pub mod graph_builder;
pub mod hand_plans;
pub mod interpreter;
pub mod random_graph;
