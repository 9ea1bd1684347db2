//! Two ranks and their messages back and forth, with the waits of a real run.
//!
//! The lower rank of a pair asks: it says by a note how long the messages are and how many will
//! come, the other one posts its receive and says that it is ready, and then the clock runs. So
//! the one who asks can go on to longer messages for as long as there is time. Waiting is the
//! runner's own (`runner/idle.rs`): what a blocking MPI call would take is nothing that a frame
//! ever sees. Between two round trips both ends rest, as they compute between two messages of a
//! frame: a receiver's waits have grown longer by then, and a host under a CPU quota has some of
//! it left, which it would otherwise have lost to waiting.

mod flood;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::flood::Flood;
use super::super::idle::Idle;
use super::beside::{Beside, Taken};
use super::clock::thread_cpu;
use crate::comm::{Channel, Header, Link, LinkError, Mailbox, ReceiveId, SendId};
use crate::ids::Rank;
use crate::platform::SHORT_BYTES;

const NOTES: Channel = Channel::Control;
const NOTE_TAG: u32 = 0;
const TAG: u32 = 0;

/// Between two round trips, at least; else as long as the last trip was, and at most so long. Tried
/// on hosts of 0.3 core with a period of 10 ms: after 2 ms the one who waits, still in its short
/// waits, has used up its quota as often as not.
const REST: (Duration, Duration) = (Duration::from_millis(12), Duration::from_millis(30));

/// Messages from which on the interrupts that they cause are counted: shorter ones cause few.
const COUNTED: usize = SHORT_BYTES as usize;
/// The largest part of a Run that messages are taken to cost.
const MOST_LOST: f64 = 0.9;

/// Both directions have the length of the message, or only the way there.
const BOTH_WAYS: u32 = 1;
const ONE_WAY: u32 = 2;
/// The same as `BOTH_WAYS`, waiting as beside a Run.
const BESIDE: u32 = 3;
const END: u32 = 4;
const READY: u32 = 5; // 6 is `flood.rs`'s.
/// Before `BESIDE`: how many ns each of its messages moves.
const MOVES: u32 = 7;
/// The same as `BESIDE`, but that both send at once, and what a Run loses is not looked at.
const AT_ONCE: u32 = 8;

/// A rank's side of messages with others.
pub struct Talk<'a> {
    mail: Mailbox<&'a mut dyn Link>,
    idle: Idle,
    beside: bool,
    /// Computes beside long messages.
    run: Option<Beside>,
    /// How many times as many messages interrupt this rank's Runs in a job.
    sharing: f64,
    /// CPU time of this thread's sleeps beside a Run.
    slept: Duration,
    /// How long the bytes of each message beside a Run move.
    moves: Duration,
    /// What messages have cost until now.
    costs: Costs,
}

/// What messages cost a rank that is an end of them: their bytes, and seconds of CPU time of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// This thread's but for its sleeps, where both send at once.
    pub own: Vec<(usize, f64)>,
    /// What a Run beside the whole of a message would lose, to interrupts and to looks at it, if it
    /// never stood still.
    pub beside: Vec<(usize, f64)>,
}

impl Costs {
    /// With another pair's.
    pub fn extend(&mut self, other: Self) {
        self.own.extend(other.own);
        self.beside.extend(other.beside);
    }
}

/// CPU time so far, in seconds.
struct Spent {
    own: f64,
    slept: f64,
    run: Taken,
}

/// How messages go between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The answer is as long as the message.
    Both,
    /// The answer is empty.
    One,
    /// As `Both`, with the waits of a main thread beside a Run; how long the bytes of each message
    /// move.
    BesideRun(Duration),
    /// With the same waits, but that both send at once, as in a frame.
    AtOnce,
}

/// What messages that moved for so long would have taken from a Run that never stood still, where
/// they took `lost` from a rank that ran for only `ran` of the time, all in seconds. They go on as
/// soon as hosts may compute: they moved while it ran, and for what is left of their time while it
/// stood still.
fn in_full(lost: f64, ran: f64, moved: f64) -> f64 {
    (lost / ran.max(f64::MIN_POSITIVE)).min(MOST_LOST) * moved.max(ran)
}

