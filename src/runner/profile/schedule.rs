//! Which pairs of hosts talk when.

/// Up to so many hosts every pair is measured, one at a time, so that no other pair is in its way
/// (which on a radio channel, or two hosts on one cable, it would be).
pub const ONE_BY_ONE: usize = 8;
/// Up to so many every pair is measured, in the rounds of a tournament: as many pairs at a time as
/// there can be, every host in one of them. More hosts measure the first so many of its rounds,
/// and the median stands for the rest.
pub const ROUNDS: usize = 16;

/// Pairs of `0..hosts`, lower one first; the pairs of one inner list may talk at the same time.
/// Every host is in some pair, where there are two.
pub fn schedule(hosts: usize) -> Vec<Vec<(usize, usize)>> {
    let mut rounds = tournament(hosts);
    match hosts {
        0..=ONE_BY_ONE => rounds
            .into_iter()
            .flatten()
            .map(|pair| vec![pair])
            .collect(),
        _ => {
            rounds.truncate(ROUNDS);
            rounds
        }
    }
}

/// The circle method: host 0 (or the empty chair, where their number is odd) keeps its place, the
/// others move on by one each round.
fn tournament(hosts: usize) -> Vec<Vec<(usize, usize)>> {
    let chairs = hosts + hosts % 2;
    let round = |round: usize| {
        let seat = |at: usize| match at {
            0 => 0,
            _ => 1 + (at - 1 + round) % (chairs - 1),
        };
        let pairs = (0..chairs / 2).map(|at| (seat(at), seat(chairs - 1 - at)));
        let pairs = pairs.map(|(a, b)| (a.min(b), a.max(b)));
        pairs.filter(|&(_, b)| b < hosts).collect()
    };
    (1..chairs.max(1)).map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_pair_meets_once_and_nobody_is_in_two_places() {
        for hosts in 0..=ROUNDS {
            let rounds = schedule(hosts);
            let all: Vec<_> = rounds.iter().flatten().copied().collect();
            let each: BTreeSet<_> = all.iter().copied().collect();
            assert_eq!(all.len(), each.len());
            assert_eq!(all.len(), hosts * hosts.saturating_sub(1) / 2, "{hosts}");
            assert!(all.iter().all(|&(a, b)| a < b && b < hosts));
            for round in &rounds {
                let busy: BTreeSet<_> = round.iter().flat_map(|&(a, b)| [a, b]).collect();
                assert_eq!(busy.len(), 2 * round.len());
            }
            assert!(hosts <= ONE_BY_ONE || rounds.len() <= hosts);
        }
    }

    #[test]
    fn many_hosts_take_few_rounds_with_everyone_in_them() {
        for hosts in [17, 100, 1000] {
            let rounds = schedule(hosts);
            assert_eq!(rounds.len(), ROUNDS);
            let met: BTreeSet<_> = rounds.iter().flatten().flat_map(|&(a, b)| [a, b]).collect();
            assert_eq!(met.len(), hosts);
        }
    }
}
