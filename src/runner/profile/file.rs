//! From what ranks measured to the platform file, with what was written into it by hand.

use std::collections::BTreeMap;

use super::fit::median;
use super::ladder::{Along, Level};
use super::links::{PairTimes, RankLinks};
use super::log::RankTimes;
use super::looks::Looks;
use super::talk::Costs;
use super::unit::Unit;
use crate::graph::{macs, Graph};
use crate::platform::{Host, Link, Pair, Platform, Quota, Speed, Table, Timing};

/// One host, as its ranks found it.
pub struct Measured {
    /// Its name.
    pub name: String,
    /// A name for its core, where other hosts have the same one.
    pub core: Option<String>,
    /// What each of its ranks measured, first rank first.
    pub ranks: Vec<(RankTimes, RankLinks)>,
}

/// The platform of these hosts, over an older file's: what profiling does not measure stays
/// (`memory_mib`, `watts`, other hosts, other models' times, the medium, sites), the rest is new.
pub fn platform(
    graph: &Graph,
    units: &[Unit],
    measured: &[Measured],
    old: Option<Platform>,
) -> Platform {
    let mut platform = old.unwrap_or_default();
    let usual = usually_fused(units, measured);
    for host in measured {
        let new = host_entry(graph, units, host, usual);
        match platform.hosts.iter_mut().find(|old| old.name == host.name) {
            Some(old) => renew(old, new),
            None => platform.hosts.push(new),
        }
    }
    links(&mut platform, measured);
    for host in measured {
        platform.profiled.retain(|(key, _)| *key != host.name);
        platform
            .profiled
            .push((host.name.clone(), facts(units, host)));
    }
    platform
}

/// Takes what is measured from `new`; times of works that it does not have stay, where they were
/// measured with as many threads and ranks.
fn renew(old: &mut Host, new: Host) {
    let alike = old.threads == new.threads
        && old.slots == new.slots
        && old.quota.is_some() == new.quota.is_some();
    let kept = std::mem::take(&mut old.times).into_iter();
    let known = |timing: &Timing| new.times.iter().any(|other| other.work == timing.work);
    let kept: Vec<_> = kept.filter(|timing| alike && !known(timing)).collect();
    old.slots = new.slots;
    old.threads = new.threads;
    old.quota = new.quota;
    old.core = new.core;
    old.speed = new.speed;
    old.times = new.times;
    old.times.extend(kept);
}

fn host_entry(graph: &Graph, units: &[Unit], host: &Measured, usual: f64) -> Host {
    let times: Vec<&RankTimes> = host.ranks.iter().map(|(times, _)| times).collect();
    let mean = |of: &dyn Fn(&RankTimes) -> Option<f64>| mean(times.iter().filter_map(|t| of(t)));
    let model_macs: u64 = graph.node_ids().map(|id| macs(graph, id)).sum();
    let model_us = mean(&|times| Some(sum(units, times) * scale(units, times, usual)));
    let gmacs = model_us.map(|us| model_macs as f64 / us / 1e3);
    let quota = times.first().and_then(|times| times.quota);
    Host {
        name: host.name.clone(),
        slots: Some(host.ranks.len()),
        threads: times.first().map(|times| times.threads),
        speed: Speed {
            gmac_per_s: gmacs.filter(|&rate| rate > 0.0).map(rounded),
            gb_per_s: mean(&|times| Some(times.bytes_per_us / 1e3)).map(rounded),
            run_us: mean(&|times| Some(times.run_us)).map(rounded),
            wake_us: mean(&|times| Some(times.waking_us?.0)).map(rounded),
            wake_us_per_ms: mean(&|times| Some(times.waking_us?.1)).map(rounded),
            look_us: look(host, |looks| looks.alone),
            look_beside_us: look(host, |looks| looks.beside),
            ..messages(host)
        },
        times: timings(graph, units, &times, usual),
        quota: quota.map(|(cores, burst_us)| Quota { cores, burst_us }),
        core: host.core.clone(),
        ..Host::default()
    }
}

