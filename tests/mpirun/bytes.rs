//! What MPI itself counts of a run's activations: as the plan and the literature's formulas say.

use autodice::graph::Graph;
use autodice::model::read::read;
use autodice::model::standard::{build, Options};
use autodice::plan::{compile, Plan};

use super::byte_forms::{moved, planned_bytes, stage, write_spec, Moved, FORMS};
use super::job::Mpirun;

/// Runs the spec of a folder as so many ranks; none where there is no mpirun.
fn count(folder: &std::path::Path, ranks: usize) -> Option<(Graph, Plan, Moved)> {
    let mpirun = Mpirun::new(ranks)?;
    let spec = folder.join("spec.yaml");
    let job = super::case(mpirun, &format!("count {}", spec.display()));
    job.expect_code(0, "a counted job");
    let text = std::fs::read_to_string(&spec).expect("a spec");
    let asked = autodice::spec::yaml::parse("spec.yaml", &text).expect("a spec");
    let graph = read(&folder.join("model.onnx"), &[])
        .expect("a model")
        .graph;
    let plan = compile(&graph, &asked).expect("a plan");
    let moved = moved(&graph, &plan, folder).expect("every rank's counts");
    assert_eq!(moved.pairs_alike, moved.pairs, "of the pairs of ranks");
    Some((graph, plan, moved))
}

#[test]
fn every_form_moves_what_its_formula_says() {
    for ranks in [2, 3] {
        for form in &FORMS {
            let folder = tempfile::tempdir().expect("a folder");
            form.write(folder.path(), ranks).expect("a model");
            let Some((_, _, moved)) = count(folder.path(), ranks) else {
                return;
            };
            let what = format!("{} on {ranks} ranks", form.name);
            assert_eq!(moved.bytes, form.bytes(ranks), "{what}");
        }
    }
}

/// Test vector V3 at an eighth of the width: 1,060,864 bytes are exchanged between the layers.
#[test]
fn vgg16_by_rows_moves_v3() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        width: Some(0.125),
        ..Options::default()
    };
    let model = build("vgg16", &options).expect("a model");
    model
        .write(&folder.path().join("model.onnx"))
        .expect("a file");
    let body = stage(2, "by: rows").replacen('{', "{until: pool5, ", 1);
    let stages = format!("{body}, {{ranks: [0]}}");
    write_spec(folder.path(), "model.onnx".as_ref(), &stages).expect("a spec");
    let Some((graph, plan, moved)) = count(folder.path(), 2) else {
        return;
    };
    let pool5 = graph
        .node_ids()
        .find(|&id| graph.node(id).origin == "pool5");
    let pool5 = graph.node(pool5.expect("the last pool")).outputs[0];
    let ends = [graph.inputs[0], pool5].map(|id| planned_bytes(&graph, &plan, id));
    // 113 rows of 3 x 224 numbers for rank 1, and 4 of 7 rows of 64 channels back.
    assert_eq!(ends, [113 * 3 * 224 * 4, 4 * 7 * 64 * 4]);
    assert_eq!(moved.bytes - ends[0] - ends[1], 1_060_864 / 8);
}
