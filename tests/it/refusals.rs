//! Bad specs give exactly their first line.
