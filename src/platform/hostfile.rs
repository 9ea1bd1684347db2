//! Host files of Open MPI and MPICH, and Slurm's node lists.

use thiserror::Error;

/// A machine and how many ranks it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name or address.
    pub name: String,
    /// Who logs in there, where that is another user.
    pub user: Option<String>,
    /// Places for ranks; none: as many as the launcher finds cores.
    pub slots: Option<usize>,
}

/// A host file or node list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostfileError {
    /// A line is not a host.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What was found and what would be right.
        message: String,
    },
    /// A node list is not one.
    #[error("node list `{list}`: {message}")]
    NodeList {
        /// The list, shortened.
        list: String,
        /// What was found and what would be right.
        message: String,
    },
    /// There is no host at all.
    #[error("no host; a line is a host, e.g. `pi0 slots=4`")]
    Empty,
}

/// Most hosts of a file or list, and most slots of a host.
const MAX_HOSTS: usize = 65536;
const MAX_SLOTS: usize = 65536;

/// Reads a host file of either launcher.
///
/// A line is `host`, `host:2`, or `host slots=2 [max_slots=4]`, the host also as `user@host` or
/// as a node list (`edge[01-04]`, each with those slots); `#` starts a comment. A host that stands
/// on several lines has the sum of their slots, and 1 for a line that says none, as in Open MPI.
/// `max_slots` is checked and left out. Hosts come in the order of their first lines.
///
/// # Errors
/// The first line that is something else, by its number; a file without a host.
///
/// ```
/// use autodice::platform::hostfile::{parse_hostfile, write_mpich};
/// let hosts = parse_hostfile("pi0 slots=2 # the first\npi@pi1:4\n").unwrap();
/// assert_eq!(hosts[1].user.as_deref(), Some("pi"));
/// assert_eq!(write_mpich(&hosts), "pi0:2\npi1:4\n");
/// ```
pub fn parse_hostfile(text: &str) -> Result<Vec<Host>, HostfileError> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let fault = |message| HostfileError::Line {
            line: i + 1,
            message,
        };
        for host in read_line(line).map_err(fault)? {
            let key = (host.name.clone(), host.user.clone());
            let place = *places.entry(key).or_insert(hosts.len());
            match hosts.get_mut(place) {
                Some(first) => {
                    let sum = first.slots.unwrap_or(1) + host.slots.unwrap_or(1);
                    if sum > MAX_SLOTS {
                        return Err(fault(format!("more than {MAX_SLOTS} slots in all")));
                    }
                    first.slots = Some(sum);
                }
                None => hosts.push(host),
            }
            if hosts.len() > MAX_HOSTS {
                return Err(fault(format!("more than {MAX_HOSTS} hosts")));
            }
        }
    }
    if hosts.is_empty() {
        return Err(HostfileError::Empty);
    }
    Ok(hosts)
}

/// The hosts of one line that is not empty.
fn read_line(line: &str) -> Result<Vec<Host>, String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (user, place) = match first.split_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, first),
    };
    if user.is_some_and(|user| !super::is_host_name(user)) {
        return Err(format!("`{}` is no user's name", short(first)));
    }
    let (names, colon) = match place.split_once(':') {
        Some((names, count)) => (names, Some(slot_count(count)?)),
        None => (place, None),
    };
    let (mut slots, mut max_slots) = (colon, None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let target = match key {
            "slots" => &mut slots,
            "max_slots" | "max-slots" => &mut max_slots,
            _ => {
                return Err(format!(
                    "`{}` is unknown; behind the host may stand slots=N and max_slots=N",
                    short(word)
                ));
            }
        };
        if target.is_some() {
            return Err(format!("the slots of `{}` stand twice", short(names)));
        }
        *target = Some(slot_count(value)?);
    }
    if let (Some(slots), Some(max)) = (slots, max_slots) {
        if max < slots {
            return Err(format!("{slots} slots, but max_slots is {max}"));
        }
    }
    let names = if names.contains('[') {
        expand_nodelist(names).map_err(|error| error.to_string())?
    } else if super::is_host_name(names) {
        vec![names.to_string()]
    } else {
        return Err(format!("`{}` is no host's name", short(names)));
    };
    let host = |name| Host {
        name,
        user: user.map(String::from),
        slots,
    };
    Ok(names.into_iter().map(host).collect())
}

