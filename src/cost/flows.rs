//! Messages under way at once, and how fast each goes.
//!
//! Rates are max-min fair, as TCP's nearly are: all messages of a shared resource grow alike until
//! something is full. Only messages that share a resource with one that came or went are looked
//! at again, and what those share in turn. Where more than `MANY` hang together, each gets the
//! equal share of its tightest resource instead, which is exact where that is one port.

use std::collections::{BTreeMap, BTreeSet};

use super::links::Route;

const MANY: usize = 64;
/// A rate that changes by less stays: so much rounding there is.
const SAME: f64 = 1e-9;

struct Flow {
    hops: Vec<(usize, f64)>,
    left: f64,
    bytes: f64,
    /// Bytes a µs, since `since`.
    rate: f64,
    since: f64,
    /// Which announced end is the right one.
    generation: u64,
}

/// How much a resource was used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    load: f64,
    since: f64,
    /// Σ load · µs, at most one a µs.
    pub busy_us: f64,
}

/// When a flow ends, as things are.
pub(super) struct Ending {
    pub flow: usize,
    pub generation: u64,
    pub at: f64,
}

/// All flows.
pub(super) struct Flows {
    flows: Vec<Option<Flow>>,
    free: Vec<usize>,
    users: Vec<Vec<usize>>,
    weights: Vec<f64>,
    pub usage: Vec<Usage>,
    dirty: BTreeSet<usize>,
    /// Never the same twice: places of flows are used again.
    generations: u64,
}

impl Flows {
    pub fn new(resources: usize) -> Self {
        Self {
            flows: vec![],
            free: vec![],
            users: vec![vec![]; resources],
            weights: vec![0.0; resources],
            usage: vec![Usage::default(); resources],
            dirty: BTreeSet::new(),
            generations: 0,
        }
    }

    /// A message of `bytes` sets out; its rate is known after `settle`.
    pub fn start(&mut self, now: f64, route: &Route, bytes: u64) -> usize {
        let flow = Flow {
            hops: route.hops.clone(),
            left: bytes as f64,
            bytes: bytes as f64,
            rate: 0.0,
            since: now,
            generation: 0,
        };
        let id = self.free.pop().unwrap_or(self.flows.len());
        for &(resource, _) in &flow.hops {
            self.users[resource].push(id);
            self.dirty.insert(resource);
        }
        match self.flows.get_mut(id) {
            Some(place) => *place = Some(flow),
            None => self.flows.push(Some(flow)),
        }
        id
    }

    /// A flow's bytes that are still to go.
    pub fn left(&self, id: usize, now: f64) -> f64 {
        self.flows[id].as_ref().map_or(0.0, |flow| {
            let left = flow.left - flow.rate * (now - flow.since);
            left.clamp(0.0, flow.bytes)
        })
    }

    /// Bytes a µs, as things are.
    pub fn rate(&self, id: usize) -> f64 {
        self.flows[id].as_ref().map_or(0.0, |flow| flow.rate)
    }

    /// The share of its bytes that are.
    pub fn share_left(&self, id: usize, now: f64) -> f64 {
        let bytes = self.flows[id]
            .as_ref()
            .map_or(1.0, |flow| flow.bytes.max(1.0));
        self.left(id, now) / bytes
    }

    /// Ends a flow, if this is its end that was said last.
    pub fn end(&mut self, id: usize, generation: u64) -> bool {
        let right = |flow: &&mut Option<Flow>| {
            flow.as_ref()
                .is_some_and(|flow| flow.generation == generation)
        };
        let Some(flow) = self.flows.get_mut(id).filter(right).and_then(Option::take) else {
            return false;
        };
        for (resource, _) in flow.hops {
            self.users[resource].retain(|&user| user != id);
            self.dirty.insert(resource);
        }
        self.free.push(id);
        true
    }

    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Works out the rates that have changed, and when those flows now end.
    pub fn settle(&mut self, now: f64) -> Vec<Ending> {
        let dirty: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        for &resource in &dirty {
            self.weights[resource] = self.weight(resource);
        }
        let rates = match self.together(&dirty) {
            Some(flows) => self.fair(&flows),
            None => self.equal(&dirty),
        };
        let mut endings = vec![];
        let mut touched: BTreeSet<usize> = dirty.into_iter().collect();
        for (id, rate) in rates {
            let Some(flow) = &mut self.flows[id] else {
                continue;
            };
            if (rate - flow.rate).abs() <= SAME * flow.rate {
                continue;
            }
            flow.left = (flow.left - flow.rate * (now - flow.since)).max(0.0);
            (flow.rate, flow.since) = (rate, now);
            self.generations += 1;
            flow.generation = self.generations;
            touched.extend(flow.hops.iter().map(|hop| hop.0));
            endings.push(Ending {
                flow: id,
                generation: flow.generation,
                at: now + flow.left / rate,
            });
        }
        for resource in touched {
            let load = self.load(resource);
            let usage = &mut self.usage[resource];
            usage.busy_us += usage.load * (now - usage.since);
            (usage.load, usage.since) = (load, now);
        }
        endings
    }