/// Every unit's tables: the means over the host's ranks. The engine's cost per Run is taken off
/// (it is in `run_us`), and what is left is scaled so that the units add up to the whole model.
fn timings(graph: &Graph, units: &[Unit], ranks: &[&RankTimes], usual: f64) -> Vec<Timing> {
    let mut timings = vec![];
    for (index, unit) in units.iter().enumerate() {
        let mut all: BTreeMap<(u8, usize), Vec<f64>> = BTreeMap::new();
        for times in ranks {
            for &(level, amount, us) in &times.units[index] {
                let us = (us - times.run_us).max(0.01) * scale(units, times, usual);
                all.entry((column(level), amount)).or_default().push(us);
            }
        }
        let table = |column: u8| {
            let rows = all.range((column, 0)..=(column, usize::MAX));
            let row = |(&(_, amount), us): (&(u8, usize), &Vec<f64>)| {
                Some((amount, rounded(mean(us.iter().copied())?)))
            };
            Table(rows.filter_map(row).collect())
        };
        let Some(&(_, us)) = table(0).0.first() else {
            continue;
        };
        timings.push(Timing {
            work: unit.work.clone(),
            node: graph.node(unit.nodes[0]).name.clone(),
            us,
            rows: table(1),
            channels: table(2),
            terms: table(3),
        });
    }
    timings
}

fn column(level: Level) -> u8 {
    match level {
        Level::Whole => 0,
        Level::Part(Along::Rows, _) => 1,
        Level::Part(Along::Channels, _) => 2,
        Level::Part(Along::Terms, _) => 3,
    }
}

/// All units of the model, one after another, in µs without the engine's cost per Run.
fn sum(units: &[Unit], times: &RankTimes) -> f64 {
    let whole = units.iter().zip(&times.units).map(|(unit, levels)| {
        let whole = levels.iter().find(|(level, ..)| *level == Level::Whole);
        whole.map_or(0.0, |&(_, _, us)| {
            (us - times.run_us).max(0.01) * unit.count as f64
        })
    });
    whole.sum()
}

/// What the whole model as one piece takes of what its units take one by one: the engine does more
/// at once there, and hands activations on while they are in the cache. None where it was not
/// measured.
fn fused(units: &[Unit], times: &RankTimes) -> Option<f64> {
    let (sum, model) = (sum(units, times), times.model_us?);
    (sum > 0.0 && model > times.run_us).then(|| (model - times.run_us) / sum)
}

/// The median of all ranks; 1 where none has it.
fn usually_fused(units: &[Unit], measured: &[Measured]) -> f64 {
    let ranks = measured.iter().flat_map(|host| &host.ranks);
    let all: Vec<f64> = ranks.filter_map(|(times, _)| fused(units, times)).collect();
    if all.is_empty() {
        return 1.0;
    }
    median(&all)
}

/// What a rank's units are multiplied by: the mean of what it says itself and what is usual, since
/// the first is the quotient of two measurements, and what it measures depends on the engine and
/// the model more than on the host.
fn scale(units: &[Unit], times: &RankTimes, usual: f64) -> f64 {
    fused(units, times).map_or(usual, |own| (own + usual) / 2.0)
}

/// What messages cost at this host, in the same CPU time as all others.
fn messages(host: &Measured) -> Speed {
    let factor = mean(host.ranks.iter().map(|(times, _)| times.factor)).unwrap_or(1.0);
    let ranks = host.ranks.iter();
    let costs = |of: fn(&Costs) -> &Vec<(usize, f64)>| {
        let all: Vec<_> = ranks
            .clone()
            .flat_map(|(_, links)| of(&links.costs))
            .collect();
        let sizes = all.iter().map(|one| one.0);
        let ends = [sizes.clone().min()?, sizes.max()?];
        Some(ends.map(|bytes| {
            let alike = all.iter().filter(|one| one.0 == bytes);
            let us: Vec<f64> = alike.map(|one| one.1 * 1e6 * factor).collect();
            (bytes as f64 / 1e6, median(&us))
        }))
    };
    let (own, beside) = (costs(|costs| &costs.own), costs(|costs| &costs.beside));
    let per_mb = own.map(slope);
    // The short one is not empty.
    let each = own
        .zip(per_mb)
        .map(|([(mb, us), _], per_mb)| (us - per_mb * mb).max(0.0));
    Speed {
        message_us: each.map(rounded),
        message_us_per_mb: per_mb.map(rounded),
        beside_us_per_mb: beside.map(slope).map(rounded),
        beside_short_us_per_mb: beside.map(|[(mb, us), _]| rounded(us / mb)),
        ..Speed::default()
    }
}