fn slot_count(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|_| digits);
    count
        .filter(|count| (1..=MAX_SLOTS).contains(count))
        .ok_or_else(|| {
            let found = short(text);
            format!("found `{found}` slots, expected a whole number from 1 to {MAX_SLOTS}")
        })
}

/// The hosts of a Slurm node list such as `SLURM_JOB_NODELIST`, in its order.
///
/// Ranges keep the width of their first number; several brackets of one name give every
/// combination, the last one running fastest.
///
/// # Errors
/// What is not such a list, or has more than 65536 hosts.
///
/// ```
/// use autodice::platform::hostfile::expand_nodelist;
/// let hosts = expand_nodelist("edge[01-03,07],gpu1,r[1-2]n[8-9]").unwrap();
/// assert_eq!(
///     hosts.join(" "),
///     "edge01 edge02 edge03 edge07 gpu1 r1n8 r1n9 r2n8 r2n9"
/// );
/// ```
pub fn expand_nodelist(list: &str) -> Result<Vec<String>, HostfileError> {
    let fault = |message: String| HostfileError::NodeList {
        list: short(list),
        message,
    };
    let mut hosts = Vec::new();
    for item in split_outside(list.trim()).map_err(|m| fault(m.into()))? {
        for name in expand(item, MAX_HOSTS - hosts.len()).map_err(&fault)? {
            if !super::is_host_name(&name) {
                return Err(fault(format!("`{}` is no host's name", short(&name))));
            }
            hosts.push(name);
        }
    }
    Ok(hosts)
}

