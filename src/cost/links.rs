//! What a message from one rank to another passes: ports, pairs, trunks, the radio channel.
//!
//! A resource carries messages at the same time as long as Σ rate · weight ≤ 1. A weight is 1 over
//! the rate that the message would have alone, so that slow senders take more of a radio channel's
//! time than fast ones.

use std::collections::HashMap;

use super::binds::Place;
use super::CostError;
use crate::platform::{Link, Machine, Medium, Platform};

/// The way of the messages of one transfer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Route {
    /// From the last byte's departure to the arrival, in µs.
    pub alpha_us: f64,
    /// Resources, each with the µs that a byte takes of it.
    pub hops: Vec<(usize, f64)>,
    /// Whether it leaves the host.
    pub remote: bool,
}

/// All resources, and the ways through them.
pub(super) struct Links {
    places: Vec<usize>,
    machines: Vec<Machine>,
    medium: Medium,
    link: Option<Link>,
    local: Option<Link>,
    /// By two names, in either order.
    pairs: HashMap<(String, String), Link>,
    /// Each machine's site.
    sites: Vec<Option<usize>>,
    trunks: Vec<Link>,
    /// Each machine's fastest link.
    ports: Vec<f64>,
    entries: Vec<String>,
    /// What each resource is; pairs that are slower than their ports come last.
    pub resources: Vec<Place>,
}

impl Links {
    /// The resources of a platform with ranks at `places`.
    pub fn of(platform: &Platform, places: &[usize]) -> Result<Self, CostError> {
        let network = &platform.network;
        let machines = platform.machines();
        let mut pairs = HashMap::new();
        for pair in &network.pairs {
            let [a, b] = pair.hosts.clone();
            pairs.insert((a.clone(), b.clone()), pair.link);
            pairs.insert((b, a), pair.link);
        }
        let site = |machine: &Machine| {
            let named = |name: &String| {
                *name == machine.name || *name == platform.hosts[machine.entry].name
            };
            network
                .sites
                .iter()
                .position(|site| site.hosts.iter().any(named))
        };
        let mut links = Self {
            places: places.to_vec(),
            medium: network.medium,
            link: network.link,
            local: network.local,
            pairs,
            sites: machines.iter().map(site).collect(),
            trunks: network.sites.iter().map(|site| site.trunk).collect(),
            ports: vec![],
            entries: platform.hosts.iter().map(|h| h.name.clone()).collect(),
            resources: vec![],
            machines,
        };
        links.ports = (0..links.machines.len()).map(|m| links.port(m)).collect();
        let each = |place: fn(usize) -> Place, count| (0..count).map(place);
        let count = links.machines.len();
        links.resources.extend(each(Place::PortOut, count));
        links.resources.extend(each(Place::PortIn, count));
        links.resources.extend(each(Place::Local, count));
        links
            .resources
            .extend(each(Place::TrunkOut, links.trunks.len()));
        links
            .resources
            .extend(each(Place::TrunkIn, links.trunks.len()));
        links.resources.push(Place::Radio);
        Ok(links)
    }

    /// The fastest link of a machine: what its port carries.
    fn port(&self, machine: usize) -> f64 {
        let names = self.names(machine);
        let listed = self
            .pairs
            .iter()
            .filter(|(key, _)| names.contains(&key.0.as_str()));
        let (mut fastest, mut count) = (0f64, 0);
        for (_, link) in listed {
            fastest = fastest.max(link.mb_per_s);
            count += 1;
        }
        match self.link {
            // Where every neighbour is listed, no message takes the common link.
            Some(link) if count + 1 < self.machines.len() => fastest.max(link.mb_per_s),
            _ => fastest,
        }
    }

    fn names(&self, machine: usize) -> [&str; 2] {
        let machine = &self.machines[machine];
        [&machine.name, &self.entries[machine.entry]]
    }

    /// The link between two machines, and whether it is listed for them.
    fn link(&self, from: usize, to: usize) -> Result<(Link, bool), CostError> {
        for a in self.names(from) {
            for b in self.names(to) {
                if let Some(&link) = self.pairs.get(&(a.to_string(), b.to_string())) {
                    return Ok((link, true));
                }
            }
        }
        let link = self.link.ok_or_else(|| CostError::NoLink {
            from: self.machines[from].name.clone(),
            to: self.machines[to].name.clone(),
        })?;
        Ok((link, false))
    }

    /// How many machines there are.
    pub fn machine_count(&self) -> usize {
        self.machines.len()
    }

    /// The machine of a rank.
    pub fn machine(&self, rank: usize) -> usize {
        self.places[rank]
    }

    /// The way from one rank to another.
    pub fn route(&mut self, from: usize, to: usize) -> Result<Route, CostError> {
        let (from, to) = (self.places[from], self.places[to]);
        let count = self.machines.len();
        if from == to {
            let local = self.local.map(|link| Route {
                alpha_us: link.alpha_us,
                hops: vec![(2 * count + from, 1.0 / link.mb_per_s)],
                remote: false,
            });
            return Ok(local.unwrap_or_default());
        }
        let (link, listed) = self.link(from, to)?;
        let own = 1.0 / link.mb_per_s;
        let mut route = Route {
            alpha_us: link.alpha_us,
            hops: vec![],
            remote: true,
        };
        match self.medium {
            Medium::Radio => route.hops.push((self.radio(), own)),
            Medium::Switch => {
                let (out, into) = (self.ports[from], self.ports[to]);
                route.hops = vec![(from, 1.0 / out), (count + to, 1.0 / into)];
                if link.mb_per_s < out.min(into) {
                    route.hops.push((self.pair(from, to), own));
                }
            }
        }
        let (home, away) = (self.sites[from], self.sites[to]);
        if home != away {
            let trunks = [(home, 0), (away, self.trunks.len())];
            for (site, side) in trunks {
                let Some(site) = site else { continue };
                let trunk = self.trunks[site];
                route
                    .hops
                    .push((3 * count + side + site, 1.0 / trunk.mb_per_s));
                // A pair that was measured has the trunk's delay in its own.
                route.alpha_us += if listed { 0.0 } else { trunk.alpha_us };
            }
        }
        Ok(route)
    }

    fn radio(&self) -> usize {
        3 * self.machines.len() + 2 * self.trunks.len()
    }

    /// The resource of a pair that is slower than its ports.
    fn pair(&mut self, from: usize, to: usize) -> usize {
        let place = Place::Pair(from, to);
        let first = self.radio();
        let known = self.resources[first..].iter().position(|p| *p == place);
        if let Some(at) = known {
            return first + at;
        }
        self.resources.push(place);
        self.resources.len() - 1
    }
}
