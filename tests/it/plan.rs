//! Plans: what the compilers make, what check accepts and refuses.

mod stages;
