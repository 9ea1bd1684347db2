//! What a look at messages costs a rank that waits.
//!
//! A rank under a quota pays for its looks: in the many short waits of a plan with many small
//! messages they use up as much CPU time as the work. Nearly all of a look is the way to sleep and
//! back, which took 20 µs of CPU on one machine and 5 on another.

use serde::{Deserialize, Serialize};

use super::super::idle;
use super::clock::thread_cpu;
use super::fit::median;
use crate::comm::{Link, LinkError, Mailbox};

/// Looks that are counted: 10 to 70 ms of them.
const LOOKS: u32 = 1000;

/// A look in a short wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// µs of CPU.
    pub us: f64,
    /// µs from one to the next, where the host is not held up.
    pub every_us: f64,
}

/// Looks as a rank does that waits, with no messages under way.
///
/// # Errors
/// As the link's.
pub fn look(link: &mut dyn Link) -> Result<Look, LinkError> {
    let mut mail = Mailbox::new(link);
    let mut walls = vec![];
    let before = thread_cpu();
    for _ in 0..LOOKS {
        let started = std::time::Instant::now();
        mail.poll_all()?;
        idle::sleep_shortly();
        walls.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = thread_cpu().saturating_sub(before);
    Ok(Look {
        us: cpu.as_secs_f64() * 1e6 / f64::from(LOOKS),
        every_us: median(&walls),
    })
}
