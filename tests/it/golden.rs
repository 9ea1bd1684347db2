//! Plans as text, against golden files.
