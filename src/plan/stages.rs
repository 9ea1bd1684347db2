//! Stages of one rank each: any assignment of nodes to ranks.
