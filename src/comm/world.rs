//! Ranks as MPI processes: the one room that speaks MPI (`world/calls.rs` has its calls).
//!
//! On the wire a message is its header and its payload in one MPI message where the payload is
//! short (one copy on either side), else the header alone and then the payload, on the same tag,
//! from and to its own memory. Both sides know the payload's length from the plan and so expect
//! the same form. A long payload's receive is posted together with its header's, so that it
//! never lands in a buffer of MPI's first. A header with another length is an error, whichever
//! form it came in: its landing, which MPI may have written to, is never handed out.
//!
//! Per (channel, from, tag) one receive at a time is given to MPI, the next when it is complete:
//! MPI matches in order but completes in any.
#![allow(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use self::calls::{Address, Code, Communicator, Complete, Completed, Done, Request};
use super::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

mod calls;
mod ping_pong;

/// What all ranks of a job must have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Payloads up to this many bytes travel together with their header. Measured over shared
    /// memory and TCP: up to here the copies cost less than a second message.
    pub short: usize,
    /// Longer payloads travel in chunks of this many bytes, which MPI counts in 31 bits. Each is
    /// one that MPI sends at once: a longer one waits for a word from its receiver, which over TCP
    /// stands behind all that the receiver is itself sending on that connection, so that two ranks
    /// that exchange long payloads would send them one after the other.
    pub chunk: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            short: 4 << 10,
            chunk: calls::EAGER,
        }
    }
}

/// MPI itself, from `MPI_Init` to `MPI_Finalize`, and this rank's link.
///
/// Belongs to the thread that made it. Dropping it without `close`, as a panic does, aborts the
/// job: `MPI_Finalize` would wait for ranks that wait for this one.
pub struct World {
    rank: Rank,
    size: usize,
    form: Form,
    /// One communicator per channel.
    communicators: [Communicator; CHANNELS],
    /// What MPI works on; `owners[i]` says for whom `requests[i]` is.
    requests: Vec<Request>,
    owners: Vec<Owner>,
    completed: Completed,
    sends: HashMap<SendId, Sending>,
    /// The first of each list is with MPI.
    receives: HashMap<Key, VecDeque<Receiving>>,
    /// Buffers of a header and a short payload that nobody uses.
    spare: Vec<Vec<u8>>,
    ready: VecDeque<Event>,
    failed: Option<LinkError>,
    /// Receives whose header is here and whose payload is not.
    half_received: usize,
    /// Long payloads that are being sent, and when the last of them was started.
    long_sends: usize,
    last_long_send: Instant,
    next_id: u64,
    sent_messages: Vec<u64>,
    sent_bytes: Vec<u64>,
    /// Payload bytes of activations by other rank: given to MPI, and counted by MPI on arrival.
    sent_data: Vec<u64>,
    received_data: Vec<u64>,
    closed: bool,
}

/// Channel, sender, tag.
type Key = (Channel, Rank, u32);

#[derive(Clone, Copy)]
enum Owner {
    Send(SendId, Rank),
    /// The header, and a short payload, of the first receive of its key.
    Head(Key),
    /// So many bytes of the payload of the first receive of its key.
    Body(Key, usize),
}

/// Owns what its requests read, until the last of them completes.
struct Sending {
    requests: usize,
    head: Vec<u8>,
    _payload: Option<Arc<dyn Payload>>,
    is_long: bool,
}

/// Owns what its requests write, until the last of them completes.
struct Receiving {
    id: ReceiveId,
    head: Vec<u8>,
    header: Option<Header>,
    /// Whether the header came before the whole payload.
    is_half: bool,
    /// Bytes of the payload that are still to come.
    missing: usize,
    expected: usize,
    /// From `Box::into_raw`: a `Box` that moves while MPI writes behind it would claim to be
    /// the only way to its memory.
    landing: *mut dyn Landing,
}

const CHANNELS: usize = 4;

/// A long send that is older goes as slowly as its link, and rarer looks keep up with that: vgg16
/// by channels at 100 Mbit/s takes what its bytes and Runs should (BENCHMARKS.md).
const MOVING: Duration = Duration::from_millis(10);

/// How long `close` waits for what should be complete by then.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

impl World {
    /// Starts MPI. To be called once, by the main thread before it starts others, because the
    /// environment is written: Open MPI's limits for eager messages over TCP become those of a
    /// chunk where the user has not set them.
    ///
    /// # Errors
    /// Where MPI was started before in this process, or cannot be used from a threaded program.
    pub fn init() -> Result<Self> {
        Self::init_with(Form::default())
    }

