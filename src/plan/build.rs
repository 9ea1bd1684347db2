//! Building a plan step by step, by hand or by a compiler.
