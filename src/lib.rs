//! **autodice** runs one convolutional network over several hosts: one spec, one SPMD binary,
//! MPI. This page is the map; README.md is for users.
//!
//! # Bird's-eye view
//!
//! ```text
//! model.onnx ──read──▶ Graph ─┐
//!                             ├─ compile ─▶ Plan ──rank r──▶ pieces ─▶ runner ─▶ outputs
//! spec.yaml ──parse──▶ Spec ──┘              │
//!                                            ├─▶ check   exact? no deadlock? does it fit?
//!                                            ├─▶ tally   memory and bytes
//!                             Platform ──────├─▶ cost    time, joules: the runner on clocks
//!                                            └─▶ dump    text: golden files, `show`
//! ```
//!
//! The narrow waist is the [`plan::Plan`]: for every rank ordered steps over named parts, and the
//! sub-models (pieces) that those steps run. A way of splitting a network is a compiler *into* a
//! plan; everything else *reads* plans and knows no strategy by name. Rank 0 reads the user's
//! files and broadcasts the spec and the [`graph::Graph`] (facts, no weights); every rank compiles
//! the same plan, gets the weights of its own pieces, cuts them into ONNX sub-models and runs them
//! with an engine.
//!
//! # Where to start
//!
//! - A run, top to bottom: `runner/job.rs`, then `runner/drive.rs` (the main thread's loop) and
//!   `runner/frame.rs` (one frame's steps).
//! - What can be run: `plan/mod.rs`. What makes it right: `graph/need.rs` (which regions a node
//!   needs), `geometry/window.rs` (the halo rule) and `plan/check.rs`.
//! - A new split: one new file in `plan/`, next to `space.rs` (rows, grids) and `channels.rs`,
//!   that says who makes which box of every node's output (`plan/layout.rs`). What must travel
//!   follows from that (`plan/demand.rs`), and so do parts, pieces, messages and their order
//!   (`plan/emit.rs`). Plans written by hand in `tests/it/hand_plans.rs` show what the waist can
//!   carry beyond.
//! - What a run would take: `cost/mod.rs`; `cost/replay.rs` is `runner/drive.rs` on clocks, and a
//!   change of the one is a change of the other.
//! - A new engine: implement [`engine::Engine`]; a new transport: [`comm::Link`].
//!
//! # Code map, by floors
//!
//! A module uses only modules on lower floors; `tests/it/tidy.rs` reads the tree and fails on an
//! upward `use`, a foreign crate outside of its room, or a file without its opening sentence.
//!
//! | floor | modules | what |
//! |---|---|---|
//! | 9 | [`cli`] | the command lines of both binaries, the two doors out |
//! | 8 | [`report`] | tables, CSV, JSON, traces and pictures of a run or a prediction |
//! | 7 | [`runner`] | one rank: set-up, steps over a link, the frame protocol, failure, profile |
//! | 6 | [`model`] | ONNX: read, fold, cut, write, standard architectures (tract_onnx, prost) |
//! | 6 | [`engine`] | a sub-model in, activations out (tract) |
//! | 6 | [`comm`] | `Link`: ranks as threads or MPI processes (`comm/world`, all of the MPI) |
//! | 6 | [`binding`] | threads on cores (`binding/hwloc.rs`, all of the hwloc) |
//! | 6 | [`frames`] | input sources, output sinks |
//! | 6 | [`heap`] | how glibc keeps memory: while loading, while frames run |
//! | 4 | [`cost`] | a plan on a platform: clocks, links, memory, joules |
//! | 3 | [`plan`] | the waist: types, compilers, check, tally, dump |
//! | 2 | [`graph`], [`platform`]; [`spec`] | the model's facts, machines; what was asked |
//! | 1 | [`geometry`]; `document` | intervals, boxes, windows, cuts; YAML within bounds |
//! | 0 | [`ids`], [`units`], [`stats`] | small types |
//!
//! # Invariants, often the absence of something
//!
//! - **Floors 0–4 are pure**: no file, clock, thread, MPI or engine. Compilation uses integers
//!   only, so that every rank compiles the same plan, byte for byte, which a hash proves.
//! - **One rank is no special case**: the same code with an empty list of transfers.
//! - **Nothing decides at run time.** A rank keeps a plan's order inside a frame; between frames
//!   the oldest that can go on goes first. Sends never wait and buffers for every frame in flight
//!   exist before the first, hence no deadlock (`runner/drive.rs`).
//! - **Only the main thread speaks MPI** (`MPI_THREAD_FUNNELED`) and it never blocks in it, so
//!   that messages move while the compute thread computes.
//! - **Two doors out.** In set-up all ranks agree on the lowest failing one and leave alike; in
//!   the loop a failure ends the job at once by `MPI_Abort`. Nothing returns an error, or
//!   unwinds, past a live communicator: that would hang in `MPI_Finalize`.
//! - **Files and messages are untrusted**: sizes are checked before memory is reserved, lengths
//!   against the plan before anything is used.
//! - **`unsafe` is in `comm/world` and `heap.rs` alone**: MPI's requests, glibc's parameters.
//!
//! # Cross-cutting
//!
//! Errors: enums with `thiserror` on the pure floors, `anyhow` with a context line per level
//! above, [`runner::Failure`] (an exit code and one line) at the doors. Tests: exhaustive small
//! geometry, golden plans, small-integer models that must come out bit for bit, the same link
//! cases over threads and under mpirun.

pub mod binding;
pub mod cli;
pub mod comm;
pub mod cost;
mod document;
pub mod engine;
pub mod frames;
pub mod geometry;
pub mod graph;
pub mod heap;
pub mod ids;
pub mod model;
pub mod plan;
pub mod platform;
pub mod report;
pub mod runner;
pub mod spec;
pub mod stats;
pub mod units;
