//! The tree itself: floors, foreign crates, first lines.
