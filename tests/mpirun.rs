//! Tests under mpirun.
//!
//! A test starts a job with `mpirun`, either of autodice-run (`specs`, `failures`) or of this
//! binary itself, whose test `as_a_rank` then is one rank's program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use autodice::binding::{current_mask, Launcher, Mask, Place};
use autodice::comm::collective::{gather_bytes, nap, CollectiveError};
use autodice::comm::world::{Form, World};
use autodice::comm::{Channel, Event, Header, Landing, Link, Mailbox, Payload};
use autodice::ids::Rank;

#[path = "mpirun/beside.rs"]
mod beside;
#[path = "common/byte_forms.rs"]
mod byte_forms;
#[path = "mpirun/bytes.rs"]
mod bytes;
#[path = "mpirun/failures.rs"]
mod failures;
#[path = "common/job.rs"]
mod job;
#[path = "mpirun/lab.rs"]
mod lab;
#[path = "common/link_cases.rs"]
mod link_cases;
#[path = "mpirun/profile.rs"]
mod profile;
#[path = "common/skip.rs"]
mod skip;
#[path = "mpirun/specs.rs"]
mod specs;
#[path = "mpirun/splits.rs"]
mod splits;
#[path = "mpirun/workplace.rs"]
mod workplace;

use job::{Job, Mpirun};

/// The variable that says which case this process is a rank of.
const CASE: &str = "AUTODICE_TEST_CASE";
/// The variable that gives messages another form: "SHORT CHUNK" in bytes.
const FORM: &str = "AUTODICE_TEST_FORM";

/// Runs a case of this binary's own as every rank.
fn case(mpirun: Mpirun, case: &str) -> Job {
    let own = std::env::current_exe().expect("this binary has a path");
    mpirun
        .env(CASE, case)
        .run(&own, &["--exact", "as_a_rank", "--nocapture"])
}

/// No test of its own: one rank of a job that another test started.
#[test]
fn as_a_rank() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let mut form = Form::default();
    if let Ok(text) = std::env::var(FORM) {
        let (short, chunk) = text.split_once(' ').expect("two numbers");
        form.short = short.parse().expect("bytes");
        form.chunk = chunk.parse().expect("bytes");
    }
    let world = World::init_with(form).expect("MPI starts");
    assert!(World::init().is_err(), "a process is one rank, once");
    assert!(world.version().contains(' ') && !world.version().contains('\n'));
    assert!(!world.host().is_empty());
    if let Some(spec) = case.strip_prefix("count ") {
        return byte_forms::run_counted(world, spec.as_ref()).expect("a counted job ends well");
    }
    match case.as_str() {
        "ping-pong" => ping_pong(world),
        "exchange" => exchange(world),
        "mask" => mask(world),
        "set-up" => set_up(world),
        case => link_cases::run(case, world),
    }
}

const TCP: [&str; 3] = ["--mca", "btl", "tcp,self"];

#[test]
fn every_case_ends_well_at_1_to_4_ranks() {
    for ranks in 1..=4 {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        case(mpirun, "good").expect_code(0, &format!("at {ranks}"));
    }
}

#[test]
fn every_case_ends_well_over_tcp_and_in_another_form() {
    for (ranks, form) in [(2, "4096 1073741824"), (3, "0 1000"), (2, "100000 65536")] {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        let job = case(mpirun.flags(&TCP).env(FORM, form), "good");
        job.expect_code(0, &format!("{form} at {ranks}"));
    }
}

#[test]
fn a_message_of_another_length_is_an_error_and_not_written() {
    let lengths = [
        "0 1",
        "1 0",
        "100 99",
        "3000 20000000",
        "20000000 3000",
        "20000000 19999999",
        "19999999 20000000",
    ];
    for lengths in lengths {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        let job = case(mpirun, &format!("wrong-length {lengths}"));
        job.expect_code(link_cases::WRONG_LENGTH_SEEN, lengths);
    }
}

#[test]
fn abort_ends_all_with_the_code() {
    for ranks in [1, 3] {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        let job = case(mpirun, "abort");
        job.expect_code(link_cases::ABORT, &format!("at {ranks}"));
        assert!(job.took < Duration::from_secs(20), "{job}");
    }
}

