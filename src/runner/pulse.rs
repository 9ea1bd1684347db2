//! A link that shows its rank is alive, and notices when another one is not.
//!
//! Every rank sends rank 0 a sign of life each second and rank 0 answers, so that rank 0 watches
//! all ranks and all ranks watch rank 0. It works as long as somebody polls, also during set-up
//! and long Runs. A guard thread ends the process where the main thread itself stops polling.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::comm::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// Between two signs of life; a shorter watchdog makes it shorter.
const BEAT: Duration = Duration::from_secs(1);
const TAG: u32 = 0;

/// A link with heartbeats of its own.
pub struct Pulse<'a> {
    link: &'a mut dyn Link,
    watchdog: Duration,
    beat: Duration,
    /// The ranks that this one watches.
    watched: Vec<Watched>,
    next_beat: Instant,
    /// Signs of life under way; the link still owns them.
    beating: Vec<SendId>,
    ticks: Arc<AtomicU64>,
    watching: bool,
    /// When this rank last looked at its messages.
    looked: Instant,
}

struct Watched {
    rank: Rank,
    receive: ReceiveId,
    seen: Instant,
}

impl<'a> Pulse<'a> {
    /// Wraps `link`; `watchdog` is the silence that counts as failure.
    pub fn new(link: &'a mut dyn Link, watchdog: Duration) -> Self {
        let ranks = match link.rank() {
            Rank(0) => 1..link.size(),
            _ => 0..1,
        };
        let own = link.rank();
        let now = Instant::now();
        let watched: Vec<_> = ranks
            .map(Rank::new)
            .filter(|&rank| rank != own)
            .map(|rank| Watched {
                rank,
                receive: expect_beat(link, rank),
                seen: now,
            })
            .collect();
        let beat = BEAT.min(watchdog / 3);
        let ticks = Arc::new(AtomicU64::new(0));
        let (next_beat, beating, watching) = (now, Vec::new(), true);
        Self {
            link,
            watchdog,
            beat,
            watched,
            next_beat,
            beating,
            ticks,
            watching,
            looked: now,
        }
    }

    /// Sets the silence that counts as failure; a spec says it after the link is up.
    pub fn set_watchdog(&mut self, watchdog: Duration) {
        self.watchdog = watchdog;
        self.beat = BEAT.min(watchdog / 3);
    }

    /// Stops watching: the other ranks are ending, too.
    pub fn stop_watching(&mut self) {
        self.watching = false;
    }

    /// A count that grows with every poll, for a guard.
    pub fn ticks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ticks)
    }

    fn beat(&mut self, now: Instant) {
        if now < self.next_beat {
            return;
        }
        self.next_beat = now + self.beat;
        if self.link.rank() != Rank(0) {
            // One unanswered sign of life is enough where rank 0 does not take them in.
            if self.beating.is_empty() {
                let id = self
                    .link
                    .send(Channel::Heartbeat, Rank(0), TAG, Header::default(), None);
                self.beating.push(id);
            }
        }
    }

    /// A rank that was stopped, or busy elsewhere, cannot tell who was silent meanwhile: that
    /// time does not count.
    fn look(&mut self, now: Instant) {
        let away = now.duration_since(self.looked);
        self.looked = now;
        if away > self.beat {
            self.watched.iter_mut().for_each(|w| w.seen += away);
        }
    }

    fn watch(&self, now: Instant) -> Result<(), LinkError> {
        let silent = self
            .watched
            .iter()
            .find(|w| now.saturating_duration_since(w.seen) > self.watchdog);
        match silent {
            Some(watched) if self.watching => Err(LinkError::Silent {
                rank: watched.rank,
                silence: now.duration_since(watched.seen),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the event was a sign of life.
    fn heard(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::Sent(id) => {
                let at = self.beating.iter().position(|beat| beat == id);
                at.map(|at| self.beating.swap_remove(at)).is_some()
            }
            Event::Received(id, ..) => {
                let Some(at) = self.watched.iter().position(|w| w.receive == *id) else {
                    return false;
                };
                let rank = self.watched[at].rank;
                self.watched[at].seen = now;
                self.watched[at].receive = expect_beat(self.link, rank);
                if self.link.rank() == Rank(0) {
                    let header = Header::default();
                    let answer = self.link.send(Channel::Heartbeat, rank, TAG, header, None);
                    self.beating.push(answer);
                }
                true
            }
        }
    }
}

fn expect_beat(link: &mut dyn Link, rank: Rank) -> ReceiveId {
    link.receive(Channel::Heartbeat, rank, TAG, Box::new(Vec::new()))
}

impl Link for Pulse<'_> {
    fn rank(&self) -> Rank {
        self.link.rank()
    }

    fn size(&self) -> usize {
        self.link.size()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        self.link.send(channel, to, tag, header, payload)
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        self.link.receive(channel, from, tag, landing)
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.look(now);
        self.beat(now);
        while let Some(event) = self.link.poll()? {
            if !self.heard(&event, now) {
                return Ok(Some(event));
            }
        }
        self.watch(now)?;
        Ok(None)
    }

    fn is_moving(&self) -> bool {
        self.link.is_moving()
    }

    fn abort(&mut self, code: i32) {
        self.link.abort(code);
    }

    fn close(&mut self) {
        self.link.close();
    }
}

/// Ends the process where `ticks` stands still for longer than `watchdog`: the main thread is
/// stuck, nobody else can say so, and an exit without `MPI_Finalize` ends the job.
pub struct Guard {
    ended: Arc<AtomicBool>,
}

impl Guard {
    /// Starts to watch; `name` is put before the line that a failure prints.
    pub fn start(ticks: Arc<AtomicU64>, watchdog: Duration, name: String) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        std::thread::spawn(move || {
            let (mut last, mut since) = (ticks.load(Ordering::Relaxed), Instant::now());
            while !flag.load(Ordering::Relaxed) {
                let slept = Instant::now();
                std::thread::sleep(Duration::from_millis(200).min(watchdog / 4));
                // A process that was stopped and goes on has slept for too long itself: the main
                // thread gets its time to catch up.
                let overslept = slept.elapsed() > watchdog / 2;
                let now = ticks.load(Ordering::Relaxed);
                if now != last || overslept {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > watchdog {
                    let seconds = since.elapsed().as_secs_f64();
                    eprintln!("{name}: the main thread has stood still for {seconds:.1} s");
                    std::process::exit(super::failure::FAILED);
                }
            }
        });
        Self { ended }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
