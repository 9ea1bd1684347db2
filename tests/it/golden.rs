//! Plans as text, against golden files.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes the files anew; review them as code.

use std::path::Path;

use autodice::ids::Rank;
use autodice::model::read::read;
use autodice::plan::{compile, compile_owners, dump};
use autodice::spec::yaml;

use crate::support::hand_plans;
use crate::support::random_graph::{random_graph, random_owners, Random};

/// Compares with `tests/golden/NAME`, or writes it.
fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("a golden file to write");
        return;
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (line, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(
            found,
            wanted,
            "{name} line {}; UPDATE_GOLDEN=1 rewrites it",
            line + 1
        );
    }
    assert_eq!(
        found.lines().count(),
        wanted.lines().count(),
        "{name}: lines"
    );
}

#[test]
fn hand_written_plans() {
    for (name, graph, plan) in hand_plans::all() {
        golden(&format!("{name}.plan"), &dump(&graph, &plan));
    }
}

/// Branches, two inputs, several outputs and nodes that no output needs, over three ranks.
#[test]
fn a_compiled_plan() {
    let mut random = Random(11);
    let graph = random_graph(&mut random, 14);
    let owners = random_owners(&mut random, graph.nodes.len(), 3);
    let owners: Vec<Rank> = owners.into_iter().map(Rank::new).collect();
    let plan = compile_owners(&graph, &owners, 3, 4);
    golden("random_stages.plan", &dump(&graph, &plan));
}

/// The demo's spec over the model of the repository: through the reader and the spec.
#[test]
fn the_demo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("specs/digits-stages.yaml");
    let text = std::fs::read_to_string(file).expect("the demo's spec");
    let spec = yaml::parse("digits-stages.yaml", &text).expect("a good spec");
    let source = read(&root.join("data/digits/digits.onnx"), &[]).expect("the demo's model");
    let plan = compile(&source.graph, &spec).expect("a plan");
    golden("digits_stages.plan", &dump(&source.graph, &plan));
}
