//! Model files, good and hostile.
