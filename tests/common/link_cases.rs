//! What every link must do, as a program for each rank; run over threads and over MPI.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use autodice::comm::collective::{
    agree, agree_hash, broadcast_bytes, gather_bytes, nap, CollectiveError, Failing,
};
use autodice::comm::{
    Channel, Event, Header, Landing, Link, LinkError, Mailbox, Payload, ReceiveId,
};
use autodice::ids::Rank;

/// Cases that end well, at any number of ranks.
pub const GOOD: [&str; 8] = [
    "ring",
    "all-to-all",
    "order",
    "outstanding",
    "channels",
    "agreement",
    "bytes",
    "unanswered",
];

/// What ends a job in `wrong-length` after the receiver saw what it should.
pub const WRONG_LENGTH_SEEN: i32 = 7;

/// What `abort` ends with.
pub const ABORT: i32 = 42;

/// Around every limit at which some transport changes its ways.
const SIZES: [usize; 16] = [
    0,
    1,
    7,
    23,
    4071,
    4072,
    4073,
    4095,
    4096,
    4097,
    16_383,
    16_384,
    16_385,
    65_537,
    1 << 20,
    (1 << 20) + 1,
];

const DATA: Channel = Channel::Data;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one case as one rank.
pub fn run<L: Link>(case: &str, mut link: L) {
    if let Some(lengths) = case.strip_prefix("wrong-length ") {
        return wrong_length(link, lengths);
    }
    match case {
        "abort" => return abort(link),
        "drop" => return drop(link),
        "panic" if link.rank() == last(&link) => panic!("a rank that panics"),
        "panic" => return wait_for_the_end(&mut link),
        _ => {}
    }
    let mut mail = Mailbox::new(link);
    match case {
        "good" => GOOD.iter().for_each(|case| good(case, &mut mail)),
        case => good(case, &mut mail),
    }
    mail.close();
}

fn good<L: Link>(case: &str, mail: &mut Mailbox<L>) {
    match case {
        "ring" => ring(mail),
        "all-to-all" => all_to_all(mail),
        "order" => order(mail),
        "outstanding" => outstanding(mail),
        "channels" => channels(mail),
        "agreement" => agreement(mail),
        "bytes" => bytes(mail),
        "unanswered" => unanswered(mail),
        other => panic!("there is no case {other:?}"),
    }
    assert_eq!(mail.sends_under_way(), 0, "{case}");
}

fn last<L: Link>(link: &L) -> Rank {
    Rank::new(link.size() - 1)
}

/// Bytes that no other seed has.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn seed(from: Rank, to: Rank, tag: u32, turn: u32) -> u64 {
    u64::from(from.0) << 48 | u64::from(to.0) << 32 | u64::from(tag) << 16 | u64::from(turn)
}

fn header(sequence: u64, transfer: u32) -> Header {
    Header {
        sequence,
        transfer,
        kind: 0xfeed_beef,
        length: 0,
    }
}

fn send<L: Link>(mail: &mut Mailbox<L>, to: Rank, tag: u32, turn: u32, length: usize) {
    let bytes = pattern(seed(mail.rank(), to, tag, turn), length);
    let header = header(u64::from(turn) << 33 | 5, tag);
    mail.send(DATA, to, tag, header, Some(Arc::new(bytes)));
}

fn post<L: Link>(mail: &mut Mailbox<L>, from: Rank, tag: u32, length: usize) -> ReceiveId {
    mail.receive(DATA, from, tag, Box::new(vec![0xAA_u8; length]))
}

fn take<L: Link>(mail: &mut Mailbox<L>, id: ReceiveId) -> (Header, Vec<u8>) {
    let start = Instant::now();
    loop {
        if let Some((header, landing)) = mail.take_received(id) {
            return (header, *landing.into_any().downcast().expect("a Vec<u8>"));
        }
        idle(mail, start);
    }
}

