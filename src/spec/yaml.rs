//! Reading and writing the spec file.
