//! Random splits with every key that a document can say.

use super::super::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, SplitSpec, ZoneRows, ZoneSpec,
};
use super::random::Random;

impl Random {
    /// Any split of so many ranks, which a stage lists from the last to rank 0.
    pub fn split(&mut self, ranks: usize) -> SplitSpec {
        match self.below(4) {
            0 => SplitSpec::Rows(self.rows(ranks)),
            1 => SplitSpec::Grid(self.grid(ranks)),
            2 => SplitSpec::Channels(ChannelsSpec {
                shares: self.shares(ranks, 1 << 32),
                pair: self.pairing(),
            }),
            _ => SplitSpec::Frames(FramesSplitSpec {
                shares: self.shares(ranks, 64),
            }),
        }
    }

    fn rows(&mut self, ranks: usize) -> RowsSpec {
        let host = (ranks >= 3).then(|| 1 + self.size(ranks as u64 - 2));
        let zone = self.maybe(|r| ZoneSpec {
            rank: host.unwrap_or(0),
            rows: match r.below(2) {
                0 => ZoneRows::Min,
                _ => ZoneRows::Count(1 + r.size(1 << 31)),
            },
        });
        let zone = zone.filter(|_| host.is_some());
        let nodes = if zone.is_some() { 0 } else { self.size(4) };
        let cut = |r: &mut Self| {
            let mut ends: Vec<_> = (1..ranks).map(|_| r.size(300)).collect();
            ends.sort_unstable();
            ends
        };
        let names = self.names(nodes);
        RowsSpec {
            shares: self.shares(ranks, 1 << 32),
            cuts: names.into_iter().map(|name| (name, cut(self))).collect(),
            zone,
            exchange: self.exchange(),
        }
    }

    fn grid(&mut self, ranks: usize) -> GridSpec {
        let sides: Vec<_> = (1..=ranks)
            .filter(|side| ranks.is_multiple_of(*side))
            .collect();
        let rows = sides[self.size(sides.len() as u64)];
        let columns = ranks / rows;
        GridSpec {
            grid: (rows, columns),
            rows: self.shares(rows, 1 << 32),
            columns: self.shares(columns, 1 << 32),
            exchange: self.exchange(),
        }
    }

    fn exchange(&mut self) -> ExchangeSpec {
        let count = 1 + self.size(4);
        ExchangeSpec {
            at: match self.below(2) {
                0 => Exchange::Each,
                _ => Exchange::Behind(self.names(count)),
            },
            overlap: self.below(2) == 0,
            gather: self.below(2) == 0,
        }
    }

    fn pairing(&mut self) -> Pairing {
        match self.below(4) {
            0 => Pairing::None,
            1 => Pairing::Auto,
            _ => {
                let count = self.size(5);
                let mut names = self.names(2 * count).into_iter();
                let mut pair = || PairSpec {
                    nodes: names.by_ref().take(1 + self.size(2)).collect(),
                    reduce: [ReduceSpec::Root, ReduceSpec::Ring, ReduceSpec::Scatter][self.size(3)],
                };
                Pairing::List((0..count).map(|_| pair()).collect())
            }
        }
    }

    /// None, or one for each rank up to `high`, of all magnitudes and not all 0.
    fn shares(&mut self, ranks: usize, high: u64) -> Vec<u64> {
        let share = |r: &mut Self| match r.below(4) {
            0 => 0,
            1 => r.below(high + 1),
            2 => high,
            _ => 1 + r.below(9),
        };
        let shares = self.maybe(|r| (0..ranks).map(|_| share(r)).collect());
        let shares: Vec<u64> = shares.unwrap_or_default();
        let some = shares.iter().any(|share| *share > 0);
        if some {
            shares
        } else {
            vec![]
        }
    }

    /// Names that differ, now and then one longer than what YAML takes as a key without a mark.
    fn names(&mut self, count: usize) -> Vec<String> {
        let name = |i: usize, r: &mut Self| match r.below(20) {
            0 => format!("{}{i}", "n:".repeat(400 + r.size(200))),
            _ => format!("{}{i}", r.name()),
        };
        (0..count).map(|i| name(i, self)).collect()
    }
}
