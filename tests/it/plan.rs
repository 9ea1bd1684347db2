//! Plans: what check accepts and refuses.
