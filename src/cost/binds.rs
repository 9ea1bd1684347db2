//! What a run comes up against: the thing that is busiest.

use super::links::Links;
use super::replay::Replayed;
use crate::platform::Machine;

/// Something that can be busy. Numbers of hosts are those of
/// [`crate::platform::Platform::machines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A rank's compute thread.
    Compute(usize),
    /// Out of a host.
    PortOut(usize),
    /// Into a host.
    PortIn(usize),
    /// Between the ranks of a host.
    Local(usize),
    /// Out of a site.
    TrunkOut(usize),
    /// Into a site.
    TrunkIn(usize),
    /// The channel that all hosts share.
    Radio,
    /// From one host to another that it is slower to than its port.
    Pair(usize, usize),
}

/// How busy something is.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// What.
    pub place: Place,
    /// In words, e.g. `compute of rank 2 on pi2`.
    pub name: String,
    /// Share of the period that it is busy for a frame, or of the one frame's latency.
    pub share: f64,
}

impl Bound {
    /// Whether it leaves hardly a gap; otherwise what binds is waiting: too few frames in flight,
    /// or ranks that wait for each other.
    pub fn is_full(&self) -> bool {
        self.share >= 0.9
    }
}

/// Everything that was in use, the busiest first.
pub(super) fn bounds(machines: &[Machine], replayed: &Replayed, links: &Links) -> Vec<Bound> {
    let ranks = replayed.ranks.iter().enumerate();
    let ranks = ranks.map(|(rank, times)| (Place::Compute(rank), times.busy_us));
    let wires = links.resources.iter().zip(&replayed.usage);
    let wires = wires.map(|(&place, usage)| (place, usage.busy_us));
    let name = |place: Place| match place {
        Place::Compute(rank) => {
            let host = &machines[links.machine(rank)].name;
            format!("compute of rank {rank} on {host}")
        }
        Place::PortOut(host) => format!("port out of {}", machines[host].name),
        Place::PortIn(host) => format!("port into {}", machines[host].name),
        Place::Local(host) => format!("memory between ranks of {}", machines[host].name),
        Place::TrunkOut(site) => format!("trunk out of site {site}"),
        Place::TrunkIn(site) => format!("trunk into site {site}"),
        Place::Radio => "the radio channel".into(),
        Place::Pair(from, to) => {
            format!("link {} to {}", machines[from].name, machines[to].name)
        }
    };
    let used = ranks
        .chain(wires)
        .filter(|(place, busy_us)| matches!(place, Place::Compute(_)) || *busy_us > 0.0);
    let mut bounds: Vec<Bound> = used
        .map(|(place, busy_us)| Bound {
            place,
            name: name(place),
            share: replayed.share(busy_us),
        })
        .collect();
    bounds.sort_by(|a, b| b.share.total_cmp(&a.share));
    bounds
}
