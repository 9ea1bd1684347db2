//! Ranks as threads of one process, with injected delays for tests.
