//! The document's tree as a `Platform`, key by key.

use std::ops::RangeInclusive;

use super::{
    is_host_name, Host, Link, Medium, Network, Pair, Platform, Quota, Site, Speed, Table, Timing,
    Watts,
};
use crate::document::{At, Fault, Fields, Tree};

const MAX_HOSTS: usize = 65536;
const MAX_SLOTS: usize = 4096;
const MAX_THREADS: usize = 1024;
const MAX_LENGTH: usize = 1 << 31;

const HOSTS: &str = "a list of hosts, e.g. [{name: pi0}, {name: pi1}]";
const NAME: &str = "the name of a host, e.g. pi0: letters, digits, `-`, `.` and `_`";
const US: &str = "microseconds from 0 to 1e12";
/// Beyond these bounds sums of what they say would be infinite, and a table unreadable.
const MAX_US: f64 = 1e12;
const MAX_WATTS: f64 = 1e9;
const RATES: RangeInclusive<f64> = 1e-9..=1e15;

/// The platform that a document says.
pub(super) fn read_platform(tree: &Tree) -> Result<Platform, Fault> {
    let path = String::new();
    let document = At { path, tree };
    if *tree == Tree::Null {
        return Err(document.fault("empty; a platform file needs at least hosts"));
    }
    let keys = document.fields(&["hosts", "network", "profiled"])?;
    let at = keys.need("hosts", HOSTS)?;
    let items = at.list(HOSTS)?;
    if items.is_empty() {
        return Err(at.fault(format!("no host, expected {HOSTS}")));
    }
    let hosts = items.iter().map(host).collect::<Result<Vec<_>, _>>()?;
    let network = keys.get("network").map(|at| network(&at)).transpose()?;
    let platform = Platform {
        hosts,
        network: network.unwrap_or_default(),
        profiled: keys.get("profiled").map_or(Ok(vec![]), |at| facts(&at))?,
    };
    super::kinds::check_hosts(&platform, &at)?;
    if let Some(at) = keys.get("network") {
        super::kinds::check_network(&platform, &at)?;
    }
    Ok(platform)
}

fn host(at: &At) -> Result<Host, Fault> {
    let keys = at.fields(&[
        "name",
        "like",
        "count",
        "slots",
        "threads",
        "quota",
        "core",
        "memory_mib",
        "watts",
        "speed",
        "times",
    ])?;
    let size = |key: &str, low, high| keys.get(key).map(|at| at.size(low, high)).transpose();
    Ok(Host {
        name: name(&keys.need("name", NAME)?)?,
        like: keys.get("like").map(|at| name(&at)).transpose()?,
        count: size("count", 0, MAX_HOSTS)?,
        slots: size("slots", 1, MAX_SLOTS)?,
        threads: size("threads", 1, MAX_THREADS)?,
        quota: keys.get("quota").map(|at| quota(&at)).transpose()?,
        core: keys.get("core").map(|at| name(&at)).transpose()?,
        memory_mib: keys
            .get("memory_mib")
            .map(|at| at.count(1, 1 << 40))
            .transpose()?,
        watts: keys
            .get("watts")
            .map_or(Ok(Watts::default()), |at| watts(&at))?,
        speed: keys
            .get("speed")
            .map_or(Ok(Speed::default()), |at| speed(&at))?,
        times: keys.get("times").map_or(Ok(vec![]), |at| times(&at))?,
    })
}

fn name(at: &At) -> Result<String, Fault> {
    let name = at.text(NAME)?;
    match is_host_name(name) {
        true => Ok(name.into()),
        false => Err(at.found(NAME)),
    }
}

fn within(at: &At, range: RangeInclusive<f64>, wanted: &str) -> Result<f64, Fault> {
    let value = at.measure(wanted)?;
    match range.contains(&value) {
        true => Ok(value),
        false => Err(at.found(wanted)),
    }
}

fn us(at: &At) -> Result<f64, Fault> {
    within(at, 0.0..=MAX_US, US)
}

/// A rate: more than 0, since things are divided by it.
fn rate(at: &At, unit: &str) -> Result<f64, Fault> {
    within(at, RATES, &format!("{unit} from 1e-9 to 1e15"))
}

fn quota(at: &At) -> Result<Quota, Fault> {
    let keys = at.fields(&["cores", "burst_us"])?;
    let (cores, burst) = ("cores from 1e-3 to 1e6", "microseconds from 1 to 1e9");
    Ok(Quota {
        cores: within(&keys.need("cores", cores)?, 1e-3..=1e6, cores)?,
        burst_us: within(&keys.need("burst_us", burst)?, 1.0..=1e9, burst)?,
    })
}

fn watts(at: &At) -> Result<Watts, Fault> {
    let keys = at.fields(&["idle", "compute", "transmit"])?;
    let watts = |key| {
        let watts = |at: At| within(&at, 0.0..=MAX_WATTS, "watts from 0 to 1e9");
        keys.get(key).map(watts).transpose()
    };
    Ok(Watts {
        idle: watts("idle")?,
        compute: watts("compute")?,
        transmit: watts("transmit")?,
    })
}

