//! What is counted of messages.

use std::sync::Arc;
use std::time::Duration;

use super::super::clock::thread_cpu;
use super::{in_full, Talk, Way, MOST_LOST};
use crate::comm::threads::{run, Options};
use crate::comm::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// CPU time of each message that a `Costly` link sends.
const SENDING: Duration = Duration::from_millis(5);

/// A link whose messages of data take much CPU time where they are sent.
struct Costly<L>(L);

impl<L: Link> Link for Costly<L> {
    fn rank(&self) -> Rank {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        let started = thread_cpu();
        while channel == Channel::Data && thread_cpu() - started < SENDING {}
        self.0.send(channel, to, tag, header, payload)
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        self.0.receive(channel, from, tag, landing)
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        self.0.poll()
    }

    fn is_moving(&self) -> bool {
        self.0.is_moving()
    }

    fn abort(&mut self, code: i32) {
        self.0.abort(code);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[test]
fn both_ends_count_every_message_of_every_trip() {
    let found = run(2, Options::default(), |link| {
        let mut link = Costly(link);
        let mut talk = Talk::new(&mut link, 1.0);
        let other = Rank::new(1);
        if talk.mail.link().rank() == other {
            talk.answer(Rank::new(0), None).expect("an answer");
        } else {
            talk.ask(other, Way::AtOnce, 16, 3).expect("three trips");
            talk.end(other);
        }
        let own = talk.into_costs().own;
        link.close();
        own
    });
    // Each end sends one of a trip's two messages.
    let least = SENDING.as_secs_f64() / 2.0;
    for own in found {
        let [(16, seconds)] = own[..] else {
            panic!("one size: {own:?}");
        };
        assert!(seconds >= least, "{seconds} of {least} s");
    }
}

#[test]
fn what_a_run_loses_counts_for_as_long_as_messages_move() {
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    // Without a quota it ran all the time: what it lost.
    near(in_full(0.3, 1.0, 0.8), 0.3);
    // Of 1 s it ran for 0.2, in which messages moved all the time, and stood still beside the
    // other 0.4 s of them.
    near(in_full(0.06, 0.2, 0.6), 0.18);
    // Short messages are through before it stands still.
    near(in_full(0.06, 0.2, 0.1), 0.06);
    near(in_full(9.0, 1.0, 1.0), MOST_LOST);
    near(in_full(0.0, 0.0, 1.0), 0.0);
}
