//! Every kind of split under mpirun, by the real binary, against the uncut model.

use super::job::Mpirun;
use super::workplace::{own_lines, Workplace};

/// Ranks and stages.
const SPLITS: [(usize, &str); 14] = [
    (2, "{ranks: [0, 1], split: {by: rows}}"),
    (
        3,
        "{ranks: [1, 0, 2], split: {by: rows, shares: [1, 2, 1], overlap: true}}",
    ),
    (
        3,
        "{ranks: [0, 1, 2], split: {by: rows, exchange: [relu_b], cuts: {relu_b: [3, 9]}}}",
    ),
    (
        3,
        "{until: relu_b, ranks: [1, 0, 2], split: {by: rows, zone: {rank: 0, rows: min}}}, \
         {ranks: [2]}",
    ),
    (
        4,
        "{ranks: [3, 1, 0, 2], split: {by: grid, grid: 2x2, overlap: true}}",
    ),
    (
        2,
        "{ranks: [1, 0], split: {by: grid, grid: 1x2, columns: [1, 3], exchange: [pool]}}",
    ),
    (2, "{ranks: [0, 1], split: {by: channels}}"),
    (4, "{ranks: [2, 0, 3, 1], split: {by: channels, pair: auto}}"),
    (
        3,
        "{ranks: [0, 1, 2], split: {by: channels, pair: [{nodes: [conv_a, conv_b], reduce: root}]}}",
    ),
    (
        3,
        "{ranks: [1, 2, 0], split: {by: channels, pair: [{nodes: [conv_a, conv_b], reduce: ring}]}}",
    ),
    (
        2,
        "{ranks: [0, 1], split: {by: channels, shares: [1, 2], \
         pair: [[conv_a, conv_b], {nodes: [fc], reduce: scatter}]}}",
    ),
    (2, "{ranks: [0, 1], split: {by: frames}}"),
    (3, "{ranks: [2, 0, 1], split: {by: frames, shares: [2, 1, 1]}}"),
    (
        4,
        "{until: relu_a, ranks: [0, 1, 2], split: {by: rows, overlap: true}}, \
         {until: pool, ranks: [3, 1], split: {by: frames, shares: [2, 1]}}, \
         {ranks: [1, 2, 3], split: {by: channels, pair: auto}}",
    ),
];

fn write_spec(place: &Workplace, stages: &str) {
    let text = format!("model: model.onnx\ninput: {{frames: six.npy}}\nstages: [{stages}]\n");
    place.write("spec.yaml", text);
}

#[test]
fn every_kind_of_split_gives_the_uncut_models_outputs() {
    let place = Workplace::new();
    if Mpirun::new(1).is_none() {
        return;
    }
    let run = |ranks: usize, stages: &str, output: &str| {
        write_spec(&place, stages);
        let at = format!("@{output}");
        let arguments = ["@spec.yaml", "--output", &at, "--verify", "--json"];
        let job = place.run(ranks, &arguments).expect("mpirun is there");
        job.expect_code(0, stages);
        assert_eq!(own_lines(&job), [""; 0], "{stages}: {job}");
        let report = place.report(output);
        assert_eq!(
            (&report["status"], &report["wrong"]),
            (&"done".into(), &0.into()),
            "{stages}: {job}"
        );
        assert_eq!(place.rows(output).len(), 6, "{stages}");
    };
    run(1, "{ranks: [0]}", "whole");
    for (index, (ranks, stages)) in SPLITS.iter().enumerate() {
        let output = format!("split{index}");
        run(*ranks, stages, &output);
        for array in ["pool.npy", "fc.npy"] {
            let read = |folder: &str| std::fs::read(place.path(folder).join(array));
            let (wanted, found) = (
                read("whole").expect("arrays"),
                read(&output).expect("arrays"),
            );
            assert!(wanted == found, "{stages}: {array} differs");
        }
    }
}

/// A spec that no plan can be made of ends all ranks alike, with the line and the place.
#[test]
fn a_split_that_is_not_possible_is_refused_by_all_ranks() {
    let place = Workplace::new();
    let pair = "{ranks: [0, 1, 2], split: {by: channels, pair: [[conv_b, conv_a]]}}";
    write_spec(&place, pair);
    let Some(job) = place.run(3, &["@spec.yaml"]) else {
        return;
    };
    job.expect_code(2, pair);
    let lines = own_lines(&job);
    let wanted = "spec.yaml: stages[0].split.pair[0]: node 'conv_a' does not read what 'conv_b' \
                  makes";
    assert!(lines.len() == 1 && lines[0].ends_with(wanted), "{job}");
}
