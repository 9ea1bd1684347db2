//! The command lines of both binaries.

pub mod run;
pub mod workbench;
