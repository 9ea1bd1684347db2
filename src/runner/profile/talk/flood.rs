//! A flood: messages from a third rank, all the time, into one that answers another.
//!
//! The one that receives gives credit for each message that it has a place for, so that nothing
//! is on its way when the flood is to end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Talk, END};
use crate::comm::{Channel, Header, LinkError, ReceiveId};
use crate::ids::Rank;

const TAG: u32 = 1;
const CREDIT: u32 = 6;
/// Bytes of a message, and messages under way.
const BYTES: usize = 128 << 10;
const UNDER_WAY: usize = 4;

impl Talk<'_> {
    /// The flooding side: sends what `answer` on `to` gives credit for, until it is told to end.
    ///
    /// # Errors
    /// As `Link::poll`.
    pub fn flood(&mut self, to: Rank) -> Result<(), LinkError> {
        let message = Arc::new(vec![1u8; BYTES]);
        let mut last = None;
        loop {
            let note = self.expect_note(to);
            match self.wait(note)?.kind {
                CREDIT => {
                    let payload = Some(Arc::clone(&message) as _);
                    let header = Header::default();
                    last = Some(self.mail.send(Channel::Data, to, TAG, header, payload));
                }
                _ => break,
            }
        }
        while last.is_some_and(|id| !self.mail.is_sent(id)) {
            self.step(None)?;
        }
        Ok(())
    }
}

/// Messages that a third rank sends all the time, as seen by the one that receives them.
pub struct Flood {
    from: Rank,
    posted: VecDeque<ReceiveId>,
}

impl Flood {
    /// Asks `from` for as many messages as may be under way.
    pub fn open(talk: &mut Talk<'_>, from: Rank) -> Self {
        let posted = VecDeque::new();
        let mut flood = Self { from, posted };
        (0..UNDER_WAY).for_each(|_| flood.ask_for_one(talk));
        flood
    }

    fn ask_for_one(&mut self, talk: &mut Talk<'_>) {
        let id = talk.expect(Channel::Data, self.from, TAG, BYTES);
        self.posted.push_back(id);
        talk.note(self.from, CREDIT, 0, 0);
    }

    /// Takes what has come and asks for as much again; whether anything had.
    pub fn step(&mut self, talk: &mut Talk<'_>) -> bool {
        let mut any = false;
        while self.take_first(talk) {
            self.ask_for_one(talk);
            any = true;
        }
        any
    }

    fn take_first(&mut self, talk: &mut Talk<'_>) -> bool {
        let first = self.posted.front().copied();
        let came = first.is_some_and(|id| talk.mail.take_received(id).is_some());
        if came {
            self.posted.pop_front();
        }
        came
    }

    /// Takes what was asked for, and asks for nothing more.
    ///
    /// # Errors
    /// As `Link::poll`.
    pub fn close(mut self, talk: &mut Talk<'_>) -> Result<(), LinkError> {
        while !self.posted.is_empty() {
            if !self.take_first(talk) {
                talk.step(None)?;
            }
        }
        talk.note(self.from, END, 0, 0);
        Ok(())
    }
}