fn speed(at: &At) -> Result<Speed, Fault> {
    let keys = at.fields(&[
        "gmac_per_s",
        "gb_per_s",
        "run_us",
        "message_us",
        "message_us_per_mb",
        "beside_us_per_mb",
        "beside_short_us_per_mb",
        "look_us",
        "look_beside_us",
        "wake_us",
        "wake_us_per_ms",
    ])?;
    let fast = |key, unit| keys.get(key).map(|at| rate(&at, unit)).transpose();
    let time = |key| keys.get(key).map(|at| us(&at)).transpose();
    Ok(Speed {
        gmac_per_s: fast("gmac_per_s", "10^9 multiply-accumulates a second")?,
        gb_per_s: fast("gb_per_s", "10^9 bytes a second")?,
        run_us: time("run_us")?,
        message_us: time("message_us")?,
        message_us_per_mb: time("message_us_per_mb")?,
        beside_us_per_mb: time("beside_us_per_mb")?,
        beside_short_us_per_mb: time("beside_short_us_per_mb")?,
        look_us: time("look_us")?,
        look_beside_us: time("look_beside_us")?,
        wake_us: time("wake_us")?,
        wake_us_per_ms: time("wake_us_per_ms")?,
    })
}

fn times(at: &At) -> Result<Vec<Timing>, Fault> {
    let items = at.list("a list of measured nodes, e.g. [{work: \"Conv …\", us: 5200}]")?;
    let timing = |at: &At| {
        let keys = at.fields(&["work", "node", "us", "rows", "channels", "terms"])?;
        Ok(Timing {
            work: keys
                .need("work", "what was timed")?
                .text("what was timed")?
                .into(),
            node: keys
                .get("node")
                .map_or(Ok(""), |at| at.text("the name of a node"))?
                .into(),
            us: us(&keys.need("us", US)?)?,
            rows: table(&keys, "rows")?,
            channels: table(&keys, "channels")?,
            terms: table(&keys, "terms")?,
        })
    };
    let times: Vec<Timing> = items.iter().map(timing).collect::<Result<_, _>>()?;
    let mut seen = std::collections::HashSet::new();
    match times.iter().position(|timing| !seen.insert(&timing.work)) {
        Some(i) => Err(items[i].fault("the same work stands twice")),
        None => Ok(times),
    }
}

fn table(keys: &Fields, key: &str) -> Result<Table, Fault> {
    let Some(at) = keys.get(key) else {
        return Ok(Table::default());
    };
    let wanted = format!("microseconds by {key}, e.g. {{1: 60, 14: 400}}");
    let rows = at.table(MAX_LENGTH, &wanted)?;
    let row = |(count, at): (usize, At)| Ok((count, us(&at)?));
    Ok(Table(rows.into_iter().map(row).collect::<Result<_, _>>()?))
}

fn network(at: &At) -> Result<Network, Fault> {
    let keys = at.fields(&["medium", "link", "local", "pairs", "sites"])?;
    let own = |key| {
        let link = |at: At| read_link(&at.fields(&["alpha_us", "mb_per_s"])?);
        keys.get(key).map(link).transpose()
    };
    let medium = keys.get("medium").map(|at| at.word(&["switch", "radio"]));
    Ok(Network {
        medium: match medium.transpose()? {
            Some("radio") => Medium::Radio,
            _ => Medium::Switch,
        },
        link: own("link")?,
        local: own("local")?,
        pairs: each(&keys, "pairs", pair)?,
        sites: each(&keys, "sites", site)?,
    })
}

fn each<T>(keys: &Fields, key: &str, item: fn(&At) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    let Some(at) = keys.get(key) else {
        return Ok(vec![]);
    };
    at.list(&format!("a list of {key}"))?
        .iter()
        .map(item)
        .collect()
}

fn read_link(keys: &Fields) -> Result<Link, Fault> {
    let unit = "10^6 bytes a second";
    Ok(Link {
        alpha_us: us(&keys.need("alpha_us", US)?)?,
        mb_per_s: rate(&keys.need("mb_per_s", unit)?, unit)?,
    })
}

fn names(keys: &Fields) -> Result<Vec<String>, Fault> {
    let wanted = "names of hosts, e.g. [pi0, pi1]";
    let items = keys.need("hosts", wanted)?.list(wanted)?;
    items.iter().map(name).collect()
}

fn pair(at: &At) -> Result<Pair, Fault> {
    let keys = at.fields(&["hosts", "alpha_us", "mb_per_s", "loaded"])?;
    let loaded = |at: At| read_link(&at.fields(&["alpha_us", "mb_per_s"])?);
    let hosts = <[String; 2]>::try_from(names(&keys)?);
    Ok(Pair {
        hosts: hosts.map_err(|found| at.fault(format!("{} hosts, a pair has two", found.len())))?,
        link: read_link(&keys)?,
        loaded: keys.get("loaded").map(loaded).transpose()?,
    })
}

fn site(at: &At) -> Result<Site, Fault> {
    let keys = at.fields(&["hosts", "alpha_us", "mb_per_s"])?;
    Ok(Site {
        hosts: names(&keys)?,
        trunk: read_link(&keys)?,
    })
}

/// Free facts: any scalar, as text.
fn facts(at: &At) -> Result<Vec<(String, String)>, Fault> {
    let entries = at.entries("a mapping of facts, e.g. {model: resnet50.onnx}")?;
    let fact = |(key, at): (&str, At)| {
        let value = match at.tree {
            Tree::Text(text) => text.clone(),
            Tree::Int(_) | Tree::Float(_) | Tree::Bool(_) => at.tree.describe(),
            _ => return Err(at.found("text or a number")),
        };
        Ok((key.to_string(), value))
    };
    entries.into_iter().map(fact).collect()
}
