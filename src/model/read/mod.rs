//! Reading a model file: a graph, and where its weights lie.
