//! Sizes and times as people read them.
