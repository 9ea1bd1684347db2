//! Memory as it is on a machine that has just started, before each measurement.
//!
//! Pages that are made when memory is full of files of earlier jobs lie scattered over all of it.
//! Where the host of a virtual machine takes mappings away all the time, each 2 MiB that a process
//! has a page of may stall it (part `resting`), so that the same frames take up to half as long again
//! after an hour of other jobs.

use anyhow::{Context, Result};

/// Gives up what is cached of files, and moves the free pages together.
///
/// # Errors
/// Where that is not allowed: it needs root, as hosts of the lab do.
pub fn settle() -> Result<()> {
    for (file, what) in [
        ("/proc/sys/vm/drop_caches", "3"),
        ("/proc/sys/vm/compact_memory", "1"),
    ] {
        std::fs::write(file, what).context(file)?;
    }
    Ok(())
}
