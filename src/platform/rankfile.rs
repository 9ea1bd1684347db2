//! Rank files: which host and cores each rank of an Open MPI job gets.

use thiserror::Error;

use super::hostfile::short;

/// The host and the cores of one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host's name.
    pub host: String,
    /// Its cores, at least one, as the launcher numbers them.
    pub cores: Vec<usize>,
}

/// A rank file that cannot be read, or a path that a launcher cannot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RankfileError {
    /// A line is not `rank N=host slot=cores`.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What was found and what would be right.
        message: String,
    },
    /// Ranks do not count from 0 without a gap.
    #[error("rank {rank} has no line; ranks count from 0 without a gap")]
    Missing {
        /// The first that is missing.
        rank: usize,
    },
    /// Open MPI 5 reads an absolute path as options.
    #[error("{path}: Open MPI 5 takes a rank file by a path relative to the working directory")]
    Absolute {
        /// The path.
        path: String,
    },
}

/// Most ranks of a file; cores are below 4096.
const MAX_RANKS: usize = 65536;
const MAX_CORES: usize = 4096;

/// A rank file that Open MPI 4 and 5 read: `rank 0=pi0 slot=0,1,2`, one rank a line.
pub fn write_rankfile(places: &[Place]) -> String {
    write(places, " slot=")
}

/// A rank file as AutoDiCE writes it: `rank 0=lenovo    slots=0`.
pub fn write_autodice(places: &[Place]) -> String {
    write(places, "    slots=")
}

fn write(places: &[Place], middle: &str) -> String {
    let line = |(rank, place): (usize, &Place)| {
        let cores: Vec<_> = place.cores.iter().map(usize::to_string).collect();
        format!("rank {rank}={}{middle}{}\n", place.host, cores.join(","))
    };
    places.iter().enumerate().map(line).collect()
}

/// The flags with which mpirun of an Open MPI of this major version takes a rank file.
///
/// # Errors
/// From version 5 on, a path that is not relative.
pub fn open_mpi_flags(major: u32, path: &str) -> Result<[String; 2], RankfileError> {
    match (major, path.starts_with('/')) {
        (..=4, _) => Ok(["-rf".into(), path.into()]),
        (_, false) => Ok(["--map-by".into(), format!("rankfile:file={path}")]),
        (_, true) => Err(RankfileError::Absolute { path: path.into() }),
    }
}

/// Reads a rank file: lines `rank 0=host slot=0-2,4` in any order, also with AutoDiCE's `slots=`;
/// `#` starts a comment.
///
/// # Errors
/// The first line that is something else, by its number; a rank that stands twice or nowhere.
pub fn parse_rankfile(text: &str) -> Result<Vec<Place>, RankfileError> {
    let mut places: Vec<Option<Place>> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let fault = |message| RankfileError::Line {
            line: i + 1,
            message,
        };
        let (rank, place) = read_line(line).map_err(fault)?;
        if places.len() <= rank {
            places.resize(rank + 1, None);
        }
        if places[rank].replace(place).is_some() {
            return Err(fault(format!("rank {rank} stands twice")));
        }
    }
    let number =
        |(rank, place): (usize, Option<Place>)| place.ok_or(RankfileError::Missing { rank });
    if places.is_empty() {
        return Err(RankfileError::Missing { rank: 0 });
    }
    places.into_iter().enumerate().map(number).collect()
}

fn read_line(line: &str) -> Result<(usize, Place), String> {
    let whole = || {
        let found = short(line);
        format!("found `{found}`, expected e.g. `rank 0=pi0 slot=0-2,4`")
    };
    let behind = line.strip_prefix("rank").ok_or_else(whole)?;
    let (number, behind) = behind.split_once('=').ok_or_else(whole)?;
    let (host, behind) = behind
        .trim_start()
        .split_once(char::is_whitespace)
        .ok_or_else(whole)?;
    let (key, list) = behind.split_once('=').ok_or_else(whole)?;
    if !number.starts_with(char::is_whitespace) || !["slot", "slots"].contains(&key.trim()) {
        return Err(whole());
    }
    let number = number.trim();
    let rank = parse_cores(number, MAX_RANKS).filter(|list| list.len() == 1);
    let rank = rank.ok_or_else(|| format!("`{}` is no rank", short(number)))?[0];
    if !super::is_host_name(host) {
        return Err(format!("`{}` is no host's name", short(host)));
    }
    if list.contains(':') {
        return Err(
            "cores by package (`1:0-2`) are not read; write the host's core numbers".into(),
        );
    }
    let cores = parse_cores(list.trim(), MAX_CORES).ok_or_else(whole)?;
    let host = host.into();
    Ok((rank, Place { host, cores }))
}

/// Core numbers from `0-3,5`, in the order written; none where the text is not that, or a number
/// is not below `limit`.
pub fn parse_cores(text: &str, limit: usize) -> Option<Vec<usize>> {
    let core = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let core: usize = text.parse().ok()?;
        (digits && core < limit).then_some(core)
    };
    let mut cores = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (core(first)?, core(last)?);
        if last < first || cores.len() + (last - first) >= limit {
            return None;
        }
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn place(host: &str, cores: &[usize]) -> Place {
        let (host, cores) = (host.into(), cores.into());
        Place { host, cores }
    }

    #[test]
    fn what_is_written_reads_back() {
        let places = [place("pi0", &[0, 1, 2]), place("pi1", &[5])];
        let text = write_rankfile(&places);
        assert_eq!(text, "rank 0=pi0 slot=0,1,2\nrank 1=pi1 slot=5\n");
        assert_eq!(parse_rankfile(&text).unwrap(), places);
        let demo = [place("lenovo", &[0]), place("lenovo", &[1])];
        let text = write_autodice(&demo);
        assert_eq!(text, "rank 0=lenovo    slots=0\nrank 1=lenovo    slots=1\n");
        assert_eq!(parse_rankfile(&text).unwrap(), demo);
        let mixed = "# two\nrank 1 = pi1   slots = 4\n\nrank 0=pi0 slot=0-2,7 # first\n";
        let read = parse_rankfile(mixed).unwrap();
        assert_eq!(read, [place("pi0", &[0, 1, 2, 7]), place("pi1", &[4])]);
    }

    #[test]
    fn bad_lines_are_refused() {
        for (text, message) in [
            ("", "rank 0 has no line; ranks count from 0 without a gap"),
            (
                "rank 1=a slot=0",
                "rank 0 has no line; ranks count from 0 without a gap",
            ),
            (
                "rank 0=a slot=0\nrank 0=b slot=0",
                "line 2: rank 0 stands twice",
            ),
            (
                "rank 0=a",
                "line 1: found `rank 0=a`, expected e.g. `rank 0=pi0 slot=0-2,4`",
            ),
            ("rank x=a slot=0", "line 1: `x` is no rank"),
            ("rank 99999999=a slot=0", "line 1: `99999999` is no rank"),
            ("rank 0=+n1 slot=0", "line 1: `+n1` is no host's name"),
            (
                "rank 0=a slot=1:0-2",
                "line 1: cores by package (`1:0-2`) are not read; write the \
                                     host's core numbers",
            ),
        ] {
            assert_eq!(parse_rankfile(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn open_mpi_5_takes_relative_paths_only() {
        assert_eq!(open_mpi_flags(4, "/a/b").unwrap(), ["-rf", "/a/b"]);
        assert_eq!(
            open_mpi_flags(5, "b").unwrap(),
            ["--map-by", "rankfile:file=b"]
        );
        assert!(open_mpi_flags(5, "/a/b").is_err());
    }
}
