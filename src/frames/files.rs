//! The files that a path, a folder or a pattern with `*` means.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

/// What a file's name says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything else is tried as an image; its content decides.
    Image,
    Npy,
    Npz,
    Tensor,
}

impl Kind {
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default();
        match extension.to_ascii_lowercase().to_str() {
            Some("npy") => Self::Npy,
            Some("npz") => Self::Npz,
            Some("pb") => Self::Tensor,
            _ => Self::Image,
        }
    }
}

/// The files behind `path`, sorted by name: itself; the images of a folder; the files that a
/// pattern matches. At least one.
pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let images = |name: &str| {
            let name = name.to_ascii_lowercase();
            let endings = [".png", ".jpg", ".jpeg"];
            endings.iter().any(|ending| name.ends_with(ending))
        };
        let found = list(path, images)?;
        ensure!(!found.is_empty(), "folder has no .png, .jpg or .jpeg");
        return Ok(found);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path.exists() || !path.to_string_lossy().contains('*') {
        let metadata = fs::metadata(path).context("cannot be opened")?;
        ensure!(metadata.is_file(), "not a file");
        return Ok(vec![path.to_path_buf()]);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    if folder.to_string_lossy().contains('*') {
        bail!("`*` stands in file names only, not in folders");
    }
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let found = list(here, |candidate| matches(&name, candidate))?;
    ensure!(!found.is_empty(), "no file matches");
    Ok(found)
}

fn list(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    let entries = fs::read_dir(folder).context("folder cannot be read")?;
    for entry in entries {
        let entry = entry.context("folder cannot be read")?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Hidden files are no data, as in a shell. A broken link is listed: it is a bad frame.
        if !name.starts_with('.') && wanted(&name) && !entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` is `pattern` with any text for each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    // The earliest place for each part leaves the most for those after it.
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_text() {
        for (pattern, name, expected) in [
            ("*.png", "a.png", true),
            ("*.png", ".png", true),
            ("*.png", "a.png.txt", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a__b_b__c", true),
            ("a*b*c", "a__c__b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "anything", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
