//! A rank's compute thread on clocks, after `runner/board.rs` and `runner/compute.rs`.

use super::bucket::{looks_beside, uneven};
use super::program::Op;
use super::rank::{Busy, Pause};
use super::replay::Replay;
use super::Kind;

/// What messages take beside a step is counted at its end, and at the end of that: until it is so
/// little.
const LEAST_LOST_US: f64 = 1.0;

impl Replay<'_> {
    /// The compute thread takes the oldest frame that can go on.
    pub(super) fn work(&mut self, rank: usize) {
        if self.ranks[rank].busy.is_some() {
            return;
        }
        let turns = &self.programs.ops[rank];
        let cycle = u64::from(self.plan.cycle);
        let ready = self.ranks[rank].ready(|n| (n % cycle) as usize, turns);
        if let Some(at) = ready {
            self.ranks[rank].open[at].taken = true;
            let machine = self.links.machine(rank);
            self.activities[machine].change(self.now, 1, 0);
            self.step(rank, at);
        }
    }

    /// The compute thread begins the next step of its frame.
    pub(super) fn step(&mut self, rank: usize, at: usize) {
        self.hold(rank, at);
        let now = self.now;
        let sequence = self.ranks[rank].open[at].sequence;
        let op = self.programs.ops[rank][self.turn(sequence)][self.ranks[rank].open[at].cursor];
        let mut us = match op {
            Op::Run(_, us) | Op::Copy(us) => us,
            Op::Receive(_, us) | Op::Send(_, us) => us.unwrap_or(0.0),
            Op::Output => 0.0,
        };
        self.pass(rank);
        let clock = &mut self.ranks[rank];
        us += clock.cold.longer(now, us, self.programs.waking[rank]);
        for (flow, cost) in clock.charges.drain(..) {
            us += cost * self.flows.share_left(flow, now);
        }
        if let Op::Receive(..) = op {
            clock.open[at].end_wait(now);
        }
        if clock.bucket.binds() {
            let looks = looks_beside(us) * self.programs.looks_us[rank].1;
            us = us * uneven(rank, clock.generation, us) + looks;
        }
        clock.busy = Some(Busy {
            sequence,
            started: now,
            left: us,
            got: 0.0,
            counted: now,
        });
        for beside in &mut clock.beside {
            beside.left = self.flows.left(beside.flow, now);
        }
        self.announce(rank);
    }

    /// The compute thread is done with a step.
    pub(super) fn worked(&mut self, rank: usize) {
        self.pass(rank);
        let lost = self.lost_beside(rank);
        if lost > LEAST_LOST_US {
            return self.spend(rank, lost);
        }
        let Some(Busy {
            sequence, started, ..
        }) = self.ranks[rank].busy.take()
        else {
            return;
        };
        self.announce(rank);
        let Some(at) = self.ranks[rank].at(sequence) else {
            return;
        };
        self.ranks[rank].cold.rests(self.now);
        let took = self.now - started;
        let turn = self.turn(sequence);
        self.ranks[rank].times.busy_us += took;
        let frame = &mut self.ranks[rank].open[at];
        let op = self.programs.ops[rank][turn][frame.cursor];
        frame.compute_us += took;
        frame.cursor += 1;
        let kind = match op {
            Op::Run(piece, _) => Kind::Run(piece),
            _ => Kind::Copy,
        };
        if took > 0.0 {
            self.note(rank, kind, sequence, started);
        }
        if let Op::Send(id, _) = op {
            self.send(rank, at, id);
        }
        let more = self.advance(rank, sequence) == Some(Pause::Work);
        if more && !matches!(op, Op::Run(..)) {
            return self.step(rank, at);
        }
        let frame = &mut self.ranks[rank].open[at];
        frame.taken = false;
        let late = std::mem::take(&mut frame.late);
        frame.arrived.extend(late);
        let machine = self.links.machine(rank);
        self.activities[machine].change(self.now, -1, 0);
        self.settle(rank, sequence);
    }
}
