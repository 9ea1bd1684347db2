//! Sub-models on disk: a folder for each rank.
