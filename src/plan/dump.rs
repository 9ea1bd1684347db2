//! A plan as text, for golden files and for people.
