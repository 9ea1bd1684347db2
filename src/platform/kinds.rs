//! Which hosts a platform has in the end: `like` followed, `count` counted out, slots handed out.

use std::collections::{HashMap, HashSet};

use super::{Host, Platform};
use crate::document::{At, Fault};

/// Most hosts of a platform, counted out.
const MAX_HOSTS: usize = 65536;

/// One host of the platform, counted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its own name: the entry's, or `name-3` where the entry has a count.
    pub name: String,
    /// Index into `Platform::hosts`.
    pub entry: usize,
}

impl Platform {
    /// Every host, in the file's order.
    pub fn machines(&self) -> Vec<Machine> {
        let counted = |(entry, host): (usize, &Host)| -> Vec<Machine> {
            match host.count {
                None => vec![Machine {
                    name: host.name.clone(),
                    entry,
                }],
                Some(count) => (0..count)
                    .map(|i| Machine {
                        name: format!("{}-{i}", host.name),
                        entry,
                    })
                    .collect(),
            }
        };
        self.hosts.iter().enumerate().flat_map(counted).collect()
    }

    /// An entry with everything that it takes from the entries that it is like.
    pub fn resolved(&self, entry: usize) -> Host {
        let mut host = self.hosts[entry].clone();
        let mut next = host.like.clone();
        // Reading refuses circles; whoever builds a platform otherwise gets an end all the same.
        for _ in 0..self.hosts.len() {
            let Some(name) = next else { break };
            let Some(kind) = self.hosts.iter().find(|host| host.name == name) else {
                break;
            };
            host = host.over(kind);
            next = kind.like.clone();
        }
        host
    }

    /// The machine, an index of [`Platform::machines`], of every rank: a slot of the host that
    /// its role names, else the next slot that is left, in the file's order.
    ///
    /// # Errors
    /// One line, where a rank finds no slot.
    pub fn places(&self, roles: &[Option<String>]) -> Result<Vec<usize>, String> {
        let machines = self.machines();
        let slots: Vec<usize> = (0..self.hosts.len())
            .map(|entry| self.resolved(entry).slots.unwrap_or(1))
            .collect();
        let mut left: Vec<usize> = machines.iter().map(|m| slots[m.entry]).collect();
        let mut places = vec![None; roles.len()];
        for (rank, role) in roles.iter().enumerate() {
            let Some(host) = role else { continue };
            let named = |m: &&(usize, &super::kinds::Machine)| super::same_host(&m.1.name, host);
            let found: Vec<_> = machines.iter().enumerate().collect();
            let place = found.iter().filter(named).find(|m| left[m.0] > 0);
            let Some(&(place, _)) = place else {
                return Err(match found.iter().find(named) {
                    Some(_) => format!("rank {rank}: every slot of host {host} is taken"),
                    None => format!("rank {rank}: the platform has no host {host}"),
                });
            };
            left[place] -= 1;
            places[rank] = Some(place);
        }
        let mut next = 0;
        for place in places.iter_mut().filter(|place| place.is_none()) {
            while left.get(next) == Some(&0) {
                next += 1;
            }
            if next == left.len() {
                let total: usize = machines.iter().map(|m| slots[m.entry]).sum();
                let wanted = roles.len();
                return Err(format!(
                    "{wanted} ranks, but the platform has {total} slots"
                ));
            }
            left[next] -= 1;
            *place = Some(next);
        }
        Ok(places.into_iter().flatten().collect())
    }
}

/// Names stand once, `like` names an entry and leads to an end.
pub(super) fn check_hosts(platform: &Platform, at: &At) -> Result<(), Fault> {
    let items = at.list("")?;
    let mut entries: HashMap<&str, usize> = HashMap::new();
    for (i, host) in platform.hosts.iter().enumerate() {
        if entries.insert(&host.name, i).is_some() {
            return Err(items[i].fault(format!("host {} stands twice", host.name)));
        }
    }
    let total: usize = platform.hosts.iter().map(|h| h.count.unwrap_or(1)).sum();
    if total == 0 || total > MAX_HOSTS {
        return Err(at.fault(format!("{total} hosts, expected 1 to {MAX_HOSTS}")));
    }
    let mut names = HashSet::new();
    for machine in platform.machines() {
        let entry = machine.entry;
        if let Some(name) = names.replace(machine.name) {
            return Err(items[entry].fault(format!("a second host gets the name {name}")));
        }
    }
    for (i, host) in platform.hosts.iter().enumerate() {
        let mut next = host.like.as_deref();
        let mut steps = 0;
        while let Some(name) = next {
            let Some(&entry) = entries.get(name) else {
                return Err(items[i].fault(format!("like {name}, but no entry has that name")));
            };
            next = platform.hosts[entry].like.as_deref();
            steps += 1;
            if steps > platform.hosts.len() {
                return Err(items[i].fault(format!("like {name}: a circle")));
            }
        }
    }
    Ok(())
}

/// Pairs and sites name hosts of the platform; no two pairs and no two sites the same.
pub(super) fn check_network(platform: &Platform, at: &At) -> Result<(), Fault> {
    let machines = platform.machines();
    let mut known: HashSet<&str> = machines.iter().map(|m| m.name.as_str()).collect();
    known.extend(platform.hosts.iter().map(|host| host.name.as_str()));
    let fault = |path: String, message: String| Fault {
        path: format!("{}.{path}", at.path),
        message,
    };
    let mut pairs = HashSet::new();
    for (i, pair) in platform.network.pairs.iter().enumerate() {
        let place = || format!("pairs[{i}].hosts");
        if let Some(name) = pair
            .hosts
            .iter()
            .find(|name| !known.contains(name.as_str()))
        {
            return Err(fault(place(), format!("no host {name} in hosts")));
        }
        let mut both = pair.hosts.clone();
        both.sort();
        if !pairs.insert(both) {
            return Err(fault(place(), "the same pair stands twice".into()));
        }
    }
    let mut sited = HashSet::new();
    for (i, site) in platform.network.sites.iter().enumerate() {
        let place = || format!("sites[{i}].hosts");
        for name in &site.hosts {
            if !known.contains(name.as_str()) {
                return Err(fault(place(), format!("no host {name} in hosts")));
            }
            if !sited.insert(name) {
                return Err(fault(place(), format!("host {name} is in two sites")));
            }
        }
    }
    Ok(())
}