/// Seconds that a round trip takes beside what it measures.
pub fn resting(trip: f64) -> f64 {
    trip.clamp(REST.0.as_secs_f64(), REST.1.as_secs_f64())
}

fn is_beside(kind: u32) -> bool {
    matches!(kind, BESIDE | AT_ONCE)
}

impl Way {
    fn kind(self) -> u32 {
        match self {
            Self::Both => BOTH_WAYS,
            Self::One => ONE_WAY,
            Self::BesideRun(_) => BESIDE,
            Self::AtOnce => AT_ONCE,
        }
    }
}

impl<'a> Talk<'a> {
    /// Talk over a link on which nothing is under way; in a job so many times as many messages
    /// interrupt this rank's Runs.
    pub fn new(link: &'a mut dyn Link, sharing: f64) -> Self {
        Self {
            mail: Mailbox::new(link),
            idle: Idle::new(false),
            beside: false,
            run: None,
            sharing,
            slept: Duration::ZERO,
            moves: Duration::ZERO,
            costs: Costs::default(),
        }
    }

    /// What messages have cost at this end.
    pub fn into_costs(self) -> Costs {
        self.costs
    }

    /// The asking side: seconds of each of `count` round trips with messages of `bytes`, after one
    /// that does not count.
    ///
    /// # Errors
    /// As `Link::poll`.
    pub fn ask(
        &mut self,
        to: Rank,
        way: Way,
        bytes: usize,
        count: u32,
    ) -> Result<Vec<f64>, LinkError> {
        self.begin(way.kind(), bytes);
        let ready = self.expect_note(to);
        if let Way::BesideRun(moves) = way {
            self.moves = moves;
            self.note(to, MOVES, moves.as_nanos() as u64, 0);
        }
        self.note(to, way.kind(), bytes as u64, count + 1);
        self.wait(ready)?;
        let back = if way == Way::One { 0 } else { bytes };
        let message = Arc::new(vec![1u8; bytes]);
        let mut seconds = vec![];
        let mut before = self.spent();
        for trip in 0..=count {
            if trip == 1 {
                before = self.spent();
            }
            let answer = self.expect(Channel::Data, to, TAG, back);
            let started = Instant::now();
            let sent = self.give(to, &message);
            self.wait(answer)?;
            let took = started.elapsed();
            while !self.mail.is_sent(sent) {
                self.step(None)?;
            }
            if trip > 0 {
                seconds.push(took.as_secs_f64());
            }
            if !is_beside(way.kind()) {
                self.rest(took.clamp(REST.0, REST.1))?;
            }
        }
        self.finish(way.kind(), bytes, &before, count);
        Ok(seconds)
    }

    /// The asking side is through.
    pub fn end(&mut self, to: Rank) {
        self.note(to, END, 0, 0);
    }

    /// The answering side, until the other one is through. Where there is a `flood` from a third
    /// rank, keeps it going meanwhile.
    ///
    /// # Errors
    /// As `Link::poll`.
    pub fn answer(&mut self, from: Rank, flood: Option<Rank>) -> Result<(), LinkError> {
        let mut flood = flood.map(|from| Flood::open(self, from));
        loop {
            let note = self.expect_note(from);
            let header = self.wait_beside(note, &mut flood)?;
            match header.kind {
                END => break,
                MOVES => {
                    self.moves = Duration::from_nanos(header.sequence);
                    continue;
                }
                _ => {}
            }
            let (bytes, count) = (header.sequence as usize, header.transfer);
            self.answer_trips(from, (header.kind, bytes, count), &mut flood)?;
        }
        if let Some(flood) = flood {
            flood.close(self)?;
        }
        Ok(())
    }

    fn answer_trips(
        &mut self,
        from: Rank,
        (kind, bytes, count): (u32, usize, u32),
        flood: &mut Option<Flood>,
    ) -> Result<(), LinkError> {
        let back = if kind == ONE_WAY { 0 } else { bytes };
        let message = Arc::new(vec![1u8; back]);
        let mut next = self.expect(Channel::Data, from, TAG, bytes);
        self.begin(kind, bytes);
        self.note(from, READY, 0, 0);
        let mut before = self.spent();
        let mut sent = None;
        for trip in 0..count {
            // As at the other end: what is given at once belongs to its trip.
            if trip == 1 {
                before = self.spent();
            }
            if kind == AT_ONCE {
                sent = Some(self.give(from, &message));
            }
            self.wait_beside(next, flood)?;
            if trip + 1 < count {
                next = self.expect(Channel::Data, from, TAG, bytes);
            }
            if kind != AT_ONCE {
                sent = Some(self.give(from, &message));
            }
        }
        while sent.is_some_and(|id| !self.mail.is_sent(id)) {
            self.step(flood.as_mut())?;
        }
        self.finish(kind, bytes, &before, count.saturating_sub(1));
        Ok(())
    }