#[test]
fn a_rank_that_panics_or_drops_its_link_ends_the_job() {
    for end in ["panic", "drop"] {
        let Some(mpirun) = Mpirun::new(3) else {
            return;
        };
        let job = case(mpirun, end);
        job.expect_code(101, end);
    }
}

/// Messages of the ping-pong, in bytes.
const LENGTHS: [usize; 9] = [
    0, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000, 16_000_000,
];

/// Half a round trip of `bytes` through the Link, in seconds.
fn half_trip(
    world: &mut World,
    bytes: &Arc<Vec<u8>>,
    landing: &mut Option<Box<dyn Landing>>,
) -> f64 {
    let other = Rank(1 - world.rank().0);
    let start = Instant::now();
    let payload = Some(Arc::clone(bytes) as Arc<dyn Payload>);
    let into = landing.take().expect("the landing came back");
    world.receive(Channel::Data, other, 1, into);
    if world.rank() == Rank(0) {
        world.send(Channel::Data, other, 1, Header::default(), payload.clone());
    }
    let mut sent = false;
    while landing.is_none() || !sent {
        match world.poll().expect("the link holds") {
            Some(Event::Sent(_)) => sent = true,
            Some(Event::Received(_, _, back)) => {
                *landing = Some(back);
                if world.rank() == Rank(1) {
                    world.send(Channel::Data, other, 1, Header::default(), payload.clone());
                }
            }
            None => {}
        }
    }
    start.elapsed().as_secs_f64() / 2.0
}

/// Two ranks send a message to and fro, by the Link and by bare MPI in turns; rank 0 prints the
/// medians and the Link's share of the bare bandwidth.
fn ping_pong(mut world: World) {
    let other = Rank(1 - world.rank().0);
    for bytes in LENGTHS {
        let payload = Arc::new(vec![1_u8; bytes]);
        let mut landing: Option<Box<dyn Landing>> = Some(Box::new(vec![2_u8; bytes]));
        let (mut link, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let ours = (0..6).map(|_| half_trip(&mut world, &payload, &mut landing));
            let ours: Vec<f64> = ours.collect();
            let theirs = world.ping_pong(other, bytes, 6, |_| {});
            // The first ones of a batch build connections, touch pages and fill caches.
            link.extend(&ours[2..]);
            bare.extend(&theirs[2..]);
        }
        let median = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2] * 1e6
        };
        let (link, bare) = (median(&mut link), median(&mut bare));
        if world.rank() == Rank(0) {
            let share = bare / link;
            println!("ping-pong {bytes} B: link {link:.1} us, bare {bare:.1} us, {share:.2}");
        }
    }
    assert_eq!(world.sent_messages(other), 9 * 6 * LENGTHS.len() as u64);
    assert_eq!(
        world.sent_bytes(other),
        9 * 6 * LENGTHS.iter().sum::<usize>() as u64
    );
    world.close();
}

/// Two ranks send 4 MB to each other, rank 1 while those of rank 0 are on their way, and again;
/// rank 0 prints how long the quickest took.
fn exchange(mut world: World) {
    let other = Rank(1 - world.rank().0);
    let is_first = world.rank() == Rank(0);
    let bytes = Arc::new(vec![1_u8; 4_000_000]);
    let mut quickest = f64::INFINITY;
    for _ in 0..4 {
        let start = Instant::now();
        world.receive(Channel::Data, other, 1, Box::new(vec![2_u8; bytes.len()]));
        let mut events = if is_first { 3 } else { 2 };
        let mut begun = None;
        if is_first {
            world.send(Channel::Data, other, 2, Header::default(), None);
            begun = Some(start);
        } else {
            world.receive(Channel::Data, other, 2, Box::new(vec![]));
            while begun.is_none() {
                let event = world.poll().expect("the link holds");
                begun = event.map(|_| Instant::now() + Duration::from_millis(50));
            }
        }
        while events > 0 {
            if begun.take_if(|at| *at <= Instant::now()).is_some() {
                let payload = Arc::clone(&bytes) as Arc<dyn Payload>;
                world.send(Channel::Data, other, 1, Header::default(), Some(payload));
            }
            events -= usize::from(world.poll().expect("the link holds").is_some());
        }
        quickest = quickest.min(start.elapsed().as_secs_f64());
    }
    if is_first {
        println!("exchange took {quickest:.3} s");
    }
    world.close();
}

