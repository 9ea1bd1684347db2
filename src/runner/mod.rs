//! One rank: steps over a Link.
