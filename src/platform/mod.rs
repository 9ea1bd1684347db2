//! Facts about the machines: platform files, host files and rank files.

pub mod hostfile;
pub mod rankfile;

mod file;
mod host;
mod kinds;
mod network;
mod read;
mod roles;
mod write;

#[cfg(test)]
mod tests;

pub use file::{Platform, PlatformError, MAX_BYTES};
pub use host::{Host, Quota, Speed, Table, Timing, Watts};
pub use host::{LONG_WAIT_US, LOOK_BESIDE_US, LOOK_US, SHORT_BYTES, WAKING_US};
pub use kinds::Machine;
pub use network::{Link, Medium, Network, Pair, Site};
pub use roles::match_roles;
use roles::same_host;

/// Whether this can be a host's name or address in a host file, a spec and a command line:
/// letters, digits, `-`, `.` and `_`, none of the marks first, at most 253.
pub fn is_host_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
        && name.len() <= 253
}
