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
        let lower = |name: &str| name.to_ascii_lowercase();
        let indices = machines.iter().enumerate();
        let by_name: HashMap<String, usize> = indices.map(|(i, m)| (lower(&m.name), i)).collect();
        let mut places = vec![None; roles.len()];
        for (rank, role) in roles.iter().enumerate() {
            let Some(host) = role else { continue };
            // The very name before one that is it but for a domain.
            let mut named: Vec<usize> = by_name.get(&lower(host)).copied().into_iter().collect();
            if named.is_empty() {
                let alike = |&i: &usize| super::same_host(&machines[i].name, host);
                named.extend((0..machines.len()).filter(alike));
            }
            let Some(&place) = named.iter().find(|&&place| left[place] > 0) else {
                return Err(match named.first() {
                    Some(&place) => taken(rank, host, slots[machines[place].entry]),
                    None => unknown(rank, host, &machines),
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
                    "{wanted} ranks, but the platform has slots for {total}"
                ));
            }
            left[next] -= 1;
            *place = Some(next);
        }
        Ok(places.into_iter().flatten().collect())
    }
}

fn taken(rank: usize, host: &str, slots: usize) -> String {
    let ranks = if slots == 1 { "rank" } else { "ranks" };
    format!("rank {rank}: host {host} has slots for {slots} {ranks}, and no more")
}

fn unknown(rank: usize, host: &str, machines: &[Machine]) -> String {
    let names: Vec<&str> = machines.iter().take(8).map(|m| m.name.as_str()).collect();
    let more = if machines.len() > names.len() {
        ", …"
    } else {
        ""
    };
    let names = names.join(", ");
    format!("rank {rank}: the platform has no host {host}, it has {names}{more}")
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
        // Names of hosts mean the same in capitals.
        if !names.insert(machine.name.to_ascii_lowercase()) {
            let name = machine.name;
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
        let [a, b] = &pair.hosts;
        let several = |name: &String| {
            let counted = |host: &Host| host.name == *name && host.count.is_some_and(|n| n > 1);
            platform.hosts.iter().any(counted)
        };
        if a == b && !several(a) {
            let line = format!("host {a} with itself: that is network.local");
            return Err(fault(place(), line));
        }
        let mut both = pair.hosts.clone();
        both.sort();
        if !pairs.insert(both) {
            return Err(fault(place(), "the same pair stands twice".into()));
        }
    }
    let mut members: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, machine) in machines.iter().enumerate() {
        let entry = platform.hosts[machine.entry].name.as_str();
        members.entry(entry).or_default().push(i);
        if entry != machine.name {
            members.entry(&machine.name).or_default().push(i);
        }
    }
    let mut sited = HashSet::new();
    for (i, site) in platform.network.sites.iter().enumerate() {
        let place = || format!("sites[{i}].hosts");
        for name in &site.hosts {
            if !known.contains(name.as_str()) {
                return Err(fault(place(), format!("no host {name} in hosts")));
            }
            for &member in members.get(name.as_str()).into_iter().flatten() {
                if !sited.insert(member) {
                    let name = &machines[member].name;
                    return Err(fault(place(), format!("host {name} is in two sites")));
                }
            }
        }
    }
    Ok(())
}