#[test]
fn a_long_message_takes_about_as_long_as_in_bare_mpi() {
    for (transport, flags) in [("shared memory", &[][..]), ("tcp", &TCP)] {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        let job = case(mpirun.flags(flags), "ping-pong");
        job.expect_code(0, transport);
        let mut shares = Vec::new();
        for line in job.stdout.lines().filter(|line| line.contains(" us, ")) {
            println!("{transport}: {line}");
            let share = line.rsplit(' ').next().expect("a share");
            shares.push(share.parse::<f64>().expect("a number"));
        }
        // Of the three longest, on however busy a machine: a copy or a delay too many is seen.
        let best = shares[LENGTHS.len() - 3..]
            .iter()
            .copied()
            .fold(0.0, f64::max);
        assert!(best > 0.6, "{transport}: {job}");
    }
}

/// Rank 0 sends rank 1 a long message of set-up, which does not count as sent before rank 1 asks
/// for it: that is when rank 0 has looked for a while and says so.
fn set_up(mut world: World) {
    let other = Rank(1 - world.rank().0);
    let landing = |bytes| Box::new(vec![0_u8; bytes]) as Box<dyn Landing>;
    let header = Header::default();
    if world.rank() == Rank(0) {
        let payload: Arc<dyn Payload> = Arc::new(vec![7_u8; 100_000]);
        world.send(Channel::Deploy, other, 1, header, Some(payload));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            let event = world.poll().expect("the link holds");
            assert!(event.is_none(), "sent to a rank that waits for nothing");
        }
        world.send(Channel::Control, other, 1, header, None);
    } else {
        world.receive(Channel::Control, other, 1, landing(0));
    }
    let mut events = 0;
    while events < 2 {
        let Some(event) = world.poll().expect("the link holds") else {
            continue;
        };
        events += 1;
        if let (Event::Received(..), 1) = (event, events) {
            world.receive(Channel::Deploy, other, 1, landing(100_000));
        }
    }
    world.close();
}

#[test]
fn a_long_message_of_set_up_counts_as_sent_when_it_is_asked_for() {
    // Over TCP, Open MPI takes such a message into memory of its own on the other side: of another
    // channel it would count as sent at once.
    for flags in [&[][..], &TCP] {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        case(mpirun.flags(flags), "set-up").expect_code(0, &format!("{flags:?}"));
    }
}

/// Rank 0 prints how many cores every rank's mask has, and how many threads of all ranks share
/// rank 0's.
fn mask(world: World) {
    let mask = current_mask().expect("a mask");
    let line = format!("{}/{}/{mask}", world.host(), mask.count());
    let mut mail = Mailbox::new(world);
    let lines = gather_bytes::<_, CollectiveError>(&mut mail, line.into_bytes(), 1000, &mut nap);
    let lines = lines.expect("a gathering");
    let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
    let ranks: Vec<_> = lines
        .iter()
        .map(|line| {
            let line = text(line);
            let (host, rest) = line.split_once('/').expect("a host");
            let (_, mask) = rest.split_once('/').expect("a count");
            (host.to_owned(), Mask::parse(mask).expect("a list"), 1)
        })
        .collect();
    if !ranks.is_empty() {
        let counts: Vec<_> = ranks.iter().map(|rank| rank.1.count()).collect();
        let sharing = Place::among(&ranks, 0).total;
        println!("masks {counts:?} sharing {sharing}");
    }
    let (launcher, rank, size) = Launcher::detect(|name| std::env::var(name).ok());
    let own = (mail.rank().index(), mail.size());
    assert_eq!((launcher, (rank, size)), (Launcher::OpenMpi, own));
    mail.close();
}

#[test]
fn the_launchers_mask_is_seen_as_it_is() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cases = [
        (1, "core", "masks [1] sharing 1".to_owned()),
        (2, "none", format!("masks [{cores}, {cores}] sharing 2")),
    ];
    for (ranks, bind, wanted) in cases {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        let job = case(mpirun.flags(&["--bind-to", bind]), "mask");
        job.expect_code(0, bind);
        assert!(job.stdout.contains(&wanted), "{wanted}: {job}");
    }
}
