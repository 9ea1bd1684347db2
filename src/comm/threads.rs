//! Ranks as threads of one process, with injected delays for tests.
//!
//! A message lies in its receiver's inbox with the moment at which it arrives; the receiver's
//! `poll` takes what is due and copies it into the landing. Nothing runs in the background.
//!
//! Stricter than MPI where MPI may be either: a payload is `Sent` only when the receiver has
//! copied it, so that whoever counts on buffering inside of MPI waits for ever here, too. A
//! message without a payload is `Sent` at once.

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// What is injected between the ranks; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Each message arrives later by a random time up to the duration; the seed decides. Messages
    /// of one (channel, from, to, tag) keep their order, others overtake each other.
    pub delay: Option<(u64, Duration)>,
    /// Bytes per second of every directed pair of ranks: a message, header included, occupies
    /// its pair for as long as its bytes take, after the messages before it.
    pub bandwidth: Option<f64>,
    /// Added to every message's way; occupies nothing.
    pub latency: Duration,
}

/// The link of one rank that is a thread. Dropping it without `close` aborts the job, like MPI's.
pub struct ThreadLink {
    rank: Rank,
    shared: Arc<Shared>,
    options: Options,
    random: u64,
    /// When the last message to each rank leaves the pair free.
    free_at: Vec<Instant>,
    /// When the last message of each (channel, to, tag) arrives.
    last_arrival: HashMap<Key, Instant>,
    next_id: u64,
    /// Messages that are on their way, the next to arrive on top.
    travelling: BinaryHeap<Travelling>,
    taken: u64,
    lanes: HashMap<Key, Lane>,
    ready: VecDeque<Event>,
    failed: Option<LinkError>,
    sent_bytes: Vec<u64>,
    closed: bool,
}

/// A view of a job from outside of its ranks.
pub struct Watch(Arc<Shared>);

impl Watch {
    /// The exit code that the first rank to abort ended the job with.
    pub fn aborted_with(&self) -> Option<i32> {
        self.0.aborted.get().map(|&(_, code)| code)
    }
}

/// What all ranks see.
struct Shared {
    inboxes: Vec<Mutex<Inbox>>,
    aborted: OnceLock<(Rank, i32)>,
}

#[derive(Default)]
struct Inbox {
    messages: Vec<Message>,
    sent: Vec<SendId>,
}

struct Message {
    key: Key,
    header: Header,
    payload: Option<Arc<dyn Payload>>,
    /// To be told of when the payload has been copied.
    sent: Option<SendId>,
    arrival: Instant,
}

/// Channel, the other rank, tag.
type Key = (Channel, Rank, u32);

/// Messages and receives of one key that have not met; one of the two lists is empty.
#[derive(Default)]
struct Lane {
    messages: VecDeque<Message>,
    receives: VecDeque<(ReceiveId, Box<dyn Landing>)>,
}

struct Travelling {
    order: u64,
    message: Message,
}

/// Links of `size` ranks, in the order of the ranks.
pub fn links(size: usize, options: Options) -> Vec<ThreadLink> {
    let shared = Arc::new(Shared {
        inboxes: (0..size).map(|_| Mutex::default()).collect(),
        aborted: OnceLock::new(),
    });
    let start = Instant::now();
    let link = |rank: usize| ThreadLink {
        rank: Rank::new(rank),
        shared: Arc::clone(&shared),
        options,
        random: options.delay.map_or(0, |(seed, _)| seed) ^ (rank as u64) << 48,
        free_at: vec![start; size],
        last_arrival: HashMap::new(),
        next_id: 0,
        travelling: BinaryHeap::new(),
        taken: 0,
        lanes: HashMap::new(),
        ready: VecDeque::new(),
        failed: None,
        sent_bytes: vec![0; size],
        closed: false,
    };
    (0..size).map(link).collect()
}

