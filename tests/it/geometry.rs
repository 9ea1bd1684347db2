//! Geometry, exhaustively on small cases.
