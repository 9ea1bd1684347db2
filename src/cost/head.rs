//! Rank 0's part of the frame protocol on clocks, after `runner/head.rs`.

use std::collections::VecDeque;

use super::FrameCost;

struct Flying {
    sequence: u64,
    opened: f64,
    /// Outputs that have not landed.
    missing: usize,
    landed: f64,
}

/// Source and sink; the next frame is always decoded.
pub(super) struct Head {
    window: u64,
    total: u64,
    next: u64,
    flying: VecDeque<Flying>,
    /// Delivered frames, in order.
    pub delivered: Vec<FrameCost>,
}

impl Head {
    pub fn new(window: u32, total: u64) -> Self {
        Self {
            window: u64::from(window),
            total,
            next: 0,
            flying: VecDeque::new(),
            delivered: vec![],
        }
    }

    /// Opens the next frame, of `outputs` outputs, where n - window has been delivered.
    pub fn open(&mut self, now: f64, outputs: impl Fn(u64) -> usize) -> Option<u64> {
        let first = self.flying.front().map(|flying| flying.sequence);
        let blocked = first.is_some_and(|first| first + self.window <= self.next);
        if blocked || self.next == self.total {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        self.flying.push_back(Flying {
            sequence,
            opened: now,
            missing: outputs(sequence),
            landed: now,
        });
        Some(sequence)
    }

    /// Takes an output of a frame, and hands complete frames on in their order.
    pub fn land(&mut self, sequence: u64, now: f64) {
        if let Some(flying) = self.flying.iter_mut().find(|f| f.sequence == sequence) {
            flying.missing = flying.missing.saturating_sub(1);
            flying.landed = now;
        }
        while let Some(flying) = self.flying.front().filter(|flying| flying.missing == 0) {
            self.delivered.push(FrameCost {
                opened_us: flying.opened,
                landed_us: flying.landed,
            });
            self.flying.pop_front();
        }
    }

    /// The oldest frame that is not delivered.
    pub fn oldest(&self) -> Option<u64> {
        self.flying.front().map(|flying| flying.sequence)
    }
}
