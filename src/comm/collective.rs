//! Agreement and broadcast by point-to-point messages, over any link.
//!
//! Nothing here blocks: while a step waits, it calls the `pump` that it was given, again and
//! again, in which the caller sends signs of life, watches the clock and sleeps. Every rank calls
//! the same steps in the same order. They all go through rank 0, which is plenty for set-up.
//!
//! An error ends the job: messages of the failed step may be under way on other ranks, so that
//! the only way on is `abort`. What concerns one rank's own set-up goes through `agree` instead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{Channel, Header, Landing, Link, LinkError, Mailbox, ReceiveId};
use crate::ids::Rank;

/// Tags from here on are this module's on `Channel::Deploy`.
pub const FIRST_TAG: u32 = 32_000;

const NOTE_TAG: u32 = FIRST_TAG;
const BYTES_TAG: u32 = FIRST_TAG + 1;

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CollectiveError {
    /// The link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A rank is at another step than this one.
    #[error("rank {from} is at {found}, where {expected} comes next")]
    OutOfStep {
        /// The other rank.
        from: Rank,
        /// Where it is.
        found: String,
        /// Where this rank is.
        expected: &'static str,
    },
    /// More bytes than the limit; nothing was allocated.
    #[error("rank {from} has {bytes} bytes to send, the limit is {limit}")]
    TooLong {
        /// The sender.
        from: Rank,
        /// What it announced.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
}

/// The lowest rank that failed, and what it wants to exit with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Which rank.
    pub rank: Rank,
    /// Its exit code.
    pub code: u8,
}

/// What a message of this module says, in its header alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Verdict(Option<Failing>),
    Broadcast(u64),
    Gather(u64),
}

/// Called while a step waits: to send signs of life, to sleep, to give up.
type Pump<'a, L, E> = &'a mut dyn FnMut(&mut Mailbox<L>) -> Result<(), E>;

/// Agrees on the lowest rank with a failure; none where no rank has one. `failure` is this rank's
/// exit code, if it failed.
///
/// # Errors
/// `CollectiveError`, or whatever the pump returned.
pub fn agree<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    failure: Option<u8>,
    pump: Pump<'_, L, E>,
) -> Result<Option<Failing>, E> {
    let rank = mail.rank();
    let mut lowest = failure.map(|code| Failing { rank, code });
    if rank != ROOT {
        send_note(mail, ROOT, Note::Verdict(lowest));
        return match receive_note(mail, ROOT, "agreement", pump)? {
            Note::Verdict(lowest) => Ok(lowest),
            other => Err(out_of_step(ROOT, other, "agreement").into()),
        };
    }
    // Ascending, so that the first failure is the lowest.
    for from in mail.others() {
        match receive_note(mail, from, "agreement", pump)? {
            Note::Verdict(theirs) => lowest = lowest.or(theirs),
            other => Err(out_of_step(from, other, "agreement"))?,
        }
    }
    for to in mail.others() {
        send_note(mail, to, Note::Verdict(lowest));
    }
    Ok(lowest)
}

/// Sends rank 0's bytes to every rank and returns them; the others' `bytes` are not looked at.
///
/// # Errors
/// `TooLong` on every rank alike where there are more than `limit`, before any memory is
/// reserved; `CollectiveError`, or whatever the pump returned.
pub fn broadcast_bytes<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    bytes: Vec<u8>,
    limit: u64,
    pump: Pump<'_, L, E>,
) -> Result<Vec<u8>, E> {
    if mail.rank() != ROOT {
        let length = match receive_note(mail, ROOT, "a broadcast", pump)? {
            Note::Broadcast(length) => length,
            other => Err(out_of_step(ROOT, other, "a broadcast"))?,
        };
        return receive_bytes(mail, ROOT, length, limit, pump);
    }
    let length = bytes.len() as u64;
    for to in mail.others() {
        send_note(mail, to, Note::Broadcast(length));
    }
    check_length(ROOT, length, limit)?;
    let everyone: Vec<Rank> = mail.others().collect();
    send_bytes(mail, &everyone, bytes, pump)
}

/// Brings every rank's bytes to rank 0, which gets them in the order of the ranks, its own first;
/// the others get nothing.
///
/// # Errors
/// `TooLong` on rank 0 and on a sender that has more than `limit`, before rank 0 reserves memory;
/// `CollectiveError`, or whatever the pump returned.
pub fn gather_bytes<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    bytes: Vec<u8>,
    limit: u64,
    pump: Pump<'_, L, E>,
) -> Result<Vec<Vec<u8>>, E> {
    if mail.rank() != ROOT {
        let length = bytes.len() as u64;
        send_note(mail, ROOT, Note::Gather(length));
        check_length(mail.rank(), length, limit)?;
        send_bytes(mail, &[ROOT], bytes, pump)?;
        return Ok(Vec::new());
    }
    check_length(ROOT, bytes.len() as u64, limit)?;
    let mut all = vec![bytes];
    for from in mail.others() {
        let length = match receive_note(mail, from, "a gathering", pump)? {
            Note::Gather(length) => length,
            other => Err(out_of_step(from, other, "a gathering"))?,
        };
        all.push(receive_bytes(mail, from, length, limit, pump)?);
    }
    Ok(all)
}

