//! Stage assignments from the spec to the outputs, against the uncut model.

mod jobs;
mod models;
