//! What a message takes between every pair of hosts, alone and beside a neighbour's messages.
//!
//! A host's first rank stands for it; two ranks of one host give `local`. Every pair of the
//! schedule is measured in three parts, within its share of the time: round trips of growing
//! messages (α and β), the same beside a flood of messages from a third host into the one that
//! answers (only the way there is loaded, and the way back counts as α), and short and long
//! messages in CPU time at either end: what a Run beside them loses to them one after the other,
//! and what they take themselves where both ends send at once, as in a frame.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::fit::{fit, middle, Line};
use super::looks::{self, Looks};
use super::schedule::schedule;
use super::talk::{resting, Costs, Talk, Way};
use crate::comm::collective::agree;
use crate::comm::{Link, LinkError, Mailbox};
use crate::ids::Rank;
use crate::platform::SHORT_BYTES;

use super::super::job::End;
use super::super::setup::pump;

/// Bytes of the messages, in the order in which they are tried.
const SIZES: [usize; 7] = [0, 2_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000];
/// Where there is less time, every second size is left out: long messages say more of the rate.
const SHORT: Duration = Duration::from_millis(700);
/// Round trips of each size, at least and at most.
const TRIPS: (u32, u32) = (3, 20);
/// Which of a pair's time is for it alone, beside a flood, and for CPU time.
const PARTS: [f64; 3] = [0.45, 0.25, 0.3];
/// Messages whose CPU time is measured, by what is measured of them, and which part of the time
/// that is left for it. Their own, of a short one that is header and payload apart, as nearly all
/// of a frame are, and of a long one; and a Run's beside one as long as is still short to it, and
/// beside a long one, of whose interrupts there must be many.
const CPU_SIZES: [(Of, usize, f64); 4] = [
    (Of::Own, 16_000, 0.15),
    (Of::Run, SHORT_BYTES as usize, 0.3),
    (Of::Own, 1_000_000, 0.4),
    (Of::Run, 1_000_000, 1.0),
];

/// Whose CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Own,
    Run,
}

/// What one rank found out about messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankLinks {
    /// By pair of hosts (of the ranks that asked; the same host twice for `local`).
    pub pairs: Vec<PairTimes>,
    /// What messages cost at this end.
    pub costs: Costs,
    /// What a look for one costs.
    pub looks: Looks,
}

/// A pair of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairTimes {
    /// Indices of hosts.
    pub hosts: (usize, usize),
    /// Seconds of an empty message, and for each byte.
    pub alone: (f64, f64),
    /// Likewise beside a neighbour's messages.
    pub loaded: Option<(f64, f64)>,
}

/// Who talks: ranks, by the hosts that they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meeting {
    hosts: (usize, usize),
    asks: Rank,
    answers: Rank,
    floods: Option<Rank>,
}

/// Measures all pairs within about `time`; `ranks` has every host's ranks, and in a job `sharing`
/// times as many messages interrupt this rank's Runs as in talk with one other (`beside.rs`). All
/// ranks call it.
/// `said` hears how many of how many rounds are over.
///
/// # Errors
/// `End`, where the link failed.
pub fn measure(
    link: &mut dyn Link,
    ranks: &[Vec<Rank>],
    sharing: &dyn Fn(Rank) -> f64,
    time: Duration,
    said: &mut dyn FnMut(usize, usize),
) -> Result<RankLinks, End> {
    let rounds = meetings(ranks);
    let end = Instant::now() + time;
    let mut found = RankLinks {
        looks: looks::measure(&mut *link)?,
        ..RankLinks::default()
    };
    for (index, round) in rounds.iter().enumerate() {
        said(index, rounds.len());
        let left = end.saturating_duration_since(Instant::now());
        let slot = left / u32::try_from(rounds.len() - index).unwrap_or(1);
        for meeting in round {
            meet(link, sharing, meeting, slot, &mut found)?;
        }
        // The next pair is to have the network for itself.
        let mut mail = Mailbox::new(&mut *link);
        let _nobody_fails = agree::<_, End>(&mut mail, None, &mut pump())?;
    }
    Ok(found)
}

/// Every round: pairs of hosts by their first ranks, then all hosts' own first two ranks.
fn meetings(ranks: &[Vec<Rank>]) -> Vec<Vec<Meeting>> {
    let alone = |round: &Vec<(usize, usize)>| round.len() == 1;
    let meeting = |&(a, b): &(usize, usize), neighbour: bool| Meeting {
        hosts: (a, b),
        asks: ranks[a][0],
        answers: ranks[b][0],
        // The neighbour is the next host that is not in the pair.
        floods: (neighbour && ranks.len() > 2)
            .then(|| (1..3).map(|by| (b + by) % ranks.len()).find(|&c| c != a))
            .flatten()
            .map(|c| ranks[c][0]),
    };
    let mut rounds: Vec<Vec<Meeting>> = schedule(ranks.len())
        .iter()
        .map(|round| {
            round
                .iter()
                .map(|pair| meeting(pair, alone(round)))
                .collect()
        })
        .collect();
    let several = |(host, ranks): (usize, &Vec<Rank>)| {
        let (asks, answers) = (*ranks.first()?, *ranks.get(1)?);
        Some(Meeting {
            hosts: (host, host),
            asks,
            answers,
            floods: None,
        })
    };
    let local: Vec<Meeting> = ranks.iter().enumerate().filter_map(several).collect();
    if !local.is_empty() {
        rounds.push(local);
    }
    rounds
}

