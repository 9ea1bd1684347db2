//! Platform files: there and back, kinds and counts, refusals in one line.

#![allow(clippy::unwrap_used)]

use super::Platform;

const FULL: &str = r#"
hosts:
  - {name: pi4, count: 0, threads: 4, memory_mib: 3800,
     watts: {idle: 2.7, compute: 6.4, transmit: 3.1},
     speed: {gmac_per_s: 8.1, gb_per_s: 3.9, run_us: 40, message_us: 25, message_us_per_mb: 300,
     beside_us_per_mb: 900, beside_short_us_per_mb: 1700, look_us: 31,
     look_beside_us: 22, wake_us: 14, wake_us_per_ms: 90},
     times: [{work: "Conv k3x3 1x3x8x8", node: conv1,
     us: 5200.5,
     rows: {1: 60, 14: 400}, channels: {8: 900}, terms: {4: 1e3}}]}
  - {name: pi0, like: pi4, slots: 2, core: box-0, speed: {gb_per_s: 2}}
  - {name: edge, count: 3, like: pi0, watts: {idle: 1}}
network:
  medium: radio
  link: {alpha_us: 180, mb_per_s: 11.6}
  local: {alpha_us: 20, mb_per_s: 2000}
  pairs: [{hosts: [pi0, edge-1], alpha_us: 170, mb_per_s: 11.7,
     loaded: {alpha_us: 600, mb_per_s: 5.8}}]
  sites: [{hosts: [edge], alpha_us: 5000, mb_per_s: 1.2}]
profiled: {model: a.onnx, "hash of it": "00ff", runs: 12}
"#;

#[test]
fn there_and_back() {
    let platform = Platform::parse("a", FULL).unwrap();
    let text = platform.to_yaml();
    assert_eq!(Platform::parse("b", &text).unwrap(), platform, "{text}");
}

#[test]
fn kinds_and_counts() {
    let platform = Platform::parse("a", FULL).unwrap();
    let names: Vec<_> = platform.machines().into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["pi0", "edge-0", "edge-1", "edge-2"]);
    let edge = platform.resolved(2);
    assert_eq!(
        (edge.slots, edge.threads, edge.memory_mib),
        (Some(2), Some(4), Some(3800))
    );
    assert_eq!(
        (edge.watts.idle, edge.watts.compute),
        (Some(1.0), Some(6.4))
    );
    assert_eq!(
        (edge.speed.gb_per_s, edge.speed.run_us),
        (Some(2.0), Some(40.0))
    );
    assert_eq!(edge.times.len(), 1);
    assert_eq!(
        (edge.speed.beside_us_per_mb, edge.speed.look_us),
        (Some(900.0), Some(31.0))
    );
    // Another entry's core is not its own.
    assert_eq!(
        (&edge.core, platform.resolved(1).core.as_deref()),
        (&None, Some("box-0"))
    );
    let none = |n: usize| vec![None; n];
    assert_eq!(platform.places(&none(5)).unwrap(), [0, 0, 1, 1, 2]);
    let error = platform.places(&none(9)).unwrap_err();
    assert_eq!(error, "9 ranks, but the platform has slots for 8");
    let roles = [
        None,
        Some("edge-1.lab".to_string()),
        Some("pi0".into()),
        None,
        None,
    ];
    assert_eq!(platform.places(&roles).unwrap(), [0, 2, 0, 1, 1]);
    let error = platform.places(&[Some("pi9".into())]).unwrap_err();
    let hosts = "pi0, edge-0, edge-1, edge-2";
    assert_eq!(
        error,
        format!("rank 0: the platform has no host pi9, it has {hosts}")
    );
    let error = platform.places(&vec![Some("edge-1".into()); 3]);
    let line = "rank 2: host edge-1 has slots for 2 ranks, and no more";
    assert_eq!(error.unwrap_err(), line);
}