fn expect<L: Link>(
    mail: &mut Mailbox<L>,
    id: ReceiveId,
    from: Rank,
    tag: u32,
    turn: u32,
    length: usize,
) {
    let (found, bytes) = take(mail, id);
    let to = mail.rank();
    let wanted = Header {
        length: length as u64,
        ..header(u64::from(turn) << 33 | 5, tag)
    };
    assert_eq!(found, wanted, "from {from} to {to}");
    let same = bytes == pattern(seed(from, to, tag, turn), length);
    assert!(
        same,
        "{length} bytes from {from} to {to}, tag {tag}, turn {turn} differ"
    );
}

fn idle<L: Link>(mail: &mut Mailbox<L>, start: Instant) {
    assert!(
        start.elapsed() < PATIENCE,
        "rank {} waits for ever",
        mail.rank()
    );
    if mail.poll_all().expect("the link holds") == 0 {
        std::thread::sleep(Duration::from_micros(20));
    }
}

fn finish_sends<L: Link>(mail: &mut Mailbox<L>) {
    let start = Instant::now();
    while mail.sends_under_way() > 0 {
        idle(mail, start);
    }
}

/// A large message goes once around.
fn ring<L: Link>(mail: &mut Mailbox<L>) {
    const LENGTH: usize = 20 << 20;
    let (size, own) = (mail.size(), mail.rank().index());
    if size == 1 {
        return;
    }
    let (next, previous) = (
        Rank::new((own + 1) % size),
        Rank::new((own + size - 1) % size),
    );
    for turn in 0..2 {
        if own == 0 {
            send(mail, next, 1, turn, LENGTH);
        }
        let id = post(mail, previous, 1, LENGTH);
        expect(mail, id, previous, 1, turn, LENGTH);
        if own != 0 {
            send(mail, next, 1, turn, LENGTH);
        }
    }
    finish_sends(mail);
}

/// Every size between every two ranks at once.
fn all_to_all<L: Link>(mail: &mut Mailbox<L>) {
    let others: Vec<Rank> = mail.others().collect();
    let mut posted = Vec::new();
    for (tag, &length) in (10..).zip(&SIZES) {
        for &other in &others {
            // Half of the receives are posted after their message may be here.
            if tag % 2 == 0 {
                posted.push((post(mail, other, tag, length), other, tag, length));
            }
            send(mail, other, tag, 0, length);
            if tag % 2 == 1 {
                posted.push((post(mail, other, tag, length), other, tag, length));
            }
        }
    }
    for (id, other, tag, length) in posted {
        expect(mail, id, other, tag, 0, length);
    }
    finish_sends(mail);
}

/// Messages of one tag arrive in the order sent, whatever their sizes; receives complete in the
/// order posted.
fn order<L: Link>(mail: &mut Mailbox<L>) {
    const TURNS: u32 = 60;
    let length = |turn: u32| SIZES[turn as usize * 7 % (SIZES.len() - 2)];
    for tag in [3, 32_767] {
        let mut posted = Vec::new();
        for turn in 0..TURNS {
            let others: Vec<Rank> = mail.others().collect();
            for other in others {
                send(mail, other, tag, turn, length(turn));
                posted.push((turn, other, post(mail, other, tag, length(turn))));
            }
        }
        for (turn, other, id) in posted {
            expect(mail, id, other, tag, turn, length(turn));
        }
    }
    finish_sends(mail);
}

/// Many receives wait before anything is sent, and the last posted are answered first.
fn outstanding<L: Link>(mail: &mut Mailbox<L>) {
    const TAGS: u32 = 500;
    let others: Vec<Rank> = mail.others().collect();
    let length = |tag: u32| (tag * 37 % 6000) as usize;
    let mut posted = Vec::new();
    for tag in 0..TAGS {
        for &other in &others {
            posted.push((tag, other, post(mail, other, tag, length(tag))));
        }
    }
    for tag in (0..TAGS).rev() {
        for &other in &others {
            send(mail, other, tag, 9, length(tag));
        }
    }
    for (tag, other, id) in posted {
        expect(mail, id, other, tag, 9, length(tag));
    }
    finish_sends(mail);
}