    fn on<'a>(&'a self, resource: usize) -> impl Iterator<Item = (&'a Flow, f64)> + 'a {
        self.users[resource].iter().filter_map(move |&id| {
            let flow = self.flows[id].as_ref()?;
            let hop = flow.hops.iter().find(|hop| hop.0 == resource)?;
            Some((flow, hop.1))
        })
    }

    fn weight(&self, resource: usize) -> f64 {
        self.on(resource).map(|(_, weight)| weight).sum()
    }

    fn load(&self, resource: usize) -> f64 {
        let load: f64 = self.on(resource).map(|(flow, w)| flow.rate * w).sum();
        load.min(1.0)
    }

    /// Every flow that hangs together with these resources; none where they are many.
    fn together(&self, dirty: &[usize]) -> Option<Vec<usize>> {
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut next: Vec<usize> = dirty.to_vec();
        while let Some(resource) = next.pop() {
            if !seen.insert(resource) {
                continue;
            }
            for &id in &self.users[resource] {
                if found.insert(id) {
                    let hops = self.flows[id].iter().flat_map(|flow| &flow.hops);
                    next.extend(hops.map(|hop| hop.0));
                }
            }
            if found.len() > MANY {
                return None;
            }
        }
        Some(found.into_iter().collect())
    }

    /// Max-min fair rates: what is full first says the rate of all that pass it.
    fn fair(&self, ids: &[usize]) -> Vec<(usize, f64)> {
        let mut room: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        let hops = |id: usize| self.flows[id].iter().flat_map(|flow| &flow.hops);
        for &id in ids {
            for &(resource, weight) in hops(id) {
                room.entry(resource).or_insert((1.0, 0.0)).1 += weight;
            }
        }
        let mut rates: BTreeMap<usize, f64> = BTreeMap::new();
        while rates.len() < ids.len() {
            let level = |(left, weight): &(f64, f64)| left.max(0.0) / weight;
            let open = room.iter().filter(|(_, (_, weight))| *weight > 0.0);
            let tightest = open.min_by(|a, b| level(a.1).total_cmp(&level(b.1)));
            let Some((&resource, space)) = tightest else {
                break;
            };
            let rate = level(space).max(f64::MIN_POSITIVE);
            for &id in &self.users[resource] {
                if rates.contains_key(&id) {
                    continue;
                }
                rates.insert(id, rate);
                for &(hop, weight) in hops(id) {
                    if let Some(space) = room.get_mut(&hop) {
                        space.0 -= rate * weight;
                        space.1 -= weight;
                    }
                }
            }
            // Rounding may leave a crumb of weight where nobody is left.
            room.remove(&resource);
        }
        rates.into_iter().collect()
    }

    /// The equal share of each flow's tightest resource.
    fn equal(&self, dirty: &[usize]) -> Vec<(usize, f64)> {
        let users: BTreeSet<usize> = dirty
            .iter()
            .flat_map(|&r| &self.users[r])
            .copied()
            .collect();
        let share = |id: usize| {
            let hops = self.flows[id].iter().flat_map(|flow| &flow.hops);
            let shares = hops.map(|&(resource, _)| 1.0 / self.weights[resource]);
            shares.fold(f64::INFINITY, f64::min)
        };
        users.into_iter().map(|id| (id, share(id))).collect()
    }

    /// Brings the usage up to date at the end.
    pub fn finish(&mut self, now: f64) {
        for usage in &mut self.usage {
            usage.busy_us += usage.load * (now - usage.since);
            usage.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rates(flows: &Flows) -> Vec<(f64, &Flow)> {
        let there = flows.flows.iter().flatten();
        there.map(|flow| (flow.rate, flow)).collect()
    }

    /// What max-min fairness is: nothing is over-full, and every flow passes something full in
    /// which nobody is faster.
    fn is_fair(flows: &Flows) -> bool {
        let load = |r: usize| flows.on(r).map(|(f, w)| f.rate * w).sum::<f64>();
        let fits = (0..flows.users.len()).all(|r| load(r) <= 1.0 + 1e-9);
        let bound = rates(flows).into_iter().all(|(rate, flow)| {
            let mut hops = flow.hops.iter();
            hops.any(|&(r, _)| {
                let fastest = flows.on(r).map(|(f, _)| f.rate).fold(0.0, f64::max);
                load(r) >= 1.0 - 1e-9 && rate >= fastest * (1.0 - 1e-9)
            })
        });
        fits && bound
    }

    #[test]
    fn rates_are_max_min_fair_whatever_comes_and_goes() {
        let mut state = 7u64;
        let mut random = |n: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let mut flows = Flows::new(8);
            let mut alive: Vec<usize> = vec![];
            for step in 0..20 {
                if random(3) == 0 && !alive.is_empty() {
                    let id = alive.swap_remove(random(alive.len() as u64) as usize);
                    let generation = flows.flows[id].as_ref().unwrap().generation;
                    assert!(flows.end(id, generation));
                } else {
                    let first = random(4) as usize;
                    let hops = [(first, 1.0), (4 + random(4) as usize, 0.5)];
                    let route = Route {
                        hops: hops.to_vec(),
                        ..Route::default()
                    };
                    alive.push(flows.start(f64::from(step), &route, 1000));
                }
                flows.settle(f64::from(step));
                assert!(is_fair(&flows));
            }
        }
    }

    #[test]
    fn two_flows_share_and_the_longer_goes_on_alone() {
        let mut flows = Flows::new(2);
        let route = |into: usize| Route {
            hops: vec![(0, 1.0), (into, 0.1)],
            ..Route::default()
        };
        let (short, _) = (
            flows.start(0.0, &route(1), 100),
            flows.start(0.0, &route(1), 300),
        );
        let ends: Vec<f64> = flows.settle(0.0).iter().map(|ending| ending.at).collect();
        assert_eq!(ends, [200.0, 600.0]);
        let generation = flows.flows[short].as_ref().unwrap().generation;
        assert!(flows.end(short, generation) && !flows.end(short, generation));
        let ends: Vec<f64> = flows.settle(200.0).iter().map(|ending| ending.at).collect();
        assert_eq!(ends, [400.0]);
        flows.finish(400.0);
        assert!((flows.usage[0].busy_us - 400.0).abs() < 1e-9);
        assert!((flows.usage[1].busy_us - 40.0).abs() < 1e-9);
    }
}
