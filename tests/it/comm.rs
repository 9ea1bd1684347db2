//! Links: the same tests over threads and over MPI.

use std::time::{Duration, Instant};

use autodice::comm::threads::{self, Options};
use autodice::comm::{Channel, Event, Header, Link, LinkError};
use autodice::ids::Rank;

#[path = "../common/link_cases.rs"]
mod link_cases;

fn delayed(seed: u64) -> Options {
    Options {
        delay: Some((seed, Duration::from_millis(2))),
        ..Options::default()
    }
}

/// Runs a case at `size` ranks and returns the code that it was ended with, if it was.
fn end_of(case: &str, size: usize) -> Option<i32> {
    let ends = threads::run(size, Options::default(), |link| {
        let watch = link.watch();
        link_cases::run(case, link);
        watch
    });
    ends[0].aborted_with()
}

#[test]
fn every_case_ends_well_at_1_to_4_ranks() {
    for size in 1..=4 {
        for case in link_cases::GOOD {
            assert_eq!(end_of(case, size), None, "{case} at {size}");
        }
    }
}

#[test]
fn every_case_ends_well_whatever_the_delays() {
    for seed in 0..6 {
        threads::run(2 + seed as usize % 3, delayed(seed), |link| {
            link_cases::run("good", link);
        });
    }
}

#[test]
fn a_message_of_another_length_is_an_error_and_not_written() {
    for lengths in [
        "0 1",
        "1 0",
        "100 99",
        "5000 4000",
        "4000 5000",
        "100000 99999",
        "99999 100000",
    ] {
        let code = end_of(&format!("wrong-length {lengths}"), 3);
        assert_eq!(code, Some(link_cases::WRONG_LENGTH_SEEN), "{lengths}");
    }
}

#[test]
fn abort_ends_all_with_the_code() {
    for size in 1..=4 {
        assert_eq!(end_of("abort", size), Some(link_cases::ABORT), "at {size}");
    }
}

#[test]
fn a_link_that_is_dropped_open_ends_the_others() {
    let ends = threads::run(2, Options::default(), |mut link| {
        if link.rank() == Rank(1) {
            return Ok(());
        }
        let end = loop {
            if let Err(error) = link.poll() {
                break error;
            }
        };
        link.close();
        Err(end)
    });
    assert_eq!(ends, [Err(LinkError::Aborted { by: Rank(1) }), Ok(())]);
}

#[test]
#[should_panic(expected = "a rank that panics")]
fn a_rank_that_panics_ends_the_others_and_then_the_caller() {
    end_of("panic", 3);
}

/// The messages that rank 0 sends to the others, in the order of arrival: to whom, and how long
/// after the first was sent.
fn arrivals(size: usize, options: Options, messages: &[(u32, usize)]) -> Vec<(u32, Duration)> {
    let mut links = threads::links(size, options);
    let start = Instant::now();
    for &(to, bytes) in messages {
        let payload = std::sync::Arc::new(vec![0_u8; bytes]);
        links[0].send(Channel::Data, Rank(to), 0, Header::default(), Some(payload));
    }
    for &(to, bytes) in messages {
        links[to as usize].receive(Channel::Data, Rank(0), 0, Box::new(vec![0_u8; bytes]));
    }
    let mut times = Vec::new();
    while times.len() < messages.len() {
        for link in &mut links[1..] {
            if let Some(Event::Received(..)) = link.poll().expect("the link holds") {
                times.push((link.rank().0, start.elapsed()));
            }
        }
    }
    for to in 1..size as u32 {
        let bytes = messages.iter().filter(|message| message.0 == to);
        let bytes: usize = bytes.map(|message| message.1).sum();
        assert_eq!(links[0].sent_bytes(Rank(to)), bytes as u64);
    }
    links.iter_mut().for_each(Link::close);
    times
}

#[test]
fn bandwidth_is_shared_within_a_pair_and_not_between_pairs() {
    let options = Options {
        bandwidth: Some(1e6),
        latency: Duration::from_millis(5),
        ..Options::default()
    };
    // 20 ms each; the pairs (0, 1) and (0, 2) do not wait for each other.
    let times = arrivals(3, options, &[(1, 20_000), (1, 20_000), (2, 20_000)]);
    assert_eq!(times[2].0, 1, "{times:?}");
    for ((_, time), least) in times.iter().zip([25, 25, 45]) {
        assert!(*time >= Duration::from_millis(least), "{times:?}");
    }
}
