//! Tables, CSV and JSON of a run.
