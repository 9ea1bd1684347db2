//! The forms of a report, whole.

use super::*;
use crate::cost::{Cost, FrameCost, RankCost};

fn summary(samples: &[f64]) -> Summary {
    Summary::of(samples).expect("samples")
}

fn report() -> RunReport {
    let rank = |rank: usize, ms: f64| RankReport {
        rank,
        host: format!("pi{rank}"),
        cores: if rank == 0 {
            "0-3".into()
        } else {
            String::new()
        },
        stages: "0".into(),
        nodes: 12,
        parameters_bytes: 3 << 20,
        receive_ms: summary(&[ms]),
        compute_ms: summary(&[ms, 2.0 * ms]),
        send_ms: Summary::default(),
        received_bytes: 1536,
        sent_bytes: 0,
        peak_rss_bytes: 64 << 20,
        setup_ms: 12.5,
        wrong: Some(0),
    };
    RunReport {
        versions: Versions {
            autodice: "0.1.0".into(),
            commit: None,
            mpi: Some("Open MPI 4.1.4".into()),
            engine: "tract 0.23.9".into(),
        },
        spec: "specs/digits.yaml".into(),
        model: "models/digits.onnx".into(),
        hashes: Hashes {
            spec: "0123456789abcdef".into(),
            model: "ff".into(),
            plan: "ee".into(),
        },
        hosts: vec!["pi0".into(), "pi1".into()],
        settings: Settings {
            input: "300 frames from data".into(),
            warmup: 1,
            in_flight: 2,
            threads: 1,
            wire: "f32".into(),
            verify: true,
        },
        status: Status::Done,
        throughput_fps: 250.25,
        latency_ms: summary(&[8.0, 9.0, 10.0]),
        period_ms: Some(4.0),
        wrong: Some(0),
        max_rel_diff: Some(1e-7),
        frames: 300,
        bad_frames: 0,
        accuracy: Some(Accuracy {
            right: 292,
            counted: 300,
        }),
        predicted: None,
        ranks: vec![rank(0, 0.25), rank(1, 123.5)],
    }
}

#[test]
fn the_table_has_hashes_before_all_but_the_data() {
    let expected = "\
# autodice-run 0.1.0  mpi Open MPI 4.1.4  tract 0.23.9
# spec specs/digits.yaml  hash 0123456789ab
# model models/digits.onnx  hash ff
# input 300 frames from data
# frames 300  bad 0  warmup 1  in flight 2  threads 1  wire f32  check on
#  rank  host  cores  stages  nodes  params  peak rss
#                                     (MiB)     (MiB)
#     0  pi0   0-3    0          12     3.0      64.0
#     1  pi1   -      0          12     3.0      64.0
#
#  rank   recv  compute   send  received   sent    p95    max  #wrong
#         (ms)     (ms)   (ms)     (KiB)  (KiB)   (ms)   (ms)
      0  0.250    0.250  0.000       1.5    0.0  0.500  0.500       0
      1  123.5    123.5  0.000       1.5    0.0  247.0  247.0       0
#
# latency p50 9.000 p95 10.00 max 10.00 ms
# period 4.000 ms   throughput 250.2 frames/s
# accuracy 97.33 %   292 of 300   95 % interval 94.83 to 98.64 %
# Out of bounds values : 0 OK
";
    assert_eq!(run_table(&report()), expected);
}

#[test]
fn wide_cells_widen_their_column_and_nothing_else() {
    let mut ranks = report().ranks;
    ranks[1].host = "a-host-with-a-long-näme".into();
    ranks[1].compute_ms = summary(&[123_456.0]);
    ranks[1].wrong = None;
    let table = rank_table(&ranks);
    let lines: Vec<_> = table.lines().collect();
    for pair in [(2, 3), (7, 8)] {
        let width = |line: &str| line.chars().count();
        assert_eq!(width(lines[pair.0]), width(lines[pair.1]), "{table}");
    }
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(lines[8].ends_with(" -"), "{table}");
    assert!(
        lines[7..].iter().all(|line| line.starts_with(' ')),
        "{table}"
    );
}

#[test]
fn wrong_elements_are_said_only_where_something_was_compared() {
    let mut report = report();
    let last = |report: &RunReport| footer_lines(report).pop().unwrap();
    report.wrong = Some(3);
    assert_eq!(last(&report), "# Out of bounds values : 3 FAILED");
    report.wrong = None;
    report.accuracy = None;
    assert!(last(&report).starts_with("# period 4.000 ms"));
    report.status = Status::Interrupted;
    assert_eq!(last(&report), "# interrupted");
}