    /// As `init`, with another form of messages; all ranks' must be the same.
    ///
    /// # Errors
    /// As `init`.
    ///
    /// # Panics
    /// Where a chunk is empty or more than MPI can count.
    pub fn init_with(form: Form) -> Result<Self> {
        assert!((1..=1 << 30).contains(&form.chunk) && form.short <= 1 << 30);
        let (rank, size) = calls::start()?;
        Ok(Self {
            rank,
            size,
            form,
            communicators: calls::communicators()?,
            requests: Vec::new(),
            owners: Vec::new(),
            completed: Completed::default(),
            sends: HashMap::new(),
            receives: HashMap::new(),
            spare: Vec::new(),
            ready: VecDeque::new(),
            failed: None,
            half_received: 0,
            long_sends: 0,
            last_long_send: Instant::now(),
            next_id: 0,
            sent_messages: vec![0; size],
            sent_bytes: vec![0; size],
            sent_data: vec![0; size],
            received_data: vec![0; size],
            closed: false,
        })
    }

    /// The name of this rank's host, as MPI knows it.
    pub fn host(&self) -> String {
        calls::host()
    }

    /// Name and version of the MPI library.
    pub fn version(&self) -> String {
        calls::version()
    }

    /// Messages sent to a rank, on all channels.
    pub fn sent_messages(&self, to: Rank) -> u64 {
        self.sent_messages[to.index()]
    }

    /// Payload bytes sent to a rank, on all channels.
    pub fn sent_bytes(&self, to: Rank) -> u64 {
        self.sent_bytes[to.index()]
    }

    /// Payload bytes of activations (channel `Data`) sent to a rank.
    pub fn sent_data_bytes(&self, to: Rank) -> u64 {
        self.sent_data[to.index()]
    }

    /// Payload bytes of activations (channel `Data`) that have arrived from a rank.
    pub fn received_data_bytes(&self, from: Rank) -> u64 {
        self.received_data[from.index()]
    }

    fn staging(&mut self) -> Vec<u8> {
        let bytes = Header::BYTES + self.form.short;
        self.spare.pop().unwrap_or_else(|| vec![0; bytes])
    }

    fn address(&self, (channel, rank, tag): Key) -> Address {
        Address {
            communicator: self.communicators[channel as usize],
            rank,
            tag,
        }
    }

    /// Keeps a request until it completes; says whether there is one.
    fn keep(&mut self, started: Result<Request, Code>, owner: Owner) -> bool {
        match started {
            Ok(request) => {
                self.requests.push(request);
                self.owners.push(owner);
            }
            Err(code) => self.fail(owner.transport(code)),
        }
        started.is_ok()
    }

    fn fail(&mut self, error: LinkError) {
        self.failed.get_or_insert(error);
    }

    /// Gives the first receive of a key to MPI.
    fn start_first(&mut self, key: Key) {
        let from = self.address(key);
        let Some(first) = self.receives.get_mut(&key).and_then(VecDeque::front_mut) else {
            return;
        };
        let (head, count) = (first.head.as_mut_ptr(), first.head.len());
        let expected = first.expected;
        // SAFETY: the landing is this `Receiving`'s own, and MPI has not been given it.
        let target = unsafe { (*first.landing).bytes_mut() }.as_mut_ptr();
        // SAFETY: `Receiving` owns these heap bytes, whose address does not change when it
        // moves, and stays in `receives` until this request completes.
        let started = unsafe { calls::start_receive(head, count, from) };
        self.keep(started, Owner::Head(key));
        if expected <= self.form.short {
            return;
        }
        for start in (0..expected).step_by(self.form.chunk) {
            let bytes = self.form.chunk.min(expected - start);
            // SAFETY: inside of the landing's `expected` bytes. It stays in `receives`, unused
            // and behind a raw pointer, until all its requests complete.
            let started = unsafe { calls::start_receive(target.add(start), bytes, from) };
            self.keep(started, Owner::Body(key, bytes));
        }
    }

    /// Asks MPI what completed, and takes it.
    fn test(&mut self) {
        if self.requests.is_empty() {
            // A short message counts as sent when MPI has copied it, which may be before the
            // network took it.
            return calls::progress(self.communicators[0]);
        }
        let mut found = self.completed.look(&mut self.requests);
        if found.as_ref().is_ok_and(Vec::is_empty) {
            // Open MPI looks at the requests first and moves messages on after that: what the
            // first call completed would be found one pause later.
            found = self.completed.look(&mut self.requests);
        }
        match found {
            Ok(done) => self.take_completed(done),
            Err(code) => self.fail(transport("wait as", self.rank, code)),
        }
    }