fn meet(
    link: &mut dyn Link,
    sharing: &dyn Fn(Rank) -> f64,
    meeting: &Meeting,
    slot: Duration,
    found: &mut RankLinks,
) -> Result<(), LinkError> {
    let own = link.rank();
    let other = match own == meeting.asks {
        true => meeting.answers,
        false => meeting.asks,
    };
    let mut talk = Talk::new(link, sharing(other));
    if own == meeting.asks {
        ask(&mut talk, meeting, slot, found)?;
    } else if own == meeting.answers {
        talk.answer(meeting.asks, None)?;
        if meeting.floods.is_some() {
            talk.answer(meeting.asks, meeting.floods)?;
        }
    } else if Some(own) == meeting.floods {
        talk.flood(meeting.answers)?;
    }
    found.costs.extend(talk.into_costs());
    Ok(())
}

fn ask(
    talk: &mut Talk<'_>,
    meeting: &Meeting,
    slot: Duration,
    found: &mut RankLinks,
) -> Result<(), LinkError> {
    let to = meeting.answers;
    let points = grow(talk, to, Way::Both, slot.mul_f64(PARTS[0]))?;
    let halves: Vec<_> = points.iter().map(|&(n, t)| (n, t / 2.0)).collect();
    let line = fit(&halves);
    measure_costs(talk, to, line, slot.mul_f64(PARTS[2]))?;
    talk.end(to);
    let mut loaded = None;
    if meeting.floods.is_some() {
        let points = grow(talk, to, Way::One, slot.mul_f64(PARTS[1]))?;
        talk.end(to);
        let back = line.map_or(0.0, |line| line.alpha_s);
        let there = points.iter().map(|&(n, t)| (n, (t - back).max(t / 10.0)));
        loaded = fit(&there.collect::<Vec<_>>());
    }
    let both = |line: Line| (line.alpha_s, line.s_per_byte);
    if let Some(line) = line {
        found.pairs.push(PairTimes {
            hosts: meeting.hosts,
            alone: both(line),
            loaded: loaded.map(both),
        });
    }
    Ok(())
}

/// CPU time of messages that take as long as `line` says.
fn measure_costs(
    talk: &mut Talk<'_>,
    to: Rank,
    line: Option<Line>,
    time: Duration,
) -> Result<(), LinkError> {
    let mut left = time.as_secs_f64();
    for (of, bytes, share) in CPU_SIZES {
        let moves = line.map_or(0.0, |line| line.s_per_byte * bytes as f64);
        let there = line.map_or(0.0, |line| line.at(bytes as f64));
        let way = match of {
            Of::Own => Way::AtOnce,
            Of::Run => Way::BesideRun(Duration::from_secs_f64(moves)),
        };
        let trip = (2.0 * there).max(1e-6);
        let count = ((left * share / trip) as u32).clamp(TRIPS.0, 2 * TRIPS.1);
        let seconds = talk.ask(to, way, bytes, count)?;
        left -= seconds.iter().sum::<f64>();
        log::debug!("to rank {to}, {way:?}, {bytes} bytes, {count} round trips");
    }
    Ok(())
}

/// Round trips of ever longer messages while there is time, at least of two sizes: (bytes,
/// seconds).
fn grow(
    talk: &mut Talk<'_>,
    to: Rank,
    way: Way,
    time: Duration,
) -> Result<Vec<(f64, f64)>, LinkError> {
    let started = Instant::now();
    let mut points: Vec<(f64, f64)> = vec![];
    let every = if time < SHORT { 2 } else { 1 };
    for (index, &bytes) in SIZES.iter().enumerate().step_by(every) {
        let left = time.saturating_sub(started.elapsed()).as_secs_f64();
        // As long as the last, and so much longer as the message is.
        let guess = match fit(&points) {
            Some(line) => line.at(bytes as f64).max(1e-6),
            None => points.first().map_or(1e-4, |&(_, t)| t),
        };
        let share = left / (SIZES.len() - index).div_ceil(every) as f64;
        let guess = guess + resting(guess);
        let count = ((share / guess) as u32).clamp(TRIPS.0, TRIPS.1);
        if points.len() >= 3 && guess * f64::from(TRIPS.0 + 1) > left {
            break;
        }
        let trips = talk.ask(to, way, bytes, count)?;
        points.push((bytes as f64, middle(&trips)));
        let us: Vec<_> = trips.iter().map(|s| (s * 1e6).round()).collect();
        log::debug!("to rank {to}, {way:?}, {bytes} bytes, round trips in µs: {us:?}");
    }
    Ok(points)
}
