//! Host files of Open MPI, MPICH and Slurm.
