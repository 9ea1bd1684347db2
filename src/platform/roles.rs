//! Which process plays which rank of the spec, by the names of the hosts.

/// Whether a host that a spec names is the host that a process runs on: the same name, or one is
/// the other with a domain behind it (`pi0` and `pi0.lab.org`); addresses match whole.
pub(super) fn same_host(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
    match long.strip_prefix(&short) {
        Some("") => true,
        Some(domain) => domain.starts_with('.') && !address(&long),
        None => false,
    }
}

/// The role, an index of the spec's ranks, of every MPI process; each role is played once.
///
/// A role with a host goes to a process on that host (`localhost` is the host of process 0), a
/// role without one to any process that is left. Process 0 always plays role 0. Where no role has
/// a host, process n plays role n.
///
/// # Errors
/// One line that says what does not fit, with the mpirun line to type.
///
/// ```
/// use autodice::platform::match_roles;
/// let roles = [Some("pi0".into()), Some("pi1".into()), Some("pi0".into())];
/// let processes = ["pi0.lab".into(), "pi0.lab".into(), "pi1.lab".into()];
/// assert_eq!(match_roles(&roles, &processes), Ok(vec![0, 2, 1]));
/// ```
pub fn match_roles(roles: &[Option<String>], processes: &[String]) -> Result<Vec<usize>, String> {
    let line = || launch_line(roles, processes);
    if roles.len() != processes.len() {
        let (found, wanted) = (processes.len(), roles.len());
        return Err(format!(
            "{wanted} ranks in the spec, {found} started: {}",
            line()
        ));
    }
    let first = processes.first().map_or("", String::as_str);
    let fits = |process: usize, role: usize| match (&roles[role], process == 0, role == 0) {
        (_, true, false) | (_, false, true) => false,
        (None, ..) => true,
        (Some(host), ..) if host == "localhost" => same_host(first, &processes[process]),
        (Some(host), ..) => same_host(host, &processes[process]),
    };
    let mut player: Vec<Option<usize>> = vec![None; roles.len()];
    for (process, host) in processes.iter().enumerate() {
        let mut seen = vec![false; roles.len()];
        if !place(process, &fits, &mut seen, &mut player) {
            let why = match (process, &roles[0]) {
                (0, Some(wanted)) => format!("rank 0 runs on {host}, but its host is {wanted}"),
                _ => format!("process {process} runs on {host}, where no rank of the spec is left"),
            };
            return Err(format!("{why}; start it with: {}", line()));
        }
    }
    let mut role_of = vec![0; processes.len()];
    for (role, process) in player.into_iter().enumerate() {
        role_of[process.expect("as many processes as roles, each placed")] = role;
    }
    Ok(role_of)
}

/// Gives `process` the lowest role that is free, else one whose player can move (Kuhn's augmenting
/// path).
fn place(
    process: usize,
    fits: &impl Fn(usize, usize) -> bool,
    seen: &mut [bool],
    player: &mut [Option<usize>],
) -> bool {
    let free = |role: &usize| player[*role].is_none() && fits(process, *role);
    if let Some(role) = (0..player.len()).find(free) {
        player[role] = Some(process);
        return true;
    }
    for role in 0..player.len() {
        if seen[role] || !fits(process, role) {
            continue;
        }
        seen[role] = true;
        if player[role].is_some_and(|other| place(other, fits, seen, player)) {
            player[role] = Some(process);
            return true;
        }
    }
    false
}

/// `mpirun -host pi0:1,pi1:2 …`: role 0's host first; roles without a host join it.
fn launch_line(roles: &[Option<String>], processes: &[String]) -> String {
    let home = match roles.first() {
        Some(Some(host)) => host.as_str(),
        _ => processes.first().map_or("localhost", String::as_str),
    };
    let mut hosts: Vec<(&str, usize)> = vec![];
    for role in roles {
        let host = role.as_deref().unwrap_or(home);
        match hosts.iter_mut().find(|(name, _)| *name == host) {
            Some((_, count)) => *count += 1,
            None => hosts.push((host, 1)),
        }
    }
    let list: Vec<_> = hosts
        .iter()
        .map(|(host, n)| format!("{host}:{n}"))
        .collect();
    let list = list.join(",");
    format!("mpirun -host {list} -n {} autodice-run …", roles.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// All lists of `length` items.
    fn lists<T: Clone>(items: &[T], length: usize) -> Vec<Vec<T>> {
        (0..length).fold(vec![vec![]], |lists, _| {
            let longer = |list: &Vec<T>| {
                let list = list.clone();
                items.iter().map(move |item| {
                    let mut list = list.clone();
                    list.push(item.clone());
                    list
                })
            };
            lists.iter().flat_map(longer).collect()
        })
    }

    fn good(roles: &[Option<String>], processes: &[String], role_of: &[usize]) -> bool {
        let fits = |(process, &role): (usize, &usize)| {
            let host = &processes[process];
            let host_fits = roles[role]
                .as_ref()
                .is_none_or(|wanted| match wanted.as_str() {
                    "localhost" => host == &processes[0],
                    // The hosts of the test have one letter and one domain.
                    _ => wanted[..1] == host[..1] && (wanted.len() == 1 || wanted == host),
                });
            host_fits && (process == 0) == (role == 0)
        };
        role_of.iter().enumerate().all(fits)
    }

    #[test]
    fn a_matching_is_found_where_there_is_one() {
        let roles = [None, Some("a"), Some("a.x"), Some("b"), Some("localhost")];
        let roles = roles.map(|host| host.map(String::from));
        let hosts = ["a.x", "a.y", "b.x"].map(String::from);
        let (mut found, mut refused) = (0, 0);
        for size in 1..=4 {
            let orders: Vec<_> = lists(&(0..size).collect::<Vec<_>>(), size)
                .into_iter()
                .filter(|order| (0..size).all(|role| order.contains(&role)))
                .collect();
            for roles in lists(&roles, size) {
                for hosts in lists(&hosts, size) {
                    let any = orders.iter().any(|order| good(&roles, &hosts, order));
                    match match_roles(&roles, &hosts) {
                        Ok(role_of) => {
                            assert!(orders.contains(&role_of), "{roles:?} {hosts:?}");
                            assert!(good(&roles, &hosts, &role_of), "{roles:?} {hosts:?}");
                            found += 1;
                        }
                        Err(message) => {
                            assert!(!any, "{roles:?} {hosts:?}: {message}");
                            assert!(message.contains("mpirun -host "), "{message}");
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert!(found > 1000 && refused > 1000, "{found} {refused}");
    }

    #[test]
    fn without_hosts_roles_are_ranks() {
        let hosts = ["b", "a", "b"].map(String::from);
        assert_eq!(match_roles(&[None, None, None], &hosts), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn the_message_is_the_command() {
        let roles = ["pi0", "pi1", "pi1"].map(|host| Some(host.to_string()));
        let hosts = ["pi0", "pi1", "pi2"].map(String::from);
        assert_eq!(
            match_roles(&roles, &hosts).unwrap_err(),
            "process 2 runs on pi2, where no rank of the spec is left; start it with: \
             mpirun -host pi0:1,pi1:2 -n 3 autodice-run …"
        );
        assert_eq!(
            match_roles(&roles, &hosts[..2]).unwrap_err(),
            "3 ranks in the spec, 2 started: mpirun -host pi0:1,pi1:2 -n 3 autodice-run …"
        );
        assert!(!same_host("10.0.0", "10.0.0.1") && same_host("PI0", "pi0.local"));
    }
}
