//! `autodice-run --platform` under mpirun.

use super::job::Job;
use super::workplace::{own_lines, Workplace};

const SPEED: &str = "speed: {gmac_per_s: 1, gb_per_s: 1}";

fn printed(job: &Job) -> serde_json::Value {
    serde_json::from_str(&job.stdout).expect("JSON on stdout")
}

#[test]
fn every_rank_is_found_in_the_platform_by_its_host() {
    let place = Workplace::new();
    place.write_spec(2, "six.npy", "");
    let arguments = ["@spec.yaml", "--json"];
    let Some(job) = place.run(2, &arguments) else {
        return;
    };
    job.expect_code(0, "without a platform");
    let report = printed(&job);
    assert!(report["predicted"].is_null());
    let host = report["hosts"][1].as_str().expect("a host").to_string();
    let with = |host: &str| {
        place.write(
            "p.yaml",
            format!("{{hosts: [{{name: other}}, {{{host}}}]}}"),
        );
        let job = place.run(2, &[&arguments[..], &["--platform", "@p.yaml"]].concat());
        job.expect("mpirun is there")
    };
    let job = with(&format!("name: {host}, slots: 2, {SPEED}"));
    job.expect_code(0, "a platform");
    let report = printed(&job);
    let predicted = &report["predicted"];
    for rank in 0..2 {
        assert_eq!(predicted["ranks"][rank]["host"], host, "{job}");
        let measured = &report["ranks"][rank]["sent_bytes"];
        assert_eq!(predicted["ranks"][rank]["sent_bytes"], *measured, "{job}");
    }
    let refused = [
        (format!("name: {host}, {SPEED}"), "has slots for 1 rank"),
        (format!("name: not-{host}"), "the platform has no host"),
        (
            format!("name: {host}, slots: 2, memory_mib: 50, {SPEED}"),
            " MiB of memory, host ",
        ),
    ];
    for (host, line) in refused {
        let job = with(&host);
        job.expect_code(2, line);
        let lines = own_lines(&job);
        assert!(lines.len() == 1 && lines[0].contains(line), "{job}");
    }
}
