//! AutoDiCE's own files, in and out.
