//! The standard architectures, with seeded weights.
