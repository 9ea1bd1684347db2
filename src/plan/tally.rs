//! What a plan holds and moves: memory of every rank, bytes of every transfer.
