//! Facts about the machines: host files and rank files.

pub mod hostfile;
pub mod rankfile;
