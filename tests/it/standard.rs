//! The standard architectures against published counts.