/// Compares a hash with rank 0's: the lowest rank that has another one, or none.
///
/// # Errors
/// `CollectiveError`, or whatever the pump returned.
pub fn agree_hash<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    hash: [u8; 32],
    pump: Pump<'_, L, E>,
) -> Result<Option<Rank>, E> {
    let roots = broadcast_bytes(mail, hash.to_vec(), hash.len() as u64, pump)?;
    let differs = (roots != hash).then_some(1);
    Ok(agree(mail, differs, pump)?.map(|failing| failing.rank))
}

/// A pump that only sleeps, for tests and for steps that nobody watches.
///
/// # Errors
/// Never.
pub fn nap<L: Link, E>(_: &mut Mailbox<L>) -> Result<(), E> {
    std::thread::sleep(Duration::from_micros(50));
    Ok(())
}

const ROOT: Rank = Rank(0);

/// Sends bytes to several ranks and waits until all have them.
fn send_bytes<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    to: &[Rank],
    bytes: Vec<u8>,
    pump: Pump<'_, L, E>,
) -> Result<Vec<u8>, E> {
    let payload = Arc::new(bytes);
    let send = |&to: &Rank| {
        let payload = Arc::clone(&payload);
        mail.send(
            Channel::Deploy,
            to,
            BYTES_TAG,
            Header::default(),
            Some(payload),
        )
    };
    let sends: Vec<_> = to.iter().map(send).collect();
    for id in sends {
        while !mail.is_sent(id) {
            step(mail, pump)?;
        }
    }
    Ok(Arc::unwrap_or_clone(payload))
}

fn receive_bytes<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    from: Rank,
    length: u64,
    limit: u64,
    pump: Pump<'_, L, E>,
) -> Result<Vec<u8>, E> {
    check_length(from, length, limit)?;
    // A length within a limit that this rank set fits in memory, hence in a usize.
    let landing = vec![0_u8; length as usize];
    let id = mail.receive(Channel::Deploy, from, BYTES_TAG, Box::new(landing));
    let (_, landing) = wait(mail, id, pump)?;
    let bytes = landing.into_any().downcast::<Vec<u8>>();
    Ok(*bytes.expect("a link gives the landing back that it got"))
}

fn check_length(from: Rank, bytes: u64, limit: u64) -> Result<(), CollectiveError> {
    if bytes > limit {
        return Err(CollectiveError::TooLong { from, bytes, limit });
    }
    Ok(())
}

fn send_note<L: Link>(mail: &mut Mailbox<L>, to: Rank, note: Note) {
    mail.send(Channel::Deploy, to, NOTE_TAG, note.to_header(), None);
}

fn receive_note<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    from: Rank,
    expected: &'static str,
    pump: Pump<'_, L, E>,
) -> Result<Note, E> {
    let id = mail.receive(Channel::Deploy, from, NOTE_TAG, Box::new(Vec::<u8>::new()));
    let (header, _) = wait(mail, id, pump)?;
    Note::of_header(header).ok_or_else(|| {
        let found = format!("a step of kind {}", header.kind);
        CollectiveError::OutOfStep {
            from,
            found,
            expected,
        }
        .into()
    })
}

fn wait<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    id: ReceiveId,
    pump: Pump<'_, L, E>,
) -> Result<(Header, Box<dyn Landing>), E> {
    loop {
        if let Some(message) = mail.take_received(id) {
            return Ok(message);
        }
        step(mail, pump)?;
    }
}

/// Polls, and pumps where there was nothing to take in.
fn step<L: Link, E: From<CollectiveError>>(
    mail: &mut Mailbox<L>,
    pump: Pump<'_, L, E>,
) -> Result<(), E> {
    if mail.poll_all().map_err(CollectiveError::from)? == 0 {
        pump(mail)?;
    }
    Ok(())
}

fn out_of_step(from: Rank, note: Note, expected: &'static str) -> CollectiveError {
    CollectiveError::OutOfStep {
        from,
        found: note.to_string(),
        expected,
    }
}

impl Note {
    const VERDICT: u32 = 1;
    const BROADCAST: u32 = 2;
    const GATHER: u32 = 3;

    /// `transfer` is 0 without a failure, else the failing rank + 1; `sequence` the code or length.
    fn to_header(self) -> Header {
        let (kind, sequence, transfer) = match self {
            Self::Verdict(None) => (Self::VERDICT, 0, 0),
            Self::Verdict(Some(Failing { rank, code })) => {
                (Self::VERDICT, u64::from(code), rank.0 + 1)
            }
            Self::Broadcast(length) => (Self::BROADCAST, length, 0),
            Self::Gather(length) => (Self::GATHER, length, 0),
        };
        Header {
            sequence,
            transfer,
            kind,
            length: 0,
        }
    }

    fn of_header(header: Header) -> Option<Self> {
        match header.kind {
            Self::VERDICT => Some(Self::Verdict(match header.transfer {
                0 => None,
                above => Some(Failing {
                    rank: Rank(above - 1),
                    code: u8::try_from(header.sequence).ok()?,
                }),
            })),
            Self::BROADCAST => Some(Self::Broadcast(header.sequence)),
            Self::GATHER => Some(Self::Gather(header.sequence)),
            _ => None,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict(_) => "agreement",
            Self::Broadcast(_) => "a broadcast",
            Self::Gather(_) => "a gathering",
        })
    }
}