/// Runs `rank_main` as `size` ranks, each on a thread of its own, and returns what they return,
/// in the order of the ranks. A rank that panics or drops its link without `close` aborts the
/// others.
///
/// # Panics
/// With the panic of the lowest rank that did.
pub fn run<T: Send>(
    size: usize,
    options: Options,
    rank_main: impl Fn(ThreadLink) -> T + Sync,
) -> Vec<T> {
    let links = links(size, options);
    let rank_main = &rank_main;
    std::thread::scope(|scope| {
        let spawn = |link: ThreadLink| {
            std::thread::Builder::new()
                .name(format!("rank {}", link.rank))
                .spawn_scoped(scope, move || rank_main(link))
                .expect("a thread for a rank")
        };
        let threads: Vec<_> = links.into_iter().map(spawn).collect();
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let unwind = |end: std::thread::Result<T>| {
            end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        ends.into_iter().map(unwind).collect()
    })
}

impl ThreadLink {
    /// Payload bytes sent to a rank, on all channels.
    pub fn sent_bytes(&self, to: Rank) -> u64 {
        self.sent_bytes[to.index()]
    }

    /// A view of the job that outlives the link, as a launcher has.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    fn inbox(&self, rank: Rank) -> MutexGuard<'_, Inbox> {
        // Nothing panics while it holds this lock, and a list of messages has no torn state.
        self.shared.inboxes[rank.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// When a message that is sent at this moment arrives.
    fn arrival(&mut self, key: Key, length: u64) -> Instant {
        let mut at = Instant::now();
        if let Some(bandwidth) = self.options.bandwidth {
            let bytes = (length + Header::BYTES as u64) as f64;
            let free_at = &mut self.free_at[key.1.index()];
            *free_at = at.max(*free_at) + Duration::from_secs_f64(bytes / bandwidth);
            at = *free_at;
        }
        at += self.options.latency;
        if let Some((_, longest)) = self.options.delay {
            at += longest.mul_f64(self.random_fraction());
            let last = self.last_arrival.entry(key).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        at
    }

    /// A number in 0..1, by Steele, Lea and Flood's SplitMix64.
    fn random_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Empties the inbox and lets what is due meet its receives.
    fn take_due(&mut self) {
        let (messages, sent) = {
            let mut inbox = self.inbox(self.rank);
            (
                std::mem::take(&mut inbox.messages),
                std::mem::take(&mut inbox.sent),
            )
        };
        self.ready.extend(sent.into_iter().map(Event::Sent));
        for message in messages {
            self.taken += 1;
            self.travelling.push(Travelling {
                order: self.taken,
                message,
            });
        }
        if self.travelling.is_empty() {
            return;
        }
        let time = Instant::now();
        while let Some(top) = self.travelling.peek() {
            if top.message.arrival > time {
                break;
            }
            let Some(Travelling { message, .. }) = self.travelling.pop() else {
                break;
            };
            let key = message.key;
            self.lanes
                .entry(key)
                .or_default()
                .messages
                .push_back(message);
            self.meet(key);
        }
    }

    /// Delivers the first message of a lane into its first receive, where both exist.
    fn meet(&mut self, key: Key) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.messages.is_empty() || lane.receives.is_empty() {
            return;
        }
        let (Some(message), Some((id, mut landing))) =
            (lane.messages.pop_front(), lane.receives.pop_front())
        else {
            return;
        };
        if lane.messages.is_empty() && lane.receives.is_empty() {
            self.lanes.remove(&key);
        }
        let target = landing.bytes_mut();
        if target.len() as u64 != message.header.length {
            let error = LinkError::Length {
                from: key.1,
                tag: key.2,
                found: message.header.length,
                expected: target.len() as u64,
            };
            self.failed.get_or_insert(error);
            return;
        }
        if let Some(payload) = &message.payload {
            target.copy_from_slice(payload.bytes());
        }
        // The sender may have the payload to itself as soon as it is told so.
        drop(message.payload);
        if let Some(sent) = message.sent {
            self.inbox(key.1).sent.push(sent);
        }
        self.ready
            .push_back(Event::Received(id, message.header, landing));
    }
}

impl Link for ThreadLink {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.inboxes.len()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        mut header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        assert!(to != self.rank, "rank {to} sends to itself");
        assert!(!self.closed, "rank {} sends after close", self.rank);
        let id = SendId(self.new_id());
        header.length = payload.as_ref().map_or(0, |p| p.bytes().len() as u64);
        let payload = payload.filter(|_| header.length > 0);
        if payload.is_none() {
            self.ready.push_back(Event::Sent(id));
        }
        self.sent_bytes[to.index()] += header.length;
        let message = Message {
            key: (channel, self.rank, tag),
            header,
            sent: payload.as_ref().map(|_| id),
            payload,
            arrival: self.arrival((channel, to, tag), header.length),
        };
        self.inbox(to).messages.push(message);
        id
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        assert!(from != self.rank, "rank {from} receives from itself");
        assert!(!self.closed, "rank {} receives after close", self.rank);
        let id = ReceiveId(self.new_id());
        let key = (channel, from, tag);
        let lane = self.lanes.entry(key).or_default();
        lane.receives.push_back((id, landing));
        self.meet(key);
        id
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        if let Some(&(by, _)) = self.shared.aborted.get() {
            if by != self.rank {
                return Err(LinkError::Aborted { by });
            }
        }
        if self.ready.is_empty() {
            self.take_due();
        }
        // What completed before a failure is still handed out.
        match (self.ready.pop_front(), &self.failed) {
            (None, Some(error)) => Err(error.clone()),
            (event, _) => Ok(event),
        }
    }

    /// Nothing here depends on being polled.
    fn is_moving(&self) -> bool {
        false
    }

    fn abort(&mut self, code: i32) {
        // The first to abort is the one that the others name.
        let _ = self.shared.aborted.set((self.rank, code));
    }

    fn close(&mut self) {
        self.closed = true;
        self.lanes.clear();
    }
}

impl Drop for ThreadLink {
    fn drop(&mut self) {
        if !self.closed {
            self.abort(101);
        }
    }
}

impl PartialEq for Travelling {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Travelling {}

impl PartialOrd for Travelling {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Travelling {
    /// Greater is sooner, because a `BinaryHeap` has its greatest on top.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.message.arrival, other.order).cmp(&(self.message.arrival, self.order))
    }
}
