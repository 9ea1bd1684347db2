//! A binary.

fn main() {}
