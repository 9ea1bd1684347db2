//! Plans: what the compilers make, what check accepts and refuses.

mod check;
mod stages;
