//! Rank files of Open MPI 4 and 5.
