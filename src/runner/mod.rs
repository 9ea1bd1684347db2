//! One rank: steps over a Link.

mod board;
mod compute;
mod deploy;
mod drive;
mod failure;
mod frame;
mod head;
mod idle;
mod pulse;
mod reduce;
mod roles;
mod run_loop;
mod store;
mod times;
mod trace;

pub use drive::Driven;
pub use failure::{Failure, DEFECT, FAILED, INTERRUPTED, WRONG_INPUT, WRONG_OUTPUT};
pub use frame::Program;
pub use head::{Delivered, Fed, Head};
pub use pulse::{Guard, Pulse};
pub use run_loop::run_loop;
pub use times::FrameTimes;
pub use trace::{Interval, Kind, Trace};
