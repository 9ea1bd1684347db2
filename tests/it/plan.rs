//! Plans: what the compilers make, what check accepts and refuses.

pub mod check;
mod stages;
