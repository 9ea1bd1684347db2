//! Ranks as MPI processes: the one file that speaks MPI.