/// The same tag on four channels is four messages; a message without a payload is one, too.
fn channels<L: Link>(mail: &mut Mailbox<L>) {
    use Channel::{Control, Data, Deploy, Heartbeat};
    const ALL: [Channel; 4] = [Control, Heartbeat, Deploy, Data];
    let others: Vec<Rank> = mail.others().collect();
    for &other in &others {
        for (kind, channel) in (0..).zip(ALL) {
            let header = Header {
                kind,
                sequence: u64::MAX,
                ..Header::default()
            };
            mail.send(channel, other, 4, header, None);
        }
    }
    for &other in &others {
        for (kind, channel) in (0..4).zip(ALL).rev() {
            let id = mail.receive(channel, other, 4, Box::new(Vec::<u8>::new()));
            let (found, _) = take(mail, id);
            let wanted = Header {
                kind,
                sequence: u64::MAX,
                ..Header::default()
            };
            assert_eq!(found, wanted);
        }
    }
    finish_sends(mail);
}

/// All agree on the lowest failing rank, also where a rank's failure is late.
fn agreement<L: Link>(mail: &mut Mailbox<L>) {
    let (size, own) = (mail.size() as u32, mail.rank().0);
    for failing in 0..1_u32 << size {
        if own == failing % size {
            std::thread::sleep(Duration::from_millis(2));
        }
        let fails = |rank: u32| failing >> rank & 1 == 1;
        let verdict = fails(own).then_some(own as u8 + 10);
        let mut pumped = 0_u32;
        let found = agree::<_, CollectiveError>(mail, verdict, &mut |mail| {
            pumped += 1;
            nap(mail)
        });
        let lowest = (0..size).find(|&rank| fails(rank));
        let wanted = lowest.map(|rank| Failing {
            rank: Rank(rank),
            code: rank as u8 + 10,
        });
        assert_eq!(found, Ok(wanted), "failing ranks {failing:b}");
    }
    for odd in 0..size {
        let mut hash = [7; 32];
        hash[31] += u8::from(own == odd);
        // Rank 0's hash is what the others differ from.
        let wanted = match odd {
            0 => (size > 1).then_some(Rank(1)),
            odd => Some(Rank(odd)),
        };
        let found = agree_hash::<_, CollectiveError>(mail, hash, &mut nap);
        assert_eq!(found, Ok(wanted), "rank {odd} is odd");
    }
    let found = agree_hash::<_, CollectiveError>(mail, [1; 32], &mut nap);
    assert_eq!(found, Ok(None));
    finish_sends(mail);
}

/// Broadcast and gather, with a message of somebody else's arriving in between.
fn bytes<L: Link>(mail: &mut Mailbox<L>) {
    let own = mail.rank();
    let others: Vec<Rank> = mail.others().collect();
    let mut hearts = Vec::new();
    for &other in &others {
        let landing = Box::new(Vec::<u8>::new());
        hearts.push((other, mail.receive(Channel::Heartbeat, other, 0, landing)));
        mail.send(
            Channel::Heartbeat,
            other,
            0,
            header(u64::from(own.0), 1),
            None,
        );
    }
    for length in [0, 1, 5000, 3 << 20] {
        let bytes = pattern(99, length);
        let mine = if own == Rank(0) {
            bytes.clone()
        } else {
            b"not looked at".to_vec()
        };
        let limit = length as u64;
        let found = broadcast_bytes::<_, CollectiveError>(mail, mine, limit, &mut nap);
        assert!(found.expect("a broadcast") == bytes, "{length} bytes");
        let mine = pattern(u64::from(own.0), length + own.index());
        let limit = (length + mail.size() - 1) as u64;
        let found = gather_bytes::<_, CollectiveError>(mail, mine, limit, &mut nap);
        let found = found.expect("a gathering");
        let all = if own == Rank(0) { mail.size() } else { 0 };
        assert_eq!(found.len(), all);
        for (rank, bytes) in found.iter().enumerate() {
            assert!(
                *bytes == pattern(rank as u64, length + rank),
                "rank {rank}'s {length}"
            );
        }
    }
    for (other, id) in hearts {
        let (found, _) = take(mail, id);
        assert_eq!(
            found,
            header(u64::from(other.0), 1),
            "a heartbeat is not lost"
        );
    }
    let mine = if own == Rank(0) {
        vec![0; 11]
    } else {
        Vec::new()
    };
    let found = broadcast_bytes::<_, CollectiveError>(mail, mine, 10, &mut nap);
    let wanted = CollectiveError::TooLong {
        from: Rank(0),
        bytes: 11,
        limit: 10,
    };
    assert_eq!(found, Err(wanted), "more than the limit");
    finish_sends(mail);
}

