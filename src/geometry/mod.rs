//! Intervals, boxes, sliding windows and cuts: who needs which elements, as pure arithmetic.

mod copy;
mod interval;
mod region;
mod share;
mod transposed;
mod window;

pub use copy::{copy_box, runs, Run};
pub use interval::Interval;
pub use region::Region;
pub use share::{cuts, shares_to_intervals};
pub use transposed::TransposedNeed;
pub use window::{Need, Window};
