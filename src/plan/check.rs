//! Proving before anything runs that a plan is exact, free of deadlock, and fits.