    fn take_completed(&mut self, mut done: Vec<Done>) {
        // From the back, so that what `swap_remove` moves is not in the list any more.
        done.sort_unstable_by_key(|&(index, _)| std::cmp::Reverse(index));
        let mut owned = Vec::with_capacity(done.len());
        for (index, how) in done {
            self.requests.swap_remove(index);
            owned.push((self.owners.swap_remove(index), how));
        }
        // Headers first: what they say explains what is wrong with a payload.
        owned.sort_by_key(|(owner, _)| !matches!(owner, Owner::Head(_)));
        for (owner, how) in owned {
            match (owner, how) {
                (_, Err(code)) => self.fail(owner.transport(code)),
                (Owner::Send(id, _), Ok(_)) => self.complete_send(id),
                (Owner::Head(key), Ok(status)) => {
                    self.complete_head(key, calls::received(&status));
                }
                (Owner::Body(key, bytes), Ok(status)) => {
                    self.complete_body(key, bytes, calls::received(&status));
                }
            }
        }
    }

    fn complete_send(&mut self, id: SendId) {
        let Some(sending) = self.sends.get_mut(&id) else {
            return;
        };
        sending.requests -= 1;
        if sending.requests > 0 {
            return;
        }
        if let Some(sending) = self.sends.remove(&id) {
            self.long_sends -= usize::from(sending.is_long);
            self.spare.push(sending.head);
        }
        self.ready.push_back(Event::Sent(id));
    }

    /// A header is here: judges the length, and takes a short payload from behind it.
    fn complete_head(&mut self, key: Key, arrived: usize) {
        let Some(first) = self.receives.get_mut(&key).and_then(VecDeque::front_mut) else {
            return;
        };
        let expected = first.expected;
        let wrong = |found: u64| LinkError::Length {
            from: key.1,
            tag: key.2,
            found,
            expected: expected as u64,
        };
        let Some(bytes) = first.head[..arrived].first_chunk::<{ Header::BYTES }>() else {
            // Not even a header: no message of this program's.
            return self.fail(wrong(0));
        };
        let header = Header::decode(bytes);
        let behind = arrived - Header::BYTES;
        let short = expected <= self.form.short;
        if header.length != expected as u64 {
            return self.fail(wrong(header.length));
        }
        if behind != if short { expected } else { 0 } {
            return self.fail(wrong(behind as u64));
        }
        first.header = Some(header);
        if key.0 == Channel::Data {
            self.received_data[key.1.index()] += behind as u64;
        }
        if short {
            // SAFETY: the landing is this `Receiving`'s own, and MPI is not given short ones.
            let target = unsafe { (*first.landing).bytes_mut() };
            target.copy_from_slice(&first.head[Header::BYTES..arrived]);
            first.missing = 0;
        }
        first.is_half = first.missing > 0;
        self.half_received += usize::from(first.is_half);
        self.finish(key);
    }

    fn complete_body(&mut self, key: Key, bytes: usize, arrived: usize) {
        let Some(first) = self.receives.get_mut(&key).and_then(VecDeque::front_mut) else {
            return;
        };
        first.missing -= bytes;
        if key.0 == Channel::Data {
            self.received_data[key.1.index()] += arrived as u64;
        }
        if arrived != bytes {
            // Another number than the header said: the sender is not this program.
            let expected = first.expected as u64;
            let found = expected - (bytes - arrived) as u64;
            let (_, from, tag) = key;
            return self.fail(LinkError::Length {
                from,
                tag,
                found,
                expected,
            });
        }
        self.finish(key);
    }

    /// Hands out the first receive of a key, if it is complete, and starts the next.
    fn finish(&mut self, key: Key) {
        let Some(lane) = self.receives.get_mut(&key) else {
            return;
        };
        let Some(Receiving {
            header: Some(header),
            missing: 0,
            ..
        }) = lane.front()
        else {
            return;
        };
        let header = *header;
        let Some(first) = lane.pop_front() else {
            return;
        };
        self.half_received -= usize::from(first.is_half);
        self.spare.push(first.head);
        // SAFETY: from `Box::into_raw` in `receive`, taken back once; MPI is done with it.
        let landing = unsafe { Box::from_raw(first.landing) };
        self.ready
            .push_back(Event::Received(first.id, header, landing));
        self.start_first(key);
    }
}

