//! The command lines of both binaries.
