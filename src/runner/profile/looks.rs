//! What a look at messages takes of a core.
//!
//! Nearly all of it is the way to sleep and back, which a hypervisor has a part in: 20 µs on one
//! machine, 35 on another. A waiting main thread looks thousands of times a second.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::beside::Beside;
use super::clock::thread_cpu;
use super::fit::median;
use crate::comm::{Link, LinkError, Mailbox};

/// Looks that are counted, beside nothing and beside a Run, and the sleeps asked for between them:
/// about those of a short wait under a quota, and the shortest beside a Run.
const ALONE: (usize, Duration) = (1000, Duration::from_micros(100));
const BESIDE: (usize, Duration) = (200, Duration::from_micros(1000));
/// What was longer than so many times the median met an interrupt, which somebody pays in any case.
const LONGEST: f64 = 3.0;
/// How long all of either may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// CPU time of a look at messages, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looks {
    /// While nothing else is to do.
    pub alone: f64,
    /// Beside a Run.
    pub beside: f64,
}

/// Looks at a link on which nothing is under way.
///
/// # Errors
/// As `Link::poll`.
pub fn measure(link: &mut dyn Link) -> Result<Looks, LinkError> {
    let mut mail = Mailbox::new(link);
    let alone = each(&mut mail, ALONE)?;
    let run = Beside::start();
    let beside = each(&mut mail, BESIDE)?;
    drop(run);
    Ok(Looks { alone, beside })
}

fn each(
    mail: &mut Mailbox<&mut dyn Link>,
    (count, pause): (usize, Duration),
) -> Result<f64, LinkError> {
    let started = Instant::now();
    let mut looks = vec![];
    while looks.len() < count && started.elapsed() < PATIENCE {
        let before = thread_cpu();
        std::thread::park_timeout(pause);
        mail.poll_all()?;
        looks.push((thread_cpu() - before).as_secs_f64());
    }
    let most = LONGEST * median(&looks);
    looks.retain(|look| *look <= most);
    Ok(looks.iter().sum::<f64>() / looks.len() as f64)
}
