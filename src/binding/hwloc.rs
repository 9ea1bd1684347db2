//! The hwloc library: the one file that speaks it.
