//! One rank: steps over a Link.
//!
//! `job` is the table of contents: set up (`setup`, `seat`, `load`, `deploy`), run (`stream`),
//! account. The loop's main thread (`drive`) and compute thread (`compute`) share the open frames
//! (`board`, `frame`, `store`); rank 0 also feeds frames (`feed`, `head`) and collects outputs
//! (`collect`), and says what the run would take by a platform file (`predict`).
//! `profile` measures instead of running.

mod account;
mod board;
mod cache;
mod collect;
mod compute;
mod deploy;
mod drive;
mod failure;
mod feed;
mod frame;
mod head;
mod idle;
mod job;
mod lead;
mod load;
mod predict;
mod profile;
mod progress;
mod pulse;
mod quota;
mod reduce;
mod roles;
mod run_loop;
mod seat;
mod setup;
mod store;
mod stream;
mod times;
mod trace;

pub use account::{peak_rss, Finished, RankReport, Subject, Traced};
pub use collect::Collected;
pub use drive::Driven;
pub use failure::{
    panic_message, quiet_panics, Failure, DEFECT, FAILED, INTERRUPTED, WRONG_INPUT, WRONG_OUTPUT,
};
pub use frame::Program;
pub use head::{Delivered, Fed, Head};
pub use idle::sharpen_sleeps;
pub use job::{run_job, End, Place, Request};
pub use lead::{folder_of, read_spec};
pub use predict::{read_platform, Predicted};
pub use profile::{run_profile, ProfileRequest, Profiled};
pub use pulse::{Guard, Pulse};
pub use run_loop::run_loop;
pub use times::FrameTimes;
pub use trace::{Interval, Kind, Trace};
