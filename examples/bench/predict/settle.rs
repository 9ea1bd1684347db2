//! Memory as near as may be to that of a machine that has just started, before each measurement.
//!
//! Pages that are made when memory is full of files of earlier jobs lie scattered over all of it.
//! Where the host of a virtual machine takes mappings away all the time, each 2 MiB that a process
//! has a page of may stall it (part `resting`): jobs of 614 to 692 ms a frame took 960 right before.

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