#[test]
fn json_has_the_keys_that_programs_read() {
    let json: serde_json::Value = serde_json::from_str(&to_json(&report()).unwrap()).unwrap();
    assert_eq!(json["status"], "done");
    assert_eq!(json["throughput_fps"], 250.25);
    assert_eq!(json["latency_ms"]["p95"], 10.0);
    assert_eq!(json["wrong"], 0);
    assert_eq!(json["ranks"][1]["compute_ms"]["max"], 247.0);
    assert_eq!(json["accuracy"]["right"], 292);
    assert_eq!(json["versions"]["commit"], serde_json::Value::Null);
    let keys: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys.join(" "),
        "versions spec model hashes hosts settings status throughput_fps latency_ms period_ms \
         wrong max_rel_diff frames bad_frames accuracy predicted ranks"
    );
}

#[test]
fn csv_has_a_row_for_each_rank_with_the_runs_facts() {
    let mut bytes = vec![];
    let mut one = report();
    one.ranks.remove(0);
    write_ranks_csv(&mut bytes, &one).unwrap();
    let expected = "\
version,commit,spec,spec_hash,model,model_hash,status,frames,in_flight,throughput_fps,\
latency_p50_ms,rank,host,cores,stages,nodes,parameters_bytes,\
receive_p50_ms,receive_p95_ms,receive_max_ms,compute_p50_ms,compute_p95_ms,compute_max_ms,\
send_p50_ms,send_p95_ms,send_max_ms,received_bytes,sent_bytes,peak_rss_bytes,wrong
0.1.0,,specs/digits.yaml,0123456789abcdef,models/digits.onnx,ff,done,300,2,250.25,9.0,\
1,pi1,,0,12,3145728,123.5,123.5,123.5,123.5,247.0,247.0,0.0,0.0,0.0,1536,0,67108864,0
";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_ranks_report_travels() {
    let rank = &report().ranks[1];
    let bytes = postcard::to_stdvec(rank).unwrap();
    assert_eq!(&postcard::from_bytes::<RankReport>(&bytes).unwrap(), rank);
}

/// Every time of a rank so many µs, and three frames of 10 ms, 5 ms apart.
fn predicted() -> Predicted {
    let rank = |us: f64| RankCost {
        host: "pi".into(),
        compute_us: summary(&[us]),
        wait_us: summary(&[2.0 * us]),
        transfer_us: summary(&[3.0 * us]),
        busy: 0.5,
        sent_bytes: 1,
        received_bytes: 2,
        memory_bytes: 3,
        memory_limit_bytes: None,
        joules: None,
    };
    let frame = |n: f64| FrameCost {
        opened_us: 5e3 * n,
        landed_us: 5e3 * n + 1e4,
    };
    Predicted {
        platform: "edge.yaml".into(),
        cost: Cost {
            frames: [0.0, 1.0, 2.0].map(frame).to_vec(),
            ranks: vec![rank(200.0), rank(123_400.0)],
            bounds: vec![],
            intervals: vec![],
        },
    }
}

#[test]
fn predicted_stands_beside_measured() {
    let mut report = report();
    report.predicted = Some(predicted());
    let expected = "\
      1  123.5    123.5  0.000       1.5    0.0  247.0  247.0       0
#
#  rank   recv  predicted  compute  predicted   send  predicted
#         (ms)       (ms)     (ms)       (ms)   (ms)       (ms)
#     0  0.250      0.400    0.250      0.200  0.000      0.600
#     1  123.5      246.8    123.5      123.4  0.000      370.2
#
# latency p50 9.000 p95 10.00 max 10.00 ms   predicted latency 10.00 ms
# period 4.000 ms   throughput 250.2 frames/s   predicted period 5.000 ms
# accuracy";
    let table = run_table(&report);
    assert!(table.contains(expected), "{table}");
    assert!(table.contains("\n# platform edge.yaml\n"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&to_json(&report).unwrap()).unwrap();
    let predicted = &json["predicted"];
    assert_eq!(predicted["platform"], "edge.yaml");
    assert_eq!(predicted["period_ms"], 5.0);
    assert_eq!(predicted["ranks"][1]["receive_ms"]["p50"], 246.8);
}
