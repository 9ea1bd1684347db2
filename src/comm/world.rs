//! Ranks as MPI processes: the one file that speaks MPI.
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
use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use mpi::ffi;

use super::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// What all ranks of a job must have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Payloads up to this many bytes travel together with their header. Measured over shared
    /// memory and TCP: up to here the copies cost less than a second message.
    pub short: usize,
    /// Longer payloads travel in chunks of this many bytes, which MPI counts in 31 bits.
    pub chunk: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            short: 4 << 10,
            chunk: 1 << 30,
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
    comms: [ffi::MPI_Comm; CHANNELS],
    /// What MPI works on; `owners[i]` says for whom `requests[i]` is.
    requests: Vec<ffi::MPI_Request>,
    owners: Vec<Owner>,
    /// Where MPI writes what completed.
    indices: Vec<c_int>,
    statuses: Vec<ffi::MPI_Status>,
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
    Send(SendId),
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
const SUCCESS: c_int = ffi::MPI_SUCCESS as c_int;
const IN_STATUS: c_int = ffi::MPI_ERR_IN_STATUS as c_int;

/// A long send that is older waits for its receiver: there is nothing to move.
const MOVING: Duration = Duration::from_millis(10);

/// How long `close` waits for what should be complete by then.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Over TCP, a message above these does not move until the sender calls MPI again.
const RAISED: [&str; 2] = [
    "OMPI_MCA_btl_tcp_eager_limit",
    "OMPI_MCA_btl_tcp_rndv_eager_limit",
];

