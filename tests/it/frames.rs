//! Inputs and outputs.