/// How much more for each 10⁶ bytes from one point to a longer one, 0 where it is less; from
/// nothing to the one point where both are the same.
fn slope([short, long]: [(f64, f64); 2]) -> f64 {
    match long.0 > short.0 {
        true => ((long.1 - short.1) / (long.0 - short.0)).max(0.0),
        false => long.1 / long.0,
    }
}

/// CPU time of a look, in the same time as all others.
fn look(host: &Measured, pick: fn(&Looks) -> f64) -> Option<f64> {
    let of = |(times, links): &(RankTimes, RankLinks)| pick(&links.looks) * 1e6 * times.factor;
    mean(host.ranks.iter().map(of))
        .filter(|us| *us > 0.0)
        .map(rounded)
}

fn links(platform: &mut Platform, measured: &[Measured]) {
    let found = measured.iter().flat_map(|host| &host.ranks);
    let found: Vec<&PairTimes> = found.flat_map(|(_, links)| &links.pairs).collect();
    let (own, between): (Vec<_>, Vec<_>) = found.iter().partition(|p| p.hosts.0 == p.hosts.1);
    let typical = |pairs: &[&PairTimes]| -> Option<Link> {
        let of = |pick: fn(&PairTimes) -> f64| {
            median(&pairs.iter().map(|pair| pick(pair)).collect::<Vec<_>>())
        };
        let line = (of(|pair| pair.alone.0), of(|pair| pair.alone.1));
        (!pairs.is_empty()).then(|| link(line))
    };
    let network = &mut platform.network;
    network.local = typical(&own).or(network.local);
    network.link = typical(&between).or(network.link);
    for pair in between {
        let name = |host: usize| measured[host].name.clone();
        let hosts = [name(pair.hosts.0), name(pair.hosts.1)];
        let new = Pair {
            hosts,
            link: link(pair.alone),
            loaded: pair.loaded.map(link),
        };
        let same = |old: &&mut Pair| {
            let [a, b] = &new.hosts;
            old.hosts == new.hosts || (old.hosts[0] == *b && old.hosts[1] == *a)
        };
        match network.pairs.iter_mut().find(same) {
            Some(old) => *old = new,
            None => network.pairs.push(new),
        }
    }
}

/// A line in seconds and bytes as a link in µs and 10⁶ bytes a second.
fn link((alpha_s, s_per_byte): (f64, f64)) -> Link {
    Link {
        alpha_us: rounded(alpha_s * 1e6),
        // What is too fast to be seen counts as a terabyte a second.
        mb_per_s: rounded((1e-6 / s_per_byte).min(1e6)),
    }
}

/// What a reader of the file wants to know of how a host was measured.
fn facts(units: &[Unit], host: &Measured) -> String {
    let of = |pick: &dyn Fn(&RankTimes) -> Option<f64>| {
        mean(host.ranks.iter().filter_map(|(times, _)| pick(times)))
    };
    let number =
        |value: Option<f64>| value.map_or("not measured".into(), |x| rounded(x).to_string());
    let sweeps = host.ranks.iter().map(|(times, _)| times.sweeps).min();
    let sweeps = sweeps.unwrap_or_default();
    let (done, all) = host
        .ranks
        .iter()
        .map(|(times, _)| times.levels)
        .min()
        .unwrap_or_default();
    format!(
        "model_ms {}, fused {}, wall_per_cpu {}, levels {done} of {all}, sweeps {sweeps}, \
         nodes_s {}",
        number(of(&|times| times.model_us.map(|us| us / 1e3))),
        number(of(&|times| fused(units, times))),
        number(of(&|times| Some(times.wall_per_cpu))),
        number(of(&|times| Some(times.seconds))),
    )
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// A number with four digits, as far as a measurement is worth.
fn rounded(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return 0.0;
    }
    let digits = 3 - x.abs().log10().floor() as i32;
    match digits {
        1.. => {
            let scale = 10f64.powi(digits);
            (x * scale).round() / scale
        }
        _ => x.round(),
    }
}