/// The items between the commas that stand outside of brackets.
fn split_outside(list: &str) -> Result<Vec<&str>, &'static str> {
    let (mut items, mut start, mut inside) = (Vec::new(), 0, false);
    for (i, c) in list.char_indices() {
        match c {
            '[' if inside => return Err("brackets inside of brackets; write a[1-2]b[3-4]"),
            ']' if !inside => return Err("`]` without `[`"),
            '[' | ']' => inside = !inside,
            ',' if !inside => {
                items.push(&list[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("`[` without `]`");
    }
    items.push(&list[start..]);
    Ok(items)
}

/// The names of one item, at most `limit`; its brackets are balanced and flat.
fn expand(item: &str, limit: usize) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = item;
    while let Some((before, behind)) = rest.split_once('[') {
        let (inner, behind) = behind.split_once(']').unwrap_or((behind, ""));
        let mut numbers = Vec::new();
        for range in inner.split(',') {
            numbers.extend(range_numbers(range, limit.saturating_sub(numbers.len()))?);
        }
        if names.len().saturating_mul(numbers.len()) > limit {
            return Err(format!("more than {MAX_HOSTS} hosts"));
        }
        let with = |name: &String| {
            let add = |number: &String| format!("{name}{before}{number}");
            numbers.iter().map(add).collect::<Vec<_>>()
        };
        names = names.iter().flat_map(with).collect();
        rest = behind;
    }
    if limit == 0 {
        return Err(format!("more than {MAX_HOSTS} hosts"));
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

/// `07` or `01-04` as numbers of the width written, at most `limit`.
fn range_numbers(range: &str, limit: usize) -> Result<Vec<String>, String> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let width = first.len();
    let number = |text: &str| {
        let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => {
            if last - first >= limit as u64 {
                return Err(format!("more than {MAX_HOSTS} hosts"));
            }
            let name = |number| format!("{number:0width$}");
            Ok((first..=last).map(name).collect())
        }
        _ => Err(format!(
            "found `{}` in brackets, expected a number or a range, e.g. 01-04",
            short(range)
        )),
    }
}

/// Text of a stranger's file in a message: without control characters, at most 60 characters.
pub(super) fn short(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(clean).take(60).collect()
}

/// The hosts in Open MPI's form, `user@host slots=4`, one a line.
pub fn write_open_mpi(hosts: &[Host]) -> String {
    let line = |host: &Host| {
        let user = host
            .user
            .as_ref()
            .map_or(String::new(), |user| format!("{user}@"));
        let slots = host.slots.map_or(String::new(), |n| format!(" slots={n}"));
        format!("{user}{}{slots}\n", host.name)
    };
    hosts.iter().map(line).collect()
}

/// The hosts in MPICH's form, `host:4`, one a line; it has no place for a user.
pub fn write_mpich(hosts: &[Host]) -> String {
    let line = |host: &Host| match host.slots {
        Some(slots) => format!("{}:{slots}\n", host.name),
        None => format!("{}\n", host.name),
    };
    hosts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_form_of_a_line_is_read_and_written() {
        let text = "# boards\n\n a \nb:2\nc slots=3 max_slots=4\nu@d slots=1 # last\nb:1\na\n\
                    e[08-10] slots=2\r\n";
        let hosts = parse_hostfile(text).unwrap();
        let open_mpi = write_open_mpi(&hosts);
        assert_eq!(
            open_mpi,
            "a slots=2\nb slots=3\nc slots=3\nu@d slots=1\ne08 slots=2\ne09 slots=2\ne10 slots=2\n"
        );
        assert_eq!(parse_hostfile(&open_mpi).unwrap(), hosts);
        let mpich = write_mpich(&hosts);
        assert!(mpich.starts_with("a:2\nb:3\nc:3\nd:1\n"), "{mpich}");
        assert_eq!(write_open_mpi(&parse_hostfile("a\nb").unwrap()), "a\nb\n");
    }

    #[test]
    fn bad_lines_are_refused_by_number() {
        for (text, message) in [
            ("", "no host; a line is a host, e.g. `pi0 slots=4`"),
            (
                "a\nb slot=2",
                "line 2: `slot=2` is unknown; behind the host may stand slots=N and \
                             max_slots=N",
            ),
            (
                "a:0",
                "line 1: found `0` slots, expected a whole number from 1 to 65536",
            ),
            ("a:1 slots=2", "line 1: the slots of `a` stand twice"),
            (
                "a slots=4 max_slots=2",
                "line 1: 4 slots, but max_slots is 2",
            ),
            (
                "a slots=+4",
                "line 1: found `+4` slots, expected a whole number from 1 to 65536",
            ),
            ("-a", "line 1: `-a` is no host's name"),
            ("u@v@a", "line 1: `v@a` is no host's name"),
            ("a\n\n\nb;c", "line 4: `b;c` is no host's name"),
            ("a slots=65536\na", "line 2: more than 65536 slots in all"),
        ] {
            assert_eq!(parse_hostfile(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn bad_node_lists_are_refused_and_huge_ones_not_built() {
        for list in [
            "a[1-2",
            "a]1",
            "a[[1-2]]",
            "a[]",
            "a[2-1]",
            "a[x]",
            "",
            "a,,b",
            "a[1-2-3]",
            "a[0-999999999999]",
            "a[0-999]b[0-999]",
            "a[99999999999999999999]",
            "a[1-2]$",
            "a[0-65535],b",
        ] {
            assert!(expand_nodelist(list).is_err(), "{list}");
        }
        assert_eq!(expand_nodelist("a[0-65535]").unwrap().len(), 65536);
        assert_eq!(expand_nodelist("a[9-11]").unwrap(), ["a9", "a10", "a11"]);
    }
}