    /// Waits as beside a Run from here on; long messages move beside one, as those of a frame do.
    fn begin(&mut self, kind: u32, bytes: usize) {
        self.beside = is_beside(kind);
        if self.beside && bytes >= COUNTED {
            self.run = Beside::start();
        }
    }

    fn spent(&self) -> Spent {
        Spent {
            own: thread_cpu().as_secs_f64(),
            slept: self.slept.as_secs_f64(),
            run: self.run.as_ref().map(Beside::taken).unwrap_or_default(),
        }
    }

    /// Keeps what each message has cost since then; the Run beside them is over.
    fn finish(&mut self, kind: u32, bytes: usize, before: &Spent, trips: u32) {
        let now = self.spent();
        let run = self.run.take();
        self.beside = false;
        // A trip is two messages, and each rank has an end of both.
        let messages = f64::from(2 * trips.max(1));
        let (own, slept) = (now.own - before.own, now.slept - before.slept);
        match (kind, run) {
            (AT_ONCE, _) => self.costs.own.push((bytes, (own - slept) / messages)),
            (BESIDE, Some(run)) => {
                let lost = self.sharing * run.lost(before.run) + slept;
                let ran = own + now.run.cpu - before.run.cpu;
                let moved = messages * self.moves.as_secs_f64();
                let all = in_full(lost, ran, moved);
                self.costs.beside.push((bytes, all / messages));
            }
            _ => {}
        }
    }

    /// Lets time pass with as few polls as signs of life need.
    fn rest(&mut self, time: Duration) -> Result<(), LinkError> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.mail.poll_all()?;
            std::thread::park_timeout(left.max(Duration::from_micros(100)));
        }
        Ok(())
    }

    fn note(&mut self, to: Rank, kind: u32, sequence: u64, count: u32) {
        let header = Header {
            sequence,
            transfer: count,
            kind,
            length: 0,
        };
        self.mail.send(NOTES, to, NOTE_TAG, header, None);
    }

    fn give(&mut self, to: Rank, message: &Arc<Vec<u8>>) -> SendId {
        let payload = Some(Arc::clone(message) as _);
        let header = Header::default();
        self.mail.send(Channel::Data, to, TAG, header, payload)
    }

    fn expect_note(&mut self, from: Rank) -> ReceiveId {
        self.expect(NOTES, from, NOTE_TAG, 0)
    }

    fn expect(&mut self, channel: Channel, from: Rank, tag: u32, bytes: usize) -> ReceiveId {
        let landing = Box::new(vec![0u8; bytes]);
        self.mail.receive(channel, from, tag, landing)
    }

    fn wait(&mut self, id: ReceiveId) -> Result<Header, LinkError> {
        self.wait_beside(id, &mut None)
    }

    fn wait_beside(
        &mut self,
        id: ReceiveId,
        flood: &mut Option<Flood>,
    ) -> Result<Header, LinkError> {
        self.idle.reset();
        loop {
            if let Some((header, _)) = self.mail.take_received(id) {
                return Ok(header);
            }
            self.step(flood.as_mut())?;
        }
    }

    /// Polls, and waits as the runner does where nothing came.
    fn step(&mut self, flood: Option<&mut Flood>) -> Result<(), LinkError> {
        let mut busy = self.mail.poll_all()? > 0;
        if let Some(flood) = flood {
            busy |= flood.step(self);
        }
        let moving = self.mail.link().is_moving();
        match busy {
            true => self.idle.reset(),
            false if self.beside => {
                let before = thread_cpu();
                self.idle.beside_run(moving);
                self.slept += thread_cpu().saturating_sub(before);
            }
            false if moving => self.idle.beside_message(),
            false => self.idle.wait(),
        }
        Ok(())
    }
}
