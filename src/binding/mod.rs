//! Threads on cores, inside of the mask that the launcher gave.

#[cfg(feature = "hwloc")]
mod hwloc;
