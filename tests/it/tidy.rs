//! The tree itself: floors, foreign crates, first lines.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// Modules from the ground up; one may use those on lower floors alone.
const FLOORS: [&[&str]; 12] = [
    &["ids", "units", "stats"],
    &["geometry", "document"],
    &["graph", "platform"],
    &["spec"],
    &["plan"],
    &["cost"],
    &["search"],
    &[
        "model", "engine", "comm", "binding", "frames", "energy", "heap",
    ],
    &["runner"],
    &["report"],
    &["cli"],
    &["bin"],
];

/// Foreign crates that are kept in a room, and the room: prefixes of paths under `src/`.
const ROOMS: [(&str, &[&str]); 10] = [
    ("tract_onnx", &["model/", "engine/"]),
    ("tract_linalg", &["model/", "engine/"]),
    ("prost", &["model/", "engine/"]),
    ("mpi", &["comm/world/calls.rs"]),
    ("hwloc2", &["binding/hwloc.rs"]),
    ("libc", &["heap.rs"]),
    ("rustix", &["runner/profile/clock.rs"]),
    ("serde_yaml", &["document/yaml.rs"]),
    ("image", &["frames/"]),
    ("clap", &["cli/", "bin/"]),
];

const COLUMNS: usize = 100;

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What is wrong with a file at `path` (under `src/`): each fault with its line, from 1.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = vec![];
    let mut fault = |line: usize, what: String| faults.push(format!("src/{path}:{line}: {what}"));
    if !text.starts_with("//! ") {
        fault(1, "does not open with `//! `".into());
    }
    let own = path.split(['/', '.']).next().unwrap_or_default();
    if own != "lib" && floor(own).is_none() {
        fault(1, format!("the module {own} is on no floor"));
    }
    let mut tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    for (i, line) in text.lines().enumerate() {
        if line.chars().count() > COLUMNS {
            fault(i + 1, format!("longer than {COLUMNS} columns"));
        }
        // Unit tests stand at the end of a file, and may use whatever helps.
        tests |= line.trim_start().starts_with("#[cfg(test)]");
        let code = line.split("//").next().unwrap_or_default();
        if tests || code.is_empty() {
            continue;
        }
        if code.contains(".unwrap()") {
            fault(i + 1, "`unwrap()` outside tests".into());
        }
        for module in used(own, code) {
            let lower = floor(module) < floor(own) || own == "lib" || module == own;
            if floor(module).is_none() || !lower {
                fault(
                    i + 1,
                    format!("{own} uses {module}, which is not on a lower floor"),
                );
            }
        }
        for (name, rooms) in ROOMS {
            if names(code, name) && !rooms.iter().any(|room| path.starts_with(room)) {
                fault(
                    i + 1,
                    format!("the crate {name} outside of {}", rooms.join(", ")),
                );
            }
        }
    }
    faults
}

/// The modules behind `crate::` and, in the binaries, `autodice::`; a brace counts as a module
/// of no floor, since what it holds may lie on other lines.
fn used<'a>(own: &str, code: &'a str) -> Vec<&'a str> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    let paths = code.split("crate::").skip(1);
    let in_binary = if own == "bin" {
        "autodice::"
    } else {
        "crate::crate::"
    };
    let paths = paths.chain(code.split(in_binary).skip(1));
    let heads = paths.map(|rest| if rest.starts_with('{') { "{" } else { rest });
    heads
        .map(|rest| rest.split(|c| ends(c) && c != '{').next().unwrap_or(""))
        .collect()
}

/// Whether `code` names the crate: `name::` or `use name`, not as a part of a longer path.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let root = !before.ends_with(|c: char| c.is_alphanumeric() || "_.:".contains(c));
        let imported = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
        root && (after.starts_with("::") || imported)
    })
}