#[test]
fn the_very_name_goes_before_one_with_a_domain() {
    let text = "{hosts: [{name: a}, {name: a.lab}, {name: a.home}]}";
    let platform = Platform::parse("a", text).unwrap();
    let place = |name: &str| platform.places(&[Some(name.into())]).unwrap()[0];
    assert_eq!(
        [place("a.home"), place("A.LAB"), place("a"), place("a.x")],
        [2, 1, 0, 0]
    );
}

#[test]
fn refusals_are_one_line() {
    let cases = [
        ("", "a: empty; a platform file needs at least hosts"),
        ("{hosts: []}", "a: hosts: no host, expected a list of hosts"),
        (
            "{hosts: [{name: a, slot: 1}]}",
            "a: hosts[0]: unknown key `slot`, did you mean `slots`?",
        ),
        (
            "{hosts: [{name: a}, {name: a}]}",
            "a: hosts[1]: host a stands twice",
        ),
        (
            "{hosts: [{name: a, like: b}]}",
            "a: hosts[0]: like b, but no entry has that name",
        ),
        (
            "{hosts: [{name: a, like: a}]}",
            "a: hosts[0]: like a: a circle",
        ),
        (
            "{hosts: [{name: a, count: 0}]}",
            "a: hosts: 0 hosts, expected 1 to 65536",
        ),
        (
            "{hosts: [{name: a, count: 2}, {name: a-1}]}",
            "a: hosts[1]: a second host gets the name",
        ),
        (
            "{hosts: [{name: a, speed: {gmac_per_s: 0}}]}",
            "a: hosts[0].speed.gmac_per_s: found 0, ",
        ),
        (
            "{hosts: [{name: a, watts: {idle: -1}}]}",
            "a: hosts[0].watts.idle: found -1, expected w",
        ),
        (
            "{hosts: [{name: a, times: [{work: x, us: 1, rows: {0: 1}}]}]}",
            "a: hosts[0].times[0].r",
        ),
        (
            "{hosts: [{name: a, times: [{work: x, us: 1}, {work: x, us: 1}]}]}",
            "a: hosts[0].times[",
        ),
        (
            "{hosts: [{name: a}], network: {medium: wifi}}",
            "a: network.medium: found `wifi`, expec",
        ),
        (
            "{hosts: [{name: a}], network: {link: {alpha_us: 1}}}",
            "a: network.link.mb_per_s: missi",
        ),
        (
            "{hosts: [{name: a}, {name: A}]}",
            "a: hosts[1]: a second host gets the name A",
        ),
        (
            "{hosts: [{name: a, speed: {gmac_per_s: 1e-300}}]}",
            "a: hosts[0].speed.gmac_per_s: found 1e-300, expected 10^9 multiply-accumulates \
             a second from 1e-9 to 1e15",
        ),
        (
            "{hosts: [{name: a, speed: {run_us: 1e300}}]}",
            "a: hosts[0].speed.run_us: found 1e300, expected microseconds from 0 to 1e12",
        ),
        (
            "{hosts: [{name: a, speed: {gb_per_s: .nan}}]}",
            "a: hosts[0].speed.gb_per_s: found NaN, ",
        ),
        (
            "{hosts: [{name: a}], network: {pairs: [{hosts: [a, a], alpha_us: 1, mb_per_s: 1}]}}",
            "a: network.pairs[0].hosts: host a with itself: that is network.local",
        ),
        (
            "{hosts: [{name: a, count: 2}], network: {sites: [{hosts: [a], alpha_us: 1, \
             mb_per_s: 1}, {hosts: [a-1], alpha_us: 1, mb_per_s: 1}]}}",
            "a: network.sites[1].hosts: host a-1 is in two sites",
        ),
        (
            "{hosts: [{name: a}], network: {sites: [{hosts: [b], alpha_us: 1, mb_per_s: 1}]}}",
            "a: network.sites[0].hosts: no host b in hosts",
        ),
    ];
    for (text, start) in cases {
        let error = Platform::parse("a", text).unwrap_err().to_string();
        assert!(
            error.starts_with(start) && !error.contains('\n'),
            "{text}: {error}"
        );
    }
}
