//! Tags of transfers.

use super::Plan;
use crate::ids::TransferId;

/// The largest tag that every MPI library takes.
pub const MAX_TAG: u32 = 32767;

/// The most frames that can be in flight: their tags differ.
pub const MAX_WINDOW: u32 = MAX_TAG + 1;

/// The tag of a transfer's message for one sequence number.
pub fn message_tag(plan: &Plan, id: TransferId, sequence: u64) -> u32 {
    let slot = (sequence % u64::from(plan.window)) as u32;
    plan.transfer(id).tag * plan.window + slot
}
