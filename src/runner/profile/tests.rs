//! Profiles over ranks that are threads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::file::{platform, Measured};
use super::ladder::{Along, Level};
use super::lead::Crowd;
use super::links::{measure, RankLinks};
use super::log::RankTimes;
use super::looks::Looks;
use super::talk::Costs;
use super::unit::different;
use super::{run_profile, Place, ProfileRequest};
use crate::binding::Mask;
use crate::comm::threads::{run, Options};
use crate::comm::Link;
use crate::graph::Graph;
use crate::ids::Rank;
use crate::model::read::read;
use crate::platform::Platform;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits/digits.onnx");

fn model() -> Graph {
    read(MODEL.as_ref(), &[])
        .expect("the model in the repository")
        .graph
}

fn links(size: usize, options: Options) -> Vec<RankLinks> {
    let hosts: Vec<_> = (0..size).map(|rank| vec![Rank::new(rank)]).collect();
    run(size, options, |mut link| {
        let found = measure(
            &mut link,
            &hosts,
            &|_| 1.0,
            Duration::from_secs(6),
            &mut |_, _| {},
        );
        let found = found.expect("links of threads do not fail");
        link.close();
        found
    })
}

#[test]
fn what_was_injected_into_links_is_found_again() {
    // 20 MB/s and 2 ms: what the waits of the runner add is small against it.
    let options = Options {
        bandwidth: Some(20e6),
        latency: Duration::from_millis(2),
        ..Options::default()
    };
    let found = links(3, options);
    let pairs: Vec<_> = found.iter().flat_map(|rank| &rank.pairs).collect();
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        // A pair of threads shares nothing with a neighbour; waits are long on a busy machine, and
        // with the flood fewer and shorter messages are timed.
        let loaded = pair.loaded.expect("a third rank is there");
        for ((alpha, per_byte), alphas, rates) in [
            (pair.alone, 1.9..3.8, 14.0..22.0),
            (loaded, 0.5..5.0, 8.0..40.0),
        ] {
            let (alpha, rate) = (alpha * 1e3, 1e-6 / per_byte);
            assert!(alphas.contains(&alpha), "{alpha} ms, {pair:?}");
            assert!(rates.contains(&rate), "{rate} MB/s, {pair:?}");
        }
    }
    for rank in &found {
        let (own, beside) = (&rank.costs.own, &rank.costs.beside);
        let both = own.len() == 4 && beside.len() == 4;
        assert!(both, "two sizes with either other rank: {rank:?}");
        assert!(own.iter().all(|&(_, seconds)| seconds > 0.0), "{own:?}");
    }
}

#[test]
fn units_of_a_file_add_up_to_the_model_and_parts_are_scaled_alike() {
    let graph = model();
    let units = different(&graph);
    let count: usize = units.iter().map(|unit| unit.count).sum();
    let times = RankTimes {
        threads: 1,
        run_us: 10.0,
        bytes_per_us: 5000.0,
        model_us: Some(10.0 + 50.0 * count as f64),
        units: units
            .iter()
            .map(|_| {
                let half = Level::Part(Along::Rows, 0);
                vec![(Level::Whole, 0, 110.0), (half, 7, 60.0)]
            })
            .collect(),
        waking_us: Some((14.0, 90.0)),
        wall_per_cpu: 1.0,
        factor: 1.0,
        quota: None,
        levels: (22, 22),
        sweeps: 1,
        seconds: 40.0,
    };
    // 20 µs each and 2 ms for 10⁶ bytes; 5 ms of a Run beside them, and 3 ms behind the first.
    let links = RankLinks {
        pairs: vec![],
        looks: Looks {
            alone: 31e-6,
            beside: 22e-6,
        },
        costs: Costs {
            own: vec![(16_000, 52e-6), (1_000_000, 2020e-6)],
            beside: vec![(128_000, 640e-6), (1_000_000, 3256e-6)],
        },
    };
    let second = RankLinks {
        costs: Costs::default(),
        ..links.clone()
    };
    let host = Measured {
        name: "pi0".into(),
        core: Some("lab-core1".into()),
        ranks: vec![(times.clone(), links), (times, second)],
    };
    let platform = platform(&graph, &units, &[host], None);
    let host = &platform.hosts[0];
    assert_eq!((host.slots, host.speed.run_us), (Some(2), Some(10.0)));
    assert_eq!(host.speed.gb_per_s, Some(5.0));
    assert_eq!(host.speed.message_us, Some(20.0));
    assert_eq!(host.speed.message_us_per_mb, Some(2000.0));
    assert_eq!(host.core.as_deref(), Some("lab-core1"));
    assert_eq!(host.speed.look_us, Some(31.0));
    assert_eq!(host.speed.look_beside_us, Some(22.0));
    assert_eq!(host.speed.beside_us_per_mb, Some(3000.0));
    assert_eq!(host.speed.beside_short_us_per_mb, Some(5000.0));
    assert_eq!(host.speed.wake_us, Some(14.0));
    assert_eq!(host.speed.wake_us_per_ms, Some(90.0));
    assert_eq!(host.times.len(), units.len());
    for timing in &host.times {
        assert_eq!(
            timing.us, 50.0,
            "100 without the Run, and half of it in the model"
        );
        assert_eq!(timing.rows.0, [(7, 25.0)]);
    }
}

