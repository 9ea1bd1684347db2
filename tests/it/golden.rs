//! Plans as text, against golden files.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes the files anew; review them as code.

use std::path::Path;

use autodice::plan::dump;

use crate::support::hand_plans;

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
