//! Bad specs give exactly their first line.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use autodice::platform::hostfile::parse_hostfile;
use autodice::spec::yaml::parse;

/// The first line is `# error: ` and the message without the file's name; with `UPDATE_GOLDEN`
/// set it is rewritten.
#[test]
fn each_bad_spec_gives_its_first_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/bad");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of bad specs")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut wrong = vec![];
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let line = match parse(name, &text) {
            Ok(_) => "none".into(),
            Err(error) => error.to_string().replacen(&format!("{name}: "), "", 1),
        };
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let found = format!("# error: {line}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, format!("{found}\n{rest}")).unwrap();
        } else if first != found {
            wrong.push(format!("{name}\n  wanted {first}\n  found  {found}"));
        }
    }
    assert!(paths.len() >= 35, "only {} bad specs", paths.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The example specs of the repository are good ones.
#[test]
fn every_example_spec_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of example specs") {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            parse(&path.display().to_string(), &text).unwrap();
            count += 1;
        }
    }
    assert!(count >= 2, "only {count} example specs");
}

/// The example host files are read, and mean four ranks.
#[test]
fn every_example_host_file_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostfiles");
    for name in ["local.hosts", "edge.hosts"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let hosts = parse_hostfile(&text).unwrap();
        let slots: usize = hosts.iter().filter_map(|host| host.slots).sum();
        assert_eq!(slots, 4, "{name}");
    }
}
