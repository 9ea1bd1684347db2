//! The SPMD program.

fn main() {}