/// Functions of more than `limit` lines, by the indentation that rustfmt gives them.
fn long_functions(text: &str, limit: usize) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_function = |line: &str| {
        let words: Vec<&str> = line.split('(').next().unwrap_or("").split(' ').collect();
        !line.trim_start().starts_with("//") && words.contains(&"fn")
    };
    let mut long = vec![];
    for (i, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_function(line))
    {
        let end = (i..lines.len()).find(|&j| {
            indent(lines[j]) == indent(line) && (lines[j].trim() == "}" || lines[j].ends_with(';'))
        });
        let count = end.map_or(0, |end| end - i + 1);
        if count > limit {
            long.push((i + 1, count));
        }
    }
    long
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_tree_is_tidy() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![];
    files(&src, &mut found);
    found.sort();
    assert!(found.len() > 50, "the files of src/");
    let mut all = vec![];
    for file in found {
        let path = file.strip_prefix(&src).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        all.extend(faults(&path, &text));
        if text.lines().count() > 400 {
            println!("src/{path}: {} lines", text.lines().count());
        }
        for (line, count) in long_functions(&text, 70) {
            println!("src/{path}:{line}: a function of {count} lines");
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let one = |path: &str, code: &str| faults(path, &format!("//! A file.\n{code}\n"));
    let long = "x".repeat(101);
    for (path, code, fault) in [
        (
            "plan/a.rs",
            "use crate::runner::Runner;",
            "plan uses runner",
        ),
        (
            "plan/a.rs",
            "let x = crate::engine::Tensor::new();",
            "plan uses engine",
        ),
        (
            "model/a.rs",
            "use crate::engine::Tensor;",
            "model uses engine",
        ),
        ("graph/a.rs", "use crate::spec::Spec;", "graph uses spec"),
        ("plan/a.rs", "use crate::{ids, runner};", "plan uses {"),
        (
            "plan/a.rs",
            "pub(crate) use crate::nowhere::X;",
            "plan uses nowhere",
        ),
        ("nowhere/a.rs", "", "the module nowhere is on no floor"),
        (
            "comm/mod.rs",
            "use mpi::traits::*;",
            "the crate mpi outside of comm/world/calls.rs",
        ),
        (
            "comm/mod.rs",
            "mpi::ffi::x();",
            "the crate mpi outside of comm/world/calls.rs",
        ),
        (
            "plan/a.rs",
            "use serde_yaml;",
            "the crate serde_yaml outside of document/yaml.rs",
        ),
        (
            "runner/a.rs",
            "use tract_onnx as tract;",
            "the crate tract_onnx outside of model/",
        ),
        (
            "plan/a.rs",
            "let x = y.unwrap();",
            "`unwrap()` outside tests",
        ),
        ("plan/a.rs", long.as_str(), "longer than 100 columns"),
    ] {
        let found = one(path, code);
        assert_eq!(found.len(), 1, "{code}: {found:?}");
        assert!(found[0].contains(fault), "{code}: {found:?}");
    }
    assert_eq!(
        faults("ids.rs", "use std::fmt;\n").len(),
        1,
        "no first sentence"
    );
    for (path, code) in [
        (
            "runner/a.rs",
            "use crate::engine::Tensor;\nuse crate::ids::Rank;",
        ),
        ("runner/a.rs", "use crate::runner::frame;"),
        ("comm/world/calls.rs", "use mpi::ffi;"),
        (
            "spec/mod.rs",
            "pub image: ImageSpec, // image::open\nlet y = spec.image::<u8>();",
        ),
        (
            "spec/mod.rs",
            "use super::image::Size;\nlet mpi = comm::mpi;",
        ),
        (
            "plan/a.rs",
            "#[cfg(test)]\nmod tests {\n    x.unwrap();\n    crate::runner::y();\n}",
        ),
        ("plan/a.rs", "/// Call `x.unwrap()` or `crate::runner`."),
    ] {
        assert_eq!(one(path, code), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn long_functions_are_listed() {
    let text = "impl X {\n    pub fn short() {\n        a();\n    }\n\n    fn long() {\n        a();\n        \
                b();\n    }\n}\n";
    assert_eq!(long_functions(text, 3), [(6, 4)]);
}
