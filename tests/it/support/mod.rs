//! What several test modules share.

pub mod equality;
pub mod harness;
