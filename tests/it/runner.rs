//! The runner over threads, against the uncut model.
