//! Messages on clocks: from the step that sends to the frame that takes, after `runner/drive.rs`.

use super::rank::{Beside, Pause};
use super::replay::{Event, Message, Replay};
use super::Kind;
use crate::ids::TransferId;

/// Open MPI takes up to here over at once, as `autodice-run` sets it.
pub(super) const EAGER: u64 = 1 << 20;
/// Up to here a payload travels with its header (`comm/world.rs`).
const SHORT: u64 = 4 << 10;

/// The largest part of a Run's time that messages take, whatever a platform says: a Run that got
/// nothing would end with its messages alone, after as many steps.
const MOST_LOST: f64 = 0.9;

/// Whether a message under way is half-way for its main thread: to a receiver each that has a
/// header of its own, to a sender only what Open MPI has not taken over at once.
fn is_half_way(sends: bool, bytes: u64) -> bool {
    bytes > if sends { EAGER } else { SHORT }
}

impl Replay<'_> {
    /// A step hands a message to the main thread.
    pub(super) fn send(&mut self, rank: usize, at: usize, transfer: TransferId) {
        let frame = &mut self.ranks[rank].open[at];
        frame.sends_open += 1;
        let sequence = frame.sequence;
        let message = self.messages.len();
        self.messages.push(Message {
            transfer,
            sequence,
            started: self.now,
            flow: usize::MAX,
        });
        let bytes = self.programs.bytes[transfer.index()].min(EAGER);
        let at = self.main_turn(rank, bytes);
        self.push(at, Event::Start(message));
    }

    /// How long a main thread has the core for a message of which it hands on so many bytes: longer
    /// where messages that move meanwhile interrupt it, as they do a Run.
    pub(super) fn main_us(&self, rank: usize, bytes: u64) -> f64 {
        let (each, byte) = self.programs.message_us[rank];
        (each + byte * bytes as f64) * self.interrupted(rank)
    }

    /// How many times as long a main thread is busy with a message while others move.
    fn interrupted(&self, rank: usize) -> f64 {
        let flows = self.ranks[rank].beside.iter();
        let lost = flows.map(|beside| self.flows.rate(beside.flow) * beside.byte_us);
        1.0 / (1.0 - lost.sum::<f64>().min(MOST_LOST))
    }

    /// A message sets out, behind those of the same two ranks that went before.
    pub(super) fn start(&mut self, message: usize) {
        // What follows from an output: rank 0 may open another frame.
        let Some(&Message { transfer, .. }) = self.messages.get(message) else {
            return self.lead();
        };
        let route = &self.routes[transfer.index()];
        let bytes = self.programs.bytes[transfer.index()];
        if route.hops.is_empty() || bytes == 0 {
            return self.flowed(message);
        }
        let wire = &mut self.wires[self.pair_of[transfer.index()]];
        wire.push_back(message);
        if wire.len() == 1 {
            self.go(message);
        }
    }

    /// Its connection is free: the message's bytes move.
    fn go(&mut self, message: usize) {
        let transfer = self.messages[message].transfer;
        let route = &self.routes[transfer.index()];
        let bytes = self.programs.bytes[transfer.index()];
        let flow = self.flows.start(self.now, route, bytes);
        self.messages[message].flow = flow;
        if self.of_flow.len() <= flow {
            self.of_flow.resize(flow + 1, 0);
        }
        self.of_flow[flow] = message;
        let ends = self.ends(transfer);
        self.moving(transfer, 1);
        for rank in ends {
            self.pass(rank);
            self.ranks[rank].moving += usize::from(is_half_way(rank == ends[0], bytes));
            let (each, byte) = self.programs.message_us[rank];
            let cost = (each + byte * bytes as f64) * self.interrupted(rank);
            if self.programs.one_thread[rank] {
                if cost > 0.0 {
                    self.charge(rank, flow, cost);
                }
                let byte_us = self.programs.beside_byte_us(rank, bytes);
                if byte_us > 0.0 {
                    self.ranks[rank].beside.push(Beside {
                        flow,
                        left: bytes as f64,
                        byte_us,
                    });
                }
            }
        }
    }

    fn ends(&self, transfer: TransferId) -> [usize; 2] {
        let transfer = self.plan.transfer(transfer);
        [transfer.from.index(), transfer.to.index()]
    }

    fn moving(&mut self, transfer: TransferId, more: isize) {
        if self.routes[transfer.index()].remote {
            for rank in self.ends(transfer) {
                self.activities[self.links.machine(rank)].change(self.now, 0, more);
            }
        }
    }

    /// A message's work is the Run's loss where one thread does both; a Run that begins later
    /// loses what is then left of it. A quota loses it in any case.
    fn charge(&mut self, rank: usize, flow: usize, cost: f64) {
        let clock = &mut self.ranks[rank];
        match clock.busy {
            None if !clock.bucket.binds() => clock.charges.push((flow, cost)),
            _ => self.spend(rank, cost),
        }
    }

    /// What messages have taken from the step that the compute thread is at since that was counted
    /// last: a host that stands still loses nothing.
    pub(super) fn lost_beside(&mut self, rank: usize) -> f64 {
        let now = self.now;
        let clock = &mut self.ranks[rank];
        let Some(busy) = &mut clock.busy else {
            return 0.0;
        };
        let mut lost = 0.0;
        for beside in &mut clock.beside {
            let left = self.flows.left(beside.flow, now);
            lost += (beside.left - left) * beside.byte_us;
            beside.left = left;
        }
        let time = now - busy.counted;
        let ran = if time > 0.0 { busy.got / time } else { 0.0 };
        let most = MOST_LOST * busy.got;
        (busy.got, busy.counted) = (0.0, now);
        (lost * ran).min(most)
    }

    /// An end of the message that opens a frame.
    pub(super) fn notice(&mut self, rank: usize) {
        if self.programs.one_thread[rank] {
            self.spend(rank, self.programs.message_us[rank].0);
        }
    }

    /// Work beside the compute thread that is over at once: the Run's loss, or the quota's.
    pub(super) fn spend(&mut self, rank: usize, cost: f64) {
        self.pass(rank);
        let clock = &mut self.ranks[rank];
        match &mut clock.busy {
            None => clock.bucket.take(cost),
            Some(busy) => {
                busy.left += cost;
                self.announce(rank);
            }
        }
    }

    /// The last byte has left: the sender's buffer is free.
    pub(super) fn flowed(&mut self, message: usize) {
        let Message {
            transfer,
            sequence,
            started,
            flow,
        } = self.messages[message];
        let [from, to] = self.ends(transfer);
        if flow != usize::MAX {
            self.moving(transfer, -1);
            let bytes = self.programs.bytes[transfer.index()];
            for rank in [from, to] {
                self.pass(rank);
                let lost = self.lost_beside(rank);
                if lost > 0.0 {
                    self.spend(rank, lost);
                }
                let clock = &mut self.ranks[rank];
                clock.moving -= usize::from(is_half_way(rank == from, bytes));
                clock.charges.retain(|charge| charge.0 != flow);
                clock.beside.retain(|beside| beside.flow != flow);
            }
            self.ranks[from].bucket.wake();
            // The next one may get this flow's number.
            let wire = &mut self.wires[self.pair_of[transfer.index()]];
            wire.pop_front();
            if let Some(&next) = wire.front() {
                self.go(next);
            }
        }
        self.note(from, Kind::Send(transfer), sequence, started);
        let arrival = self.now + self.routes[transfer.index()].alpha_us;
        self.push(arrival, Event::Arrived(message));
        if let Some(at) = self.ranks[from].at(sequence) {
            let frame = &mut self.ranks[from].open[at];
            frame.sends_open -= 1;
            frame.transfer_us += self.now - started;
            let ops = &self.programs.ops[from][self.turn(sequence)];
            if self.ranks[from].open[at].pause(ops) == Some(Pause::End) {
                self.close(from, sequence);
            }
        }
    }

    pub(super) fn arrived(&mut self, message: usize) {
        let [_, to] = self.ends(self.messages[message].transfer);
        match self.main_turn(to, 0) {
            at if at > self.now => self.push(at, Event::Delivered(message)),
            _ => self.deliver(message),
        }
    }

    pub(super) fn deliver(&mut self, message: usize) {
        let Message {
            transfer, sequence, ..
        } = self.messages[message];
        let [_, rank] = self.ends(transfer);
        let Some(at) = self.ranks[rank].at(sequence) else {
            let early = self.ranks[rank].early.entry(sequence);
            return early.or_default().push(transfer);
        };
        let frame = &mut self.ranks[rank].open[at];
        let (opened, taken) = (frame.opened, frame.taken);
        match taken {
            true => frame.late.push(transfer),
            false => drop(frame.arrived.insert(transfer)),
        }
        self.note(rank, Kind::Receive(transfer), sequence, opened);
        if !taken {
            self.settle(rank, sequence);
        }
    }
}
