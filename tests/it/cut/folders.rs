//! Folders of ranks: what is written is read again, once per slice; what is damaged is one line.

use std::fs;
use std::path::Path;

use autodice::geometry::Interval;
use autodice::ids::{PieceId, Rank};
use autodice::model::cut::cut;
use autodice::model::folder::{write, Folder};
use autodice::plan::{Plan, PlanBuilder};

use super::fixture::{Fixture, Net};

fn fixture() -> Fixture {
    let mut net = Net::new(13, 31);
    let x = net.input("x", &[1, 3, 8, 6]);
    let a = net.conv("a", &x, (3, 4), 3);
    let a = net.node("Relu", "ar", &[&a], &[]);
    net.conv("b", &a, (4, 2), 3);
    net.finish()
}

/// Two ranks share the rows; rank 0 makes its rows in two pieces with the same weights.
fn plan(fixture: &Fixture) -> Plan {
    let graph = &fixture.source.graph;
    let nodes = ["a", "ar", "b"].map(|name| fixture.node(name));
    let (x, b) = (fixture.activation("x"), fixture.activation("b"));
    let whole = graph.whole(b);
    let mut builder = PlanBuilder::new(graph, 2, 1, 1);
    for (rank, rows) in [(0, (0, 2)), (0, (2, 4)), (1, (4, 8))] {
        let rank = Rank(rank);
        let region = whole.with_axis(2, Interval::new(rows.0, rows.1));
        let input = builder.whole(rank, x);
        let output = builder.part(rank, b, region.clone());
        let outputs = vec![(output, region)];
        builder
            .piece_needing(rank, &nodes, &[input], outputs)
            .unwrap();
    }
    builder.build()
}

fn split(fixture: &Fixture, plan: &Plan, dir: &Path, replace: bool) -> anyhow::Result<()> {
    let graph = &fixture.source.graph;
    write(dir, "stages: []\n", graph, plan, &fixture.source, replace)
}

#[test]
fn each_rank_reads_its_own_folder_and_gets_what_cutting_gives() {
    let (fixture, dir) = (fixture(), tempfile::tempdir().unwrap());
    let plan = plan(&fixture);
    split(&fixture, &plan, dir.path(), false).unwrap();
    assert_eq!(
        fs::read_to_string(dir.path().join("spec.yaml")).unwrap(),
        "stages: []\n"
    );
    for rank in 0..2 {
        // The other rank's folder may as well not be there.
        let own = tempfile::tempdir().unwrap();
        let name = format!("rank-{rank}");
        fs::rename(dir.path().join(&name), own.path().join(&name)).unwrap();
        let folder = Folder::open(own.path(), Rank(rank)).unwrap();
        assert_eq!(*folder.graph(), fixture.source.graph);
        assert_eq!(folder.plan().hash(), plan.hash());
        for piece in 0..plan.ranks[rank as usize].pieces.len() {
            let piece = PieceId::new(piece);
            let graph = &fixture.source.graph;
            let cut = cut(graph, &plan, Rank(rank), piece, &fixture.source).unwrap();
            assert_eq!(folder.sub_model(piece).unwrap(), cut);
        }
        assert!(folder.sub_model(PieceId::new(2)).is_err());
        // Two kernels and two biases, each once and at a page's start.
        let path = own.path().join(&name).join("weights.bin");
        assert_eq!(fs::metadata(path).unwrap().len(), 3 * 4096 + 2 * 4);
    }
}

#[test]
fn a_folder_with_files_in_it_is_only_replaced_when_asked() {
    let (fixture, dir) = (fixture(), tempfile::tempdir().unwrap());
    let plan = plan(&fixture);
    let dir = dir.path();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let error = split(&fixture, &plan, dir, false).unwrap_err().to_string();
    assert!(
        error.contains("notes.txt") && !error.contains('\n'),
        "{error}"
    );
    split(&fixture, &plan, dir, true).unwrap();
    split(&fixture, &plan, dir, true).unwrap();
    assert_eq!(fs::read_to_string(dir.join("notes.txt")).unwrap(), "mine");
    Folder::open(dir, Rank(1))
        .unwrap()
        .sub_model(PieceId(0))
        .unwrap();
    // A file of someone else inside of a rank's folder stops it, and stays.
    fs::write(dir.join("rank-1/mine.txt"), "mine").unwrap();
    let error = split(&fixture, &plan, dir, true).unwrap_err().to_string();
    assert!(error.contains("mine.txt"), "{error}");
    assert!(dir.join("rank-1/mine.txt").exists());
}

#[test]
fn damage_is_one_line_that_names_the_file() {
    let (fixture, dir) = (fixture(), tempfile::tempdir().unwrap());
    let plan = plan(&fixture);
    let rank = dir.path().join("rank-0");
    let files = [
        "rank.json",
        "graph.bin",
        "plan.bin",
        "weights.bin",
        "piece-1.onnx",
    ];
    let load = || -> anyhow::Result<()> {
        let folder = Folder::open(dir.path(), Rank(0))?;
        folder.sub_model(PieceId(0))?;
        folder.sub_model(PieceId(1))?;
        Ok(())
    };
    let refused = |name: &str, what: &str| {
        let line = format!("{:#}", load().expect_err(what));
        let named = line.contains(name);
        assert!(
            named && !line.contains('\n') && line.len() < 600,
            "{name} {what}: {line}"
        );
    };
    let again = || split(&fixture, &plan, dir.path(), true).unwrap();
    again();
    load().unwrap();
    for name in files {
        let path = rank.join(name);
        let right = fs::read(&path).unwrap();
        fs::write(&path, &right[..right.len() / 2]).unwrap();
        refused(name, "cut short");
        fs::write(&path, []).unwrap();
        refused(name, "empty");
        fs::remove_file(&path).unwrap();
        refused(name, "missing");
        if name != "rank.json" {
            let mut wrong = right.clone();
            // The last byte is data in all of them.
            *wrong.last_mut().unwrap() ^= 1;
            fs::write(&path, &wrong).unwrap();
            refused(name, "one bit off");
            wrong = right.clone();
            wrong.push(0);
            fs::write(&path, &wrong).unwrap();
            refused(name, "longer");
        }
        fs::write(&path, &right).unwrap();
        load().unwrap();
    }
    // Another rank's folder under this name, another version, offsets beyond the file.
    let text = fs::read_to_string(rank.join("rank.json")).unwrap();
    for (from, to) in [
        ("\"rank\": 0", "\"rank\": 1".to_string()),
        ("\"format\": 1", "\"format\": 9".to_string()),
        ("\"ranks\": 2", "\"ranks\": 3".to_string()),
        ("\"offset\": 4096", format!("\"offset\": {}", u64::MAX)),
        ("\"offset\": 4096", "\"offset\": 4097".to_string()),
        (
            "\"name\": \"weights.bin\"",
            "\"name\": \"../weights.bin\"".to_string(),
        ),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(rank.join("rank.json"), text.replace(from, &to)).unwrap();
        refused("rank-0", &to);
    }
    let error = Folder::open(&dir.path().join("none"), Rank(0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("autodice split"), "{error}");
}