impl World {
    /// Starts MPI. To be called once, by the main thread before it starts others, because the
    /// environment is written: Open MPI's limits for eager messages over TCP become 1 MiB where
    /// the user has not set them.
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
        let mut initialised = 0;
        // SAFETY: MPI allows this call at any time; the pointer is to a live int.
        check(unsafe { ffi::MPI_Initialized(&mut initialised) }).context("MPI_Initialized")?;
        if initialised != 0 {
            bail!("MPI was started before in this process: a process is one rank, once");
        }
        for name in RAISED {
            if std::env::var_os(name).is_none() {
                std::env::set_var(name, (1 << 20).to_string());
            }
        }
        let mut level = 0;
        let none = std::ptr::null_mut();
        // SAFETY: the first call to MPI_Init in this process; null stands for no arguments.
        let code = unsafe { ffi::MPI_Init_thread(none, none.cast(), funneled(), &mut level) };
        check(code).context("MPI_Init_thread")?;
        if level < funneled() {
            // SAFETY: MPI is initialised and has no message of ours.
            unsafe { ffi::MPI_Finalize() };
            bail!("this MPI library cannot be used by a program that has threads");
        }
        let (mut rank, mut size) = (0, 0);
        // SAFETY: MPI is initialised; the pointers are to live ints.
        unsafe {
            check(ffi::MPI_Comm_rank(ffi::RSMPI_COMM_WORLD, &mut rank)).context("MPI_Comm_rank")?;
            check(ffi::MPI_Comm_size(ffi::RSMPI_COMM_WORLD, &mut size)).context("MPI_Comm_size")?;
        }
        let size = usize::try_from(size).context("MPI_Comm_size")?;
        Ok(Self {
            rank: Rank(u32::try_from(rank).context("MPI_Comm_rank")?),
            size,
            form,
            comms: duplicate_world()?,
            requests: Vec::new(),
            owners: Vec::new(),
            indices: Vec::new(),
            statuses: Vec::new(),
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
        // SAFETY: MPI is initialised; `text` hands in at least MPI_MAX_PROCESSOR_NAME bytes.
        text(|name, length| unsafe { ffi::MPI_Get_processor_name(name, length) })
    }

    /// Name and version of the MPI library.
    pub fn version(&self) -> String {
        // SAFETY: `text` hands in at least MPI_MAX_LIBRARY_VERSION_STRING bytes.
        let all = text(|name, length| unsafe { ffi::MPI_Get_library_version(name, length) });
        let first = all.lines().next().unwrap_or_default();
        first.split(',').next().unwrap_or_default().to_owned()
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

    /// Plain blocking MPI for benchmarks: sends `bytes` back and forth, `repeats` times, with a
    /// rank that calls the same, and returns half of each round trip in seconds. Before each, while
    /// no clock runs, `prepare` makes the message: as it was, which both sides' caches may keep;
    /// written anew, as a Run writes what it sends; or in other memory. It must stay as long.
    ///
    /// # Panics
    /// Where MPI fails, or `bytes` are more than one MPI message holds.
    pub fn ping_pong(
        &mut self,
        with: Rank,
        bytes: usize,
        repeats: usize,
        mut prepare: impl FnMut(&mut Vec<u8>),
    ) -> Vec<f64> {
        const TAG: c_int = 32_767;
        let (count, other) = (int(bytes), int(with.index()));
        let comm = self.comms[Channel::Data as usize];
        // Not zeros: pages that nobody has written to would be made while the clock runs.
        let (mut from, mut into) = (vec![1_u8; bytes], vec![1_u8; bytes]);
        let send = |from: &[u8]| {
            // SAFETY: blocking; `from` holds `count` bytes and outlives the call.
            let sent =
                unsafe { ffi::MPI_Send(from.as_ptr().cast(), count, byte(), other, TAG, comm) };
            assert_eq!(sent, SUCCESS, "MPI_Send");
        };
        let mut receive = || {
            let status = no_status();
            // SAFETY: blocking; `into` holds `count` bytes and outlives the call.
            let received = unsafe {
                ffi::MPI_Recv(
                    into.as_mut_ptr().cast(),
                    count,
                    byte(),
                    other,
                    TAG,
                    comm,
                    status,
                )
            };
            assert_eq!(received, SUCCESS, "MPI_Recv");
        };
        let first = self.rank < with;
        let mut times = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            // Both ranks do it in the same time.
            prepare(&mut from);
            assert_eq!(from.len(), bytes, "the message keeps its length");
            let start = Instant::now();
            if first {
                send(&from);
                receive();
            } else {
                receive();
                send(&from);
            }
            times.push(start.elapsed().as_secs_f64() / 2.0);
        }
        times
    }

    fn staging(&mut self) -> Vec<u8> {
        let bytes = Header::BYTES + self.form.short;
        self.spare.pop().unwrap_or_else(|| vec![0; bytes])
    }

    /// Starts sending bytes; where it `waits`, the request completes no sooner than the receive of
    /// them has started.
    ///
    /// # Safety
    /// They stay readable and unchanged until the request completes.
    unsafe fn start_send(&mut self, id: SendId, key: Key, bytes: &[u8], waits: bool) -> bool {
        let (channel, to, tag) = key;
        let comm = self.comms[channel as usize];
        let (to_rank, tag) = (int(to.index()), int(tag as usize));
        let mut request = null_request();
        // SAFETY: by this function's contract; the request is kept until it completes.
        let code = unsafe {
            let request = &mut request;
            let (from, count) = (bytes.as_ptr().cast(), int(bytes.len()));
            match waits {
                true => ffi::MPI_Issend(from, count, byte(), to_rank, tag, comm, request),
                false => ffi::MPI_Isend(from, count, byte(), to_rank, tag, comm, request),
            }
        };
        self.keep(code, request, Owner::Send(id), "send to", to)
    }

    /// Starts receiving up to `count` bytes.
    ///
    /// # Safety
    /// They stay valid, and untouched by anyone else, until the request completes.
    unsafe fn start_receive(&mut self, owner: Owner, key: Key, into: *mut u8, count: usize) {
        let (channel, from, tag) = key;
        let comm = self.comms[channel as usize];
        let (from_rank, tag) = (int(from.index()), int(tag as usize));
        let mut request = null_request();
        // SAFETY: by this function's contract; the request is kept until it completes.
        let code = unsafe {
            let request = &mut request;
            ffi::MPI_Irecv(
                into.cast(),
                int(count),
                byte(),
                from_rank,
                tag,
                comm,
                request,
            )
        };
        self.keep(code, request, owner, "receive from", from);
    }

    fn keep(
        &mut self,
        code: c_int,
        request: ffi::MPI_Request,
        owner: Owner,
        what: &str,
        other: Rank,
    ) -> bool {
        if code != SUCCESS {
            self.fail(transport(what, other, code));
            return false;
        }
        self.requests.push(request);
        self.owners.push(owner);
        true
    }

    fn fail(&mut self, error: LinkError) {
        self.failed.get_or_insert(error);
    }

    /// Gives the first receive of a key to MPI.
    fn start_first(&mut self, key: Key) {
        let Some(first) = self.receives.get_mut(&key).and_then(VecDeque::front_mut) else {
            return;
        };
        let (head, count) = (first.head.as_mut_ptr(), first.head.len());
        let expected = first.expected;
        // SAFETY: the landing is this `Receiving`'s own, and MPI has not been given it.
        let target = unsafe { (*first.landing).bytes_mut() }.as_mut_ptr();
        // SAFETY: `Receiving` owns these heap bytes, whose address does not change when it
        // moves, and stays in `receives` until this request completes.
        unsafe { self.start_receive(Owner::Head(key), key, head, count) };
        if expected <= self.form.short {
            return;
        }
        for start in (0..expected).step_by(self.form.chunk) {
            let bytes = self.form.chunk.min(expected - start);
            // SAFETY: inside of the landing's `expected` bytes. It stays in `receives`, unused
            // and behind a raw pointer, until all its requests complete.
            unsafe { self.start_receive(Owner::Body(key, bytes), key, target.add(start), bytes) };
        }
    }

    /// Asks MPI what completed, and takes it.
    fn test(&mut self) {
        if self.requests.is_empty() {
            return self.progress();
        }
        let mut found = self.test_some();
        if found == Ok(0) {
            // Open MPI looks at the requests first and moves messages on after that: what the
            // first call completed would be found one pause later.
            found = self.test_some();
        }
        match found {
            Ok(done) => self.take_completed(done, SUCCESS),
            Err((IN_STATUS, done)) => self.take_completed(done, IN_STATUS),
            Err((code, _)) => self.fail(transport("wait as", self.rank, code)),
        }
    }

    /// How many requests have completed: `indices` and `statuses` say which and how.
    fn test_some(&mut self) -> std::result::Result<usize, (c_int, usize)> {
        let count = self.requests.len();
        self.indices.resize(count.max(self.indices.len()), 0);
        // SAFETY: a status is plain numbers, for which zeros are valid.
        let blank: ffi::MPI_Status = unsafe { std::mem::zeroed() };
        self.statuses.resize(count.max(self.statuses.len()), blank);
        let mut done: c_int = 0;
        // SAFETY: the three arrays hold at least `count` items; the requests are live.
        let code = unsafe {
            ffi::MPI_Testsome(
                int(count),
                self.requests.as_mut_ptr(),
                &mut done,
                self.indices.as_mut_ptr(),
                self.statuses.as_mut_ptr(),
            )
        };
        // Negative (MPI_UNDEFINED) where no request is active.
        let done = usize::try_from(done).unwrap_or(0);
        match code {
            SUCCESS => Ok(done),
            code => Err((code, done)),
        }
    }

    fn take_completed(&mut self, done: usize, code: c_int) {
        let mut completed = Vec::with_capacity(done);
        for place in 0..done {
            let status = self.statuses[place];
            // MPI writes the error field only where some request failed.
            let error = if code == SUCCESS {
                SUCCESS
            } else {
                status.MPI_ERROR
            };
            let index = usize::try_from(self.indices[place]).unwrap_or(usize::MAX);
            completed.push((index, status, error));
        }
        // From the back, so that what `swap_remove` moves is not in the list any more.
        completed.sort_unstable_by_key(|&(index, ..)| std::cmp::Reverse(index));
        let mut owned = Vec::with_capacity(done);
        for (index, status, error) in completed {
            self.requests.swap_remove(index);
            owned.push((self.owners.swap_remove(index), status, error));
        }
        // Headers first: what they say explains what is wrong with a payload.
        owned.sort_by_key(|(owner, ..)| !matches!(owner, Owner::Head(_)));
        for (owner, status, error) in owned {
            if error == SUCCESS {
                self.complete(owner, &status);
            } else {
                self.fail(owner.transport(error));
            }
        }
    }

    /// Lets MPI work where it has no request of ours: a short message counts as sent when MPI has
    /// copied it, which may be before the network took it.
    fn progress(&mut self) {
        let mut found = 0;
        // SAFETY: looks for a message without taking it; the pointer is to a live int.
        unsafe {
            let (source, tag) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG);
            ffi::MPI_Iprobe(source, tag, self.comms[0], &mut found, no_status());
        }
    }

