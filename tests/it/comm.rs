//! Links: the same tests over threads and over MPI.