#[test]
fn hosts_with_one_core_between_them_are_found() {
    let crowd = |hosts: &[(&str, &[usize], u64)]| Crowd {
        seats: hosts
            .iter()
            .map(|(name, cores, _)| (name.to_string(), Mask(cores.to_vec())))
            .collect(),
        threads: vec![1; hosts.len()],
        machines: hosts.iter().map(|host| host.2).collect(),
    };
    let lab = [
        ("e1", &[0][..], 7),
        ("e2", &[1], 7),
        ("e3", &[0], 7),
        // A board, and a host with a core more.
        ("pi0", &[0], 8),
        ("e4", &[0, 1], 7),
    ];
    let lab_crowd = crowd(&lab);
    let core = |rank| lab_crowd.core(&[Rank(rank)]);
    let shared = Some("e1-core0".to_string());
    assert_eq!([0, 1, 2].map(core), [shared.clone(), None, shared]);
    assert_eq!([3, 4].map(core), [None, None]);
    // Two ranks of one host are no hosts that share a core.
    let crowd = crowd(&[("a", &[0], 7), ("a", &[0], 7)]);
    assert_eq!(crowd.core(&[Rank(0), Rank(1)]), None);
}

#[test]
fn a_profile_keeps_what_was_written_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("platform.yaml");
    let by_hand = "\
hosts:
  - name: here
    memory_mib: 3800
    watts: {idle: 2.7, compute: 6.4, transmit: 3.1}
    speed: {gmac_per_s: 0.001}
    times: [{work: another model's, us: 17}]
    slots: 2
    threads: 1
  - {name: pi4, count: 0, memory_mib: 8000}
  - {name: far, like: pi4, count: 3}
network:
  medium: radio
  sites: [{hosts: [far], alpha_us: 5000, mb_per_s: 1.2}]
";
    std::fs::write(&output, by_hand).unwrap();
    let request = ProfileRequest {
        model: MODEL.into(),
        output: output.clone(),
        budget: Duration::from_secs(4),
        quiet: true,
        ..ProfileRequest::default()
    };
    let interrupt = AtomicBool::new(false);
    let ends = run(2, Options::default(), |mut link| {
        let place = Place {
            host: "here".into(),
            library: String::new(),
            interrupt: &interrupt,
        };
        let ended = run_profile(&mut link, &place, &request).map(|done| done.is_some());
        link.close();
        ended.map_err(|end| format!("{end:?}"))
    });
    assert_eq!(ends, [Ok(true), Ok(false)]);
    let text = std::fs::read_to_string(&output).unwrap();
    let platform = Platform::parse("platform.yaml", &text).unwrap();
    let before = Platform::parse("platform.yaml", by_hand).unwrap();
    let (new, old) = (&platform.hosts[0], &before.hosts[0]);
    assert_eq!((new.memory_mib, new.watts), (old.memory_mib, old.watts));
    assert_eq!(platform.hosts[1..], before.hosts[1..]);
    assert_eq!(platform.network.medium, before.network.medium);
    assert_eq!(platform.network.sites, before.network.sites);
    assert!(
        new.speed.gmac_per_s > Some(0.01),
        "measured: {:?}",
        new.speed
    );
    let graph = model();
    assert_eq!(new.times.len(), different(&graph).len() + 1);
    assert!(new
        .times
        .iter()
        .any(|timing| timing.work == "another model's"));
    assert!(platform.network.local.is_some(), "two ranks of one host");
    assert!(!folder.path().join("platform.yaml.part").exists());
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "hosts: [{nam: pi0}]").unwrap();
    for output in [
        wrong,
        folder.path().join("no/such/folder.yaml"),
        folder.path().into(),
    ] {
        let request = ProfileRequest {
            model: MODEL.into(),
            output,
            budget: Duration::from_secs(1000),
            quiet: true,
            ..ProfileRequest::default()
        };
        let interrupt = AtomicBool::new(false);
        let codes = run(1, Options::default(), |mut link| {
            let place = Place {
                host: "here".into(),
                library: String::new(),
                interrupt: &interrupt,
            };
            let ended = run_profile(&mut link, &place, &request);
            link.close();
            match ended {
                Err(super::End::Agreed(code)) => code,
                other => panic!("{:?}", other.map(|_| ())),
            }
        });
        assert_eq!(codes, [2]);
    }
}