    fn complete(&mut self, owner: Owner, status: &ffi::MPI_Status) {
        match owner {
            Owner::Send(id) => self.complete_send(id),
            Owner::Head(key) => self.complete_head(key, count(status)),
            Owner::Body(key, bytes) => self.complete_body(key, bytes, count(status)),
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
        // Set-up: what a rank has not asked for yet waits here. MPI would hold all of its weights
        // in memory of its own there, beside those that the rank is loading.
        let waits = channel == Channel::Deploy && body.len() > self.form.short;
        // SAFETY: `sends` owns head and payload until the last of these requests completes; the
        // bytes of either are on the heap and have the same address wherever the owner moves.
        let started = unsafe {
            let head = self.start_send(id, key, &head[..with_head], waits);
            let body = |chunk: &[u8]| self.start_send(id, key, chunk, false);
            usize::from(head) + chunks.map(body).filter(|&started| started).count()
        };
        let is_long = header.length > self.form.short as u64;
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
        abort(code);
    }

    fn close(&mut self) {
        self.closed = true;
        for (request, owner) in self.requests.iter_mut().zip(&self.owners) {
            if !matches!(owner, Owner::Send(_)) {
                // SAFETY: a live request of a receive. It still has to complete, below.
                unsafe { ffi::MPI_Cancel(request) };
            }
        }
        let start = Instant::now();
        for request in &mut self.requests {
            let mut done = 0;
            while done == 0 {
                // SAFETY: a live request, or the null that MPI leaves when it has completed.
                let code = unsafe { ffi::MPI_Test(request, &mut done, no_status()) };
                if code != SUCCESS || start.elapsed() > CLOSE_WAIT {
                    eprintln!("rank {}: a message is under way at the end", self.rank);
                    abort(101);
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
            abort(101);
        }
        // SAFETY: MPI is initialised, and `close` left nothing under way.
        unsafe { ffi::MPI_Finalize() };
    }
}

impl Owner {
    fn transport(self, code: c_int) -> LinkError {
        match self {
            Self::Send(_) => LinkError::Transport {
                detail: format!("MPI failed to send: {}", explain(code)),
            },
            Self::Head((_, from, _)) | Self::Body((_, from, _), _) => {
                transport("receive from", from, code)
            }
        }
    }
}

/// Ends all ranks, this one included.
fn abort(code: c_int) -> ! {
    // SAFETY: MPI is initialised as long as there is a `World`.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    // Where MPI_Abort failed: at least this rank ends, and the launcher sees to the others.
    std::process::exit(code)
}

/// A communicator for each channel, on which errors are returned.
fn duplicate_world() -> Result<[ffi::MPI_Comm; CHANNELS]> {
    // SAFETY: MPI is initialised; this reads a constant of the library.
    let mut comms = [unsafe { ffi::RSMPI_COMM_NULL }; CHANNELS];
    for comm in &mut comms {
        // SAFETY: MPI is initialised, and every rank makes the same calls in the same order.
        unsafe {
            check(ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, comm)).context("MPI_Comm_dup")?;
            check(ffi::MPI_Comm_set_errhandler(
                *comm,
                ffi::RSMPI_ERRORS_RETURN,
            ))
            .context("MPI_Comm_set_errhandler")?;
        }
    }
    Ok(comms)
}

fn check(code: c_int) -> Result<()> {
    if code != SUCCESS {
        bail!("{}", explain(code));
    }
    Ok(())
}

fn transport(what: &str, other: Rank, code: c_int) -> LinkError {
    LinkError::Transport {
        detail: format!("MPI failed to {what} rank {other}: {}", explain(code)),
    }
}

/// MPI's own words for one of its codes.
fn explain(code: c_int) -> String {
    // SAFETY: `text` hands in at least MPI_MAX_ERROR_STRING bytes.
    text(|name, length| unsafe { ffi::MPI_Error_string(code, name, length) })
}

/// A string that MPI writes into a buffer of at least as many bytes as any of its limits.
fn text(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut bytes = vec![0_u8; 16 << 10];
    let mut length = 0;
    if write(bytes.as_mut_ptr().cast(), &mut length) != SUCCESS {
        return String::new();
    }
    bytes.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

fn count(status: &ffi::MPI_Status) -> usize {
    let mut count = 0;
    // SAFETY: a status that MPI wrote, and a live int.
    unsafe { ffi::MPI_Get_count(status, byte(), &mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// Ranks, tags and chunks fit: MPI itself counted them, or `init_with` checked.
fn int(number: usize) -> c_int {
    c_int::try_from(number).expect("a count that fits in MPI's 31 bits")
}

fn byte() -> ffi::MPI_Datatype {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_UINT8_T }
}

fn null_request() -> ffi::MPI_Request {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_REQUEST_NULL }
}

fn no_status() -> *mut ffi::MPI_Status {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_STATUS_IGNORE }
}

fn funneled() -> c_int {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_THREAD_FUNNELED }
}