/// Receives that nothing answers are taken back at the end.
fn unanswered<L: Link>(mail: &mut Mailbox<L>) {
    let others: Vec<Rank> = mail.others().collect();
    for other in others {
        for tag in 900..910 {
            post(mail, other, tag, 100);
            post(mail, other, tag, 10 << 20);
        }
    }
    assert_eq!(mail.poll_all(), Ok(0));
}

/// A landing that says when it is dropped with another byte in it than it had.
struct Watched {
    bytes: Vec<u8>,
    dropped: Arc<AtomicUsize>,
}

impl Landing for Watched {
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let written = self.bytes.iter().filter(|&&byte| byte != 0xAA).count();
        self.dropped.store(1 + written, Ordering::SeqCst);
    }
}

/// `lengths` is "FOUND EXPECTED": rank 0 expects another length than rank 1 sends, says so, has
/// had nothing written to, and ends the job with `WRONG_LENGTH_SEEN`.
fn wrong_length<L: Link>(mut link: L, lengths: &str) {
    let (found, expected) = lengths.split_once(' ').expect("two lengths");
    let (found, expected) = (
        found.parse().expect("bytes"),
        expected.parse().expect("bytes"),
    );
    if link.rank() == Rank(1) {
        let payload: Arc<dyn Payload> = Arc::new(vec![0x55_u8; found]);
        link.send(DATA, Rank(0), 6, Header::default(), Some(payload));
    }
    if link.rank() != Rank(0) {
        return wait_for_the_end(&mut link);
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let landing = Watched {
        bytes: vec![0xAA; expected],
        dropped: Arc::clone(&dropped),
    };
    link.receive(DATA, Rank(1), 6, Box::new(landing));
    let start = Instant::now();
    let error = loop {
        match link.poll() {
            Ok(None) => assert!(start.elapsed() < PATIENCE, "no error"),
            Ok(Some(Event::Sent(_))) => {}
            Ok(Some(Event::Received(..))) => panic!("received what has the wrong length"),
            Err(error) => break error,
        }
    };
    let (found, expected) = (found as u64, expected as u64);
    assert_eq!(
        error,
        LinkError::Length {
            from: Rank(1),
            tag: 6,
            found,
            expected
        }
    );
    link.close();
    let dropped = dropped.load(Ordering::SeqCst);
    assert_ne!(dropped, 0, "the landing leaks");
    // Two long ones of different lengths are found out while the payload is on its way.
    if found.min(expected) < 4000 {
        assert_eq!(dropped, 1, "bytes were written");
    }
    link.abort(WRONG_LENGTH_SEEN);
}

/// The last rank ends the job.
fn abort<L: Link>(mut link: L) {
    if link.rank() == last(&link) {
        link.abort(ABORT);
        return;
    }
    wait_for_the_end(&mut link);
}

/// Polls until another rank ends the job: over MPI in the middle of this, over threads by an
/// error. Closes the link then, so that dropping it is not another end.
fn wait_for_the_end<L: Link>(link: &mut L) {
    let start = Instant::now();
    loop {
        match link.poll() {
            Err(LinkError::Aborted { .. }) => return link.close(),
            Err(error) => panic!("{error}"),
            Ok(_) => assert!(start.elapsed() < PATIENCE, "nobody ended the job"),
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}
