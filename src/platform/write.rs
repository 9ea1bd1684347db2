//! A `Platform` as YAML text that reads back as the same `Platform`.

use super::{Host, Link, Medium, Platform, Quota, Speed, Table, Timing, Watts};
use crate::document::write::{entry, line, map, names, scalar};

/// The YAML text of a platform, in the form that the README shows; what is not said is left out.
pub fn to_yaml(platform: &Platform) -> String {
    let mut text = String::from("hosts:\n");
    for host in &platform.hosts {
        write_host(&mut text, host);
    }
    let network = &platform.network;
    line(&mut text, 0, "network:");
    let medium = match network.medium {
        Medium::Switch => "switch",
        Medium::Radio => "radio",
    };
    line(&mut text, 1, &format!("medium: {medium}"));
    for (key, link) in [("link", network.link), ("local", network.local)] {
        if let Some(link) = link {
            line(&mut text, 1, &format!("{key}: {{{}}}", link_text(link)));
        }
    }
    if !network.pairs.is_empty() {
        line(&mut text, 1, "pairs:");
    }
    for pair in &network.pairs {
        let loaded = pair.loaded.map(link_text);
        let loaded = loaded.map_or(String::new(), |l| format!(", loaded: {{{l}}}"));
        let (hosts, own) = (names(&pair.hosts), link_text(pair.link));
        line(
            &mut text,
            2,
            &format!("- {{hosts: {hosts}, {own}{loaded}}}"),
        );
    }
    if !network.sites.is_empty() {
        line(&mut text, 1, "sites:");
    }
    for site in &network.sites {
        let (hosts, trunk) = (names(&site.hosts), link_text(site.trunk));
        line(&mut text, 2, &format!("- {{hosts: {hosts}, {trunk}}}"));
    }
    if !platform.profiled.is_empty() {
        line(&mut text, 0, "profiled:");
        for (key, value) in &platform.profiled {
            line(&mut text, 1, &entry(key, &scalar(value)));
        }
    }
    text
}

fn write_host(text: &mut String, host: &Host) {
    line(text, 1, &format!("- name: {}", scalar(&host.name)));
    if let Some(like) = &host.like {
        line(text, 2, &format!("like: {}", scalar(like)));
    }
    let counts = [
        ("count", host.count.map(|n| n as u64)),
        ("slots", host.slots.map(|n| n as u64)),
        ("threads", host.threads.map(|n| n as u64)),
        ("memory_mib", host.memory_mib),
    ];
    for (key, value) in counts {
        if let Some(value) = value {
            line(text, 2, &format!("{key}: {value}"));
        }
    }
    if let Some(Quota { cores, burst_us }) = host.quota {
        line(
            text,
            2,
            &format!("quota: {{cores: {cores}, burst_us: {burst_us}}}"),
        );
    }
    if let Some(core) = &host.core {
        line(text, 2, &format!("core: {}", scalar(core)));
    }
    let Watts {
        idle,
        compute,
        transmit,
    } = host.watts;
    let watts = [("idle", idle), ("compute", compute), ("transmit", transmit)];
    measures(text, "watts", &watts);
    let Speed {
        gmac_per_s,
        gb_per_s,
        run_us,
        message_us,
        message_us_per_mb,
        beside_us_per_mb,
        beside_short_us_per_mb,
        look_us,
        look_beside_us,
        wake_us,
        wake_us_per_ms,
    } = host.speed;
    let speed = [
        ("gmac_per_s", gmac_per_s),
        ("gb_per_s", gb_per_s),
        ("run_us", run_us),
        ("message_us", message_us),
        ("message_us_per_mb", message_us_per_mb),
        ("beside_us_per_mb", beside_us_per_mb),
        ("beside_short_us_per_mb", beside_short_us_per_mb),
        ("look_us", look_us),
        ("look_beside_us", look_beside_us),
        ("wake_us", wake_us),
        ("wake_us_per_ms", wake_us_per_ms),
    ];
    measures(text, "speed", &speed);
    if !host.times.is_empty() {
        line(text, 2, "times:");
    }
    for timing in &host.times {
        write_timing(text, timing);
    }
}

fn write_timing(text: &mut String, timing: &Timing) {
    line(text, 3, &format!("- work: {}", scalar(&timing.work)));
    if !timing.node.is_empty() {
        line(text, 4, &format!("node: {}", scalar(&timing.node)));
    }
    line(text, 4, &format!("us: {}", timing.us));
    let tables = [
        ("rows", &timing.rows),
        ("channels", &timing.channels),
        ("terms", &timing.terms),
    ];
    for (key, Table(rows)) in tables {
        if !rows.is_empty() {
            let rows = rows.iter().map(|(count, us)| format!("{count}: {us}"));
            line(text, 4, &format!("{key}: {}", map(rows)));
        }
    }
}

fn measures(text: &mut String, key: &str, values: &[(&str, Option<f64>)]) {
    let said = values
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}: {}", (*value)?)));
    let said: Vec<String> = said.collect();
    if !said.is_empty() {
        line(text, 2, &format!("{key}: {}", map(said.into_iter())));
    }
}

fn link_text(link: Link) -> String {
    format!("alpha_us: {}, mb_per_s: {}", link.alpha_us, link.mb_per_s)
}
