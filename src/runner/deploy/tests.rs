//! Chunks, and a job of which one rank takes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sender::outgoing;
use super::*;
use crate::comm::threads::links;
use crate::model::read::read;
use crate::model::standard::{build, Options};
use crate::model::Weights;
use crate::plan::compile_owners;

#[test]
fn chunks_lie_behind_each_other_and_cover_the_slice() {
    let region = Region(vec![
        Interval::new(2, 3),
        Interval::new(5, 905),
        Interval::new(0, 4096),
    ]);
    let parts = chunks(&region, 4);
    assert!(parts.len() > 3);
    assert_eq!(
        parts.iter().map(Region::volume).sum::<usize>(),
        region.volume()
    );
    assert!(parts.windows(2).all(|w| w[0].0[1].end == w[1].0[1].start));
    let scalar = Region(vec![]);
    assert_eq!(chunks(&scalar, 4), [scalar]);
}

/// A model of many weights on three ranks, rank 0 with nothing of it.
fn job() -> (Arc<Program>, Arc<dyn Weights + Send + Sync>) {
    let options = Options {
        size: Some((64, 64)),
        width: Some(0.25),
        ..Options::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let model = build("vgg11", &options).expect("a model");
    model.write(&path).expect("the model is written");
    let source = read(&path, &[]).expect("the model is read");
    let nodes = source.graph.nodes.len();
    let owners: Vec<Rank> = (0..nodes).map(|node| Rank::new(1 + node / 8 % 2)).collect();
    let program = Program {
        plan: compile_owners(&source.graph, &owners, 3, 1),
        graph: source.graph.clone(),
        rank: Rank(0),
    };
    // The file stays open where its folder is gone.
    (Arc::new(program), Arc::new(source))
}

#[test]
fn a_rank_that_takes_nothing_keeps_no_other_waiting() {
    let (program, weights) = job();
    let wanted: Vec<Vec<bool>> = (0..3)
        .map(|rank| vec![true; slices(&program, Rank::new(rank)).len()])
        .collect();
    let chunks = |rank| outgoing(&program, Rank(rank), &wanted[rank as usize]).len();
    let (silent, all) = (1, chunks(2));
    assert!(chunks(silent) > AHEAD && all > AHEAD, "{all}");
    let mut links = links(3, Default::default()).into_iter();
    let mut mails = [(); 3].map(|()| Mailbox::new(links.next().expect("three links")));
    let source = Arc::clone(&weights);
    let mut sender = Sender::start(Arc::clone(&program), weights, wanted.clone());
    let own = Arc::new(Program {
        graph: program.graph.clone(),
        plan: program.plan.clone(),
        rank: Rank(2),
    });
    let (mut taker, from_main) = Taker::start(Arc::clone(&own), &wanted[2]);
    let mut expected = slices(&own, Rank(2)).into_iter();
    let end = Instant::now() + Duration::from_secs(60);
    let mut is_over = false;
    while !is_over {
        assert!(Instant::now() < end, "rank 2 waits for rank 1");
        mails.iter_mut().for_each(|mail| drop(mail.poll_all()));
        assert!(
            !sender.step(&mut mails[0]).expect("it reads"),
            "rank 1 has nothing"
        );
        is_over = taker.step(&mut mails[2]).expect("it takes");
        for value in from_main.try_iter() {
            let slice = expected.next().expect("no slice too many");
            // Also byte by byte: chunks go through buffers that were used before.
            let read = source.slice(slice.weight, &slice.region);
            assert_eq!(value, read.expect("it reads"));
        }
    }
    assert_eq!(expected.next(), None);
    let order = &sender.orders[silent as usize - 1];
    assert_eq!((order.asked, order.under_way.len()), (0, AHEAD));
    mails.iter_mut().for_each(Mailbox::close);
}
