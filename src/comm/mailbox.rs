//! A mailbox: keeps what completed on a link until the one that waits for it asks.
//!
//! `Link::poll` hands out everybody's events. Whoever waits for one message while others
//! (heartbeats, say) are on the same link would otherwise have to know what to do with theirs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// A link whose events wait until they are taken. Every operation takes constant time.
pub struct Mailbox<L: Link> {
    link: L,
    under_way: HashSet<SendId>,
    received: HashMap<ReceiveId, (Header, Box<dyn Landing>)>,
}

impl<L: Link> Mailbox<L> {
    /// A mailbox over a link on which nothing is under way.
    pub fn new(link: L) -> Self {
        Self {
            link,
            under_way: HashSet::new(),
            received: HashMap::new(),
        }
    }

    /// Which rank this is.
    pub fn rank(&self) -> Rank {
        self.link.rank()
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.link.size()
    }

    /// The other ranks, ascending.
    pub fn others(&self) -> impl Iterator<Item = Rank> + use<L> {
        let own = self.rank();
        (0..self.size())
            .map(Rank::new)
            .filter(move |&rank| rank != own)
    }

    /// As `Link::send`.
    pub fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        let id = self.link.send(channel, to, tag, header, payload);
        self.under_way.insert(id);
        id
    }

    /// As `Link::receive`.
    pub fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        self.link.receive(channel, from, tag, landing)
    }

    /// Takes in everything that has completed and returns how many things that were. Ends also
    /// where events never run out: after as many as a busy link has in a few milliseconds.
    ///
    /// # Errors
    /// As `Link::poll`; what completed before is kept.
    pub fn poll_all(&mut self) -> Result<usize, LinkError> {
        const MOST: usize = 1000;
        for count in 0..MOST {
            match self.link.poll()? {
                None => return Ok(count),
                Some(Event::Sent(id)) => {
                    self.under_way.remove(&id);
                }
                Some(Event::Received(id, header, landing)) => {
                    self.received.insert(id, (header, landing));
                }
            }
        }
        Ok(MOST)
    }

    /// Whether the payload of a send is free again, as far as `poll_all` has seen.
    pub fn is_sent(&self, id: SendId) -> bool {
        !self.under_way.contains(&id)
    }

    /// How many sends are under way, as far as `poll_all` has seen.
    pub fn sends_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The message of a receive, once, when `poll_all` has seen it.
    pub fn take_received(&mut self, id: ReceiveId) -> Option<(Header, Box<dyn Landing>)> {
        self.received.remove(&id)
    }

    /// As `Link::abort`.
    pub fn abort(&mut self, code: i32) {
        self.link.abort(code);
    }

    /// As `Link::close`.
    pub fn close(&mut self) {
        self.link.close();
    }

    /// The link itself, to ask for what only one kind of link knows.
    pub fn link(&self) -> &L {
        &self.link
    }

    /// The link itself, for what only one kind of link has. Events polled from it are lost here.
    pub fn link_mut(&mut self) -> &mut L {
        &mut self.link
    }
}
