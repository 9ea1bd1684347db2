//! Hosts that share a core: containers, virtual machines, the edge lab's hosts.
//!
//! Where a platform says so (`core:`), Runs that their hosts' quotas let compute at the same time
//! take turns, each as fast as its share of the core. Main threads take turns with each other
//! (`Replay::main_turn`), not with Runs, which they interrupt.

use super::bucket::Bucket;
use super::rank::Clock;
use super::replay::{Event, Replay};

/// CPU time that counts as none, in µs: rounding.
const NOTHING: f64 = 1e-6;

/// A rank's Run on a shared core.
struct Run {
    rank: usize,
    bucket: Bucket,
    /// CPU time that it still needs, and what it has got here.
    left: f64,
    got: f64,
}

impl Replay<'_> {
    /// Lets time pass for a rank, and for all Runs on its core.
    pub(super) fn pass(&mut self, rank: usize) {
        let mates = self.programs.mates(rank);
        let alone = mates.len() == 1;
        if !alone {
            let mut runs = runs(&self.ranks, mates);
            while runs.first().is_some_and(|run| run.bucket.at() < self.now) {
                turn(&mut runs, self.now);
            }
            for run in runs {
                let clock = &mut self.ranks[run.rank];
                clock.bucket = run.bucket;
                if let Some(busy) = &mut clock.busy {
                    busy.left = run.left;
                    busy.got += run.got;
                }
            }
        }
        let clock = &mut self.ranks[rank];
        if alone || clock.busy.is_none() {
            clock.pass(self.now);
        }
    }

    /// A rank's Run, which has passed until now, has begun, changed or ended: says when it ends, or
    /// which ends first on its core.
    pub(super) fn announce(&mut self, rank: usize) {
        let mates = self.programs.mates(rank);
        let first = match mates {
            [_] => {
                let Clock { busy, bucket, .. } = &self.ranks[rank];
                busy.map(|busy| (rank, self.now + bucket.time(busy.left)))
            }
            _ => first_end(runs(&self.ranks, mates)),
        };
        for &mate in mates {
            self.ranks[mate].generation += 1;
        }
        if let Some((rank, at)) = first {
            let event = Event::Worked(rank, self.ranks[rank].generation);
            self.push(at, event);
        }
    }
}

fn runs(clocks: &[Clock], mates: &[usize]) -> Vec<Run> {
    let run = |&rank: &usize| {
        let Clock { busy, bucket, .. } = &clocks[rank];
        busy.map(|busy| Run {
            rank,
            bucket: *bucket,
            left: busy.left,
            got: 0.0,
        })
    };
    mates.iter().filter_map(run).collect()
}

/// Whose Run ends first, and when, if nothing else happens.
fn first_end(mut runs: Vec<Run>) -> Option<(usize, f64)> {
    while !runs.is_empty() {
        if let Some(done) = runs.iter().find(|run| run.left <= NOTHING) {
            return Some((done.rank, done.bucket.at()));
        }
        turn(&mut runs, f64::INFINITY);
    }
    None
}

/// Lets Runs take turns until `end`, or until something changes before: a period begins, a quota is
/// used up, or a Run is done.
fn turn(runs: &mut [Run], end: f64) {
    let Some(now) = runs.first().map(|run| run.bucket.at()) else {
        return;
    };
    let computes = |run: &Run| run.bucket.left() > NOTHING;
    let sharing = runs.iter().filter(|run| computes(run)).count() as f64;
    let (mut time, mut until) = (end - now, end);
    for run in &*runs {
        let spent = [run.bucket.left(), run.left].map(|cpu| cpu * sharing);
        let spent = spent
            .into_iter()
            .filter(|spent| computes(run) && *spent > NOTHING * sharing);
        let changes = spent.map(|spent| (spent, now + spent));
        let begins = run.bucket.next();
        for change in changes.chain([(begins - now, begins)]) {
            if change.0 < time {
                (time, until) = change;
            }
        }
    }
    for run in runs {
        let cpu = if computes(run) { time / sharing } else { 0.0 };
        run.left -= cpu;
        run.got += cpu;
        run.bucket.turn(cpu, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Quota;

    fn run(rank: usize, left: f64, cores: f64, burst_us: f64) -> Run {
        let quota = Quota { cores, burst_us };
        Run {
            rank,
            bucket: Bucket::of(Some(quota), 1, 20.0),
            left,
            got: 0.0,
        }
    }

    /// By small steps: when each is done.
    fn in_small_steps(works: &[(f64, f64, f64)]) -> Vec<f64> {
        let step = 0.25;
        let mut left: Vec<f64> = works.iter().map(|work| work.0).collect();
        let mut budget: Vec<f64> = works.iter().map(|work| work.2).collect();
        let mut ends = vec![0.0; works.len()];
        for tick in 0.. {
            let now = f64::from(tick) * step;
            for (budget, &(_, cores, burst)) in budget.iter_mut().zip(works) {
                let ticks = (burst / cores / step).round() as i32;
                if tick % ticks == 0 {
                    *budget = burst;
                }
            }
            let busy = |i: usize| left[i] > 0.0 && budget[i] > 0.0;
            let turns: Vec<usize> = (0..works.len()).filter(|&i| busy(i)).collect();
            for &i in &turns {
                left[i] -= step / turns.len() as f64;
                budget[i] -= step / turns.len() as f64;
                if left[i] <= 0.0 {
                    ends[i] = now + step;
                }
            }
            if left.iter().all(|left| *left <= 0.0) {
                break;
            }
        }
        ends
    }

    #[test]
    fn turns_are_those_of_small_steps() {
        for works in [
            vec![(10_000.0, 0.45, 4500.0), (10_000.0, 0.45, 4500.0)],
            vec![(900.0, 0.5, 5000.0), (6000.0, 0.25, 2500.0)],
            vec![
                (5000.0, 0.2, 2000.0),
                (4000.0, 0.2, 2000.0),
                (30_000.0, 0.4, 4000.0),
            ],
            vec![(1000.0, 0.9, 1e6), (1000.0, 0.9, 1e6), (500.0, 0.9, 1e6)],
        ] {
            let wanted = in_small_steps(&works);
            let started = works.iter().enumerate();
            let mut runs: Vec<Run> = started
                .map(|(rank, &(work, cores, burst))| run(rank, work, cores, burst))
                .collect();
            while !runs.is_empty() {
                let copy = |run: &Run| Run { got: 0.0, ..*run };
                let (rank, at) = first_end(runs.iter().map(copy).collect()).expect("there is one");
                assert!(
                    (at - wanted[rank]).abs() < 10.0,
                    "{works:?}: {at} {wanted:?}"
                );
                // In parts, as messages come.
                let from = runs[0].bucket.at();
                for part in 1..=3 {
                    let until = from + (at - from) * f64::from(part) / 3.0;
                    while runs[0].bucket.at() < until {
                        turn(&mut runs, until);
                    }
                }
                let done = runs
                    .iter()
                    .position(|run| run.rank == rank)
                    .expect("it is there");
                assert!(runs[done].left.abs() < 1e-3, "{}", runs[done].left);
                assert!((runs[done].got - works[rank].0).abs() < 1e-3);
                runs.remove(done);
            }
        }
    }
}