impl Link for World {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
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
        self.next_id += 1;
        let id = SendId(self.next_id);
        let key = (channel, to, tag);
        let body = payload.as_ref().map_or(&[][..], |payload| payload.bytes());
        header.length = body.len() as u64;
        self.sent_messages[to.index()] += 1;
        self.sent_bytes[to.index()] += header.length;
        if channel == Channel::Data {
            self.sent_data[to.index()] += header.length;
        }
        let mut head = self.staging();
        head[..Header::BYTES].copy_from_slice(&header.encode());
        let mut with_head = Header::BYTES;
        let mut chunks = body.chunks(self.form.chunk);
        if body.len() <= self.form.short {
            head[with_head..][..body.len()].copy_from_slice(body);
            with_head += body.len();
            chunks = [].chunks(1);
        }
        let is_long = body.len() > self.form.short;
        // Set-up: whoever counts what is not sent yet bounds what MPI holds, beside a rank that is
        // loading, in memory of its own.
        let complete = match channel {
            Channel::Deploy if is_long => Complete::WhenReceived,
            _ => Complete::WhenFree,
        };
        let (at, owner) = (self.address(key), Owner::Send(id, to));
        // SAFETY: `sends` owns head and payload until the last of these requests completes; the
        // bytes of either are on the heap and have the same address wherever the owner moves.
        let started = unsafe { calls::start_send(&head[..with_head], at, complete) };
        let mut started = usize::from(self.keep(started, owner));
        for chunk in chunks {
            // SAFETY: as above.
            let chunk = unsafe { calls::start_send(chunk, at, Complete::WhenFree) };
            started += usize::from(self.keep(chunk, owner));
        }
        if is_long {
            self.long_sends += 1;
            self.last_long_send = Instant::now();
        }
        let sending = Sending {
            requests: started,
            head,
            _payload: payload,
            is_long,
        };
        self.sends.insert(id, sending);
        id
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        mut landing: Box<dyn Landing>,
    ) -> ReceiveId {
        assert!(from != self.rank, "rank {from} receives from itself");
        assert!(!self.closed, "rank {} receives after close", self.rank);
        self.next_id += 1;
        let id = ReceiveId(self.next_id);
        let key = (channel, from, tag);
        let expected = landing.bytes_mut().len();
        let receiving = Receiving {
            id,
            head: self.staging(),
            header: None,
            is_half: false,
            missing: expected,
            expected,
            landing: Box::into_raw(landing),
        };
        let lane = self.receives.entry(key).or_default();
        lane.push_back(receiving);
        if lane.len() == 1 {
            self.start_first(key);
        }
        id
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        if self.ready.is_empty() && self.failed.is_none() {
            self.test();
        }
        // What completed before a failure is still handed out.
        match (self.ready.pop_front(), &self.failed) {
            (None, Some(error)) => Err(error.clone()),
            (event, _) => Ok(event),
        }
    }

    fn is_moving(&self) -> bool {
        let sending = self.long_sends > 0 && self.last_long_send.elapsed() < MOVING;
        self.half_received > 0 || sending
    }

    fn abort(&mut self, code: i32) {
        calls::abort(code);
    }

    fn close(&mut self) {
        self.closed = true;
        for (request, owner) in self.requests.iter_mut().zip(&self.owners) {
            if !matches!(owner, Owner::Send(..)) {
                calls::cancel(request);
            }
        }
        let start = Instant::now();
        for request in &mut self.requests {
            loop {
                let done = calls::is_complete(request);
                if done == Ok(true) {
                    break;
                }
                if done.is_err() || start.elapsed() > CLOSE_WAIT {
                    eprintln!("rank {}: a message is under way at the end", self.rank);
                    calls::abort(101);
                }
            }
        }
        self.requests.clear();
        self.owners.clear();
        self.sends.clear();
        for receiving in self.receives.drain().flat_map(|(_, lane)| lane) {
            // SAFETY: from `Box::into_raw` in `receive`; no request is left that writes to it.
            drop(unsafe { Box::from_raw(receiving.landing) });
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.closed {
            calls::abort(101);
        }
        // `close` left nothing under way.
        calls::finalize();
    }
}

impl Owner {
    fn transport(self, code: Code) -> LinkError {
        match self {
            Self::Send(_, to) => transport("send to", to, code),
            Self::Head((_, from, _)) | Self::Body((_, from, _), _) => {
                transport("receive from", from, code)
            }
        }
    }
}

fn transport(what: &str, other: Rank, code: Code) -> LinkError {
    LinkError::Transport {
        detail: format!(
            "MPI failed to {what} rank {other}: {}",
            calls::explain(code)
        ),
    }
}
