//! Why a cost cannot be said.

use thiserror::Error;

use crate::graph::NeedError;
use crate::ids::Rank;

/// A plan that cannot be put on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CostError {
    /// A host's file does not say how fast it does something.
    #[error("host {host}: {what}")]
    Unknown {
        /// The entry of `hosts:`.
        host: String,
        /// What is missing, and what would do.
        what: String,
    },
    /// Two hosts have no link.
    #[error("network: no pair {from}, {to} and no link for pairs that are not listed")]
    NoLink {
        /// One host.
        from: String,
        /// The other.
        to: String,
    },
    /// More memory than a rank's host has for it.
    #[error(
        "rank {rank} needs {} MiB of memory, host {host} has {} MiB for it (memory_mib, less what \
         its other ranks need)",
        mib(*.needed), mib(*.limit)
    )]
    Memory {
        /// Which rank.
        rank: Rank,
        /// Where it runs.
        host: String,
        /// What it needs at its peak, in bytes.
        needed: u64,
        /// What there is for it, in bytes.
        limit: u64,
    },
    /// The plan is not one of this graph.
    #[error(transparent)]
    Need(#[from] NeedError),
    /// Some frame never ends: the plan has not passed `check`.
    #[error("frame {sequence} never ends; {blocked}")]
    Stuck {
        /// Its sequence number.
        sequence: u64,
        /// Who waits for what.
        blocked: String,
    },
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
