//! Facts about the machines: host files and rank files.

pub mod hostfile;
pub mod rankfile;

mod roles;

pub use roles::match_roles;

/// Whether this can be a host's name or address in a host file, a spec and a command line:
/// letters, digits, `-`, `.` and `_`, none of the marks first, at most 253.
pub fn is_host_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
        && name.len() <= 253
}
