//! Tests under mpirun.
