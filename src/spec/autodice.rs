//! AutoDiCE's mapping and platform files.
