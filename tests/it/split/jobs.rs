//! Whole jobs over ranks as threads: set-up, deployment, roles, and how they end.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use autodice::comm::threads::{self, Options};
use autodice::comm::Link;
use autodice::ids::Rank;
use autodice::model::builder::{Conv, ModelBuilder, Weights};
use autodice::model::{folder, read::read};
use autodice::plan::{compile, tally};
use autodice::runner::{run_job, End, Finished, Place, Request, INTERRUPTED, WRONG_INPUT};
use autodice::spec::yaml::parse;

/// conv on rank 0, relu on rank 1, the matrix on rank 2.
const SPEC: &str = "
model: model.onnx
input: {frames: {synthetic: {count: 9, seed: 2}}}
stages:
  - {until: conv, ranks: [0]}
  - {until: flat, ranks: [1]}
  - {ranks: [2]}
";

struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new(spec: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let weights = Weights::Integers { seed: 3, max: 1 };
        let mut model = ModelBuilder::with_weights("tiny", weights);
        let x = model.input("x", &[1, 2, 10, 10]);
        let x = model.conv("conv", x, Conv::new(4, 3).pad(1));
        let x = model.relu("relu", x);
        let x = model.flatten("flat", x);
        let x = model.gemm("fc", x, 2000);
        model.output(x);
        model
            .write(&place.path("model.onnx"))
            .expect("the model is written");
        std::fs::write(place.path("spec.yaml"), spec).expect("the spec is written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self) -> Request {
        Request {
            spec: self.path("spec.yaml"),
            quiet: true,
            ..Request::default()
        }
    }
}

/// What a rank came back with, and what it had sent to each rank.
type Ended = (Result<Option<Finished>, End>, Vec<u64>);

/// A job whose ranks are on these hosts.
fn job(hosts: &[&str], request: &Request, interrupt: bool) -> Vec<Ended> {
    let options = Options {
        delay: Some((hosts.len() as u64, Duration::from_millis(2))),
        ..Options::default()
    };
    let interrupt = AtomicBool::new(interrupt);
    threads::run(hosts.len(), options, |mut link| {
        let place = Place {
            host: hosts[link.rank().index()].to_string(),
            library: String::new(),
            interrupt: &interrupt,
        };
        let ended = run_job(&mut link, &place, request);
        let sent = (0..hosts.len()).map(|rank| link.sent_bytes(Rank::new(rank)));
        let sent = sent.collect();
        match &ended {
            Ok(_) | Err(End::Agreed(_)) => link.close(),
            Err(End::Abort(failure) | End::Stopped(failure, _)) => link.abort(failure.code),
        }
        (ended, sent)
    })
}

/// Every rank leaves in order, with this code.
fn assert_agreed(ended: &[Ended], code: i32) {
    for (rank, (ended, _)) in ended.iter().enumerate() {
        assert!(
            matches!(ended, Err(End::Agreed(found)) if *found == code),
            "{rank}: {ended:?}"
        );
    }
}

fn finished(mut ended: Vec<Ended>) -> Finished {
    for (ended, _) in &ended[1..] {
        assert!(matches!(ended, Ok(None)), "{ended:?}");
    }
    let (first, _) = ended.swap_remove(0);
    first
        .expect("rank 0 ends well")
        .expect("rank 0 has the report")
}

#[test]
fn a_job_deploys_every_rank_its_own_weights() {
    let place = Workplace::new(SPEC);
    let request = Request {
        verify: true,
        warmup: 2,
        ..place.request()
    };
    let ended = job(&["a"; 3], &request, false);
    // 3.2 MB of weights for rank 2 in chunks, none for rank 1; what else travels is short.
    let sent = &ended[0].1;
    let weights = 4 * 2000 * (400 + 1);
    assert!((weights..weights + 100_000).contains(&sent[2]), "{sent:?}");
    assert!(sent[1] < 100_000, "{sent:?}");
    let finished = finished(ended);
    assert_eq!((finished.code, finished.interrupted), (0, false));
    assert_eq!(finished.collected.latencies.len(), 9);
    let comparison = finished.collected.comparison.expect("a comparison");
    assert_eq!((comparison.wrong, comparison.max_rel_diff), (0, 0.0));
    let parameters = finished.ranks.iter().map(|rank| rank.parameters_bytes);
    assert_eq!(
        parameters.collect::<Vec<_>>(),
        [4 * (4 * 2 * 9 + 4), 0, weights]
    );
    let received: Vec<_> = finished
        .ranks
        .iter()
        .map(|rank| rank.received_bytes)
        .collect();
    assert_eq!(received, [8000, 1600, 1600]);
    assert!(finished.ranks.iter().all(|rank| rank.compute_ms.count == 9));
}

#[test]
fn processes_play_the_roles_of_their_hosts() {
    let hosts = "ranks: [{host: a}, {host: b}, {host: c}]\n";
    let place = Workplace::new(&format!("{SPEC}{hosts}"));
    let request = Request {
        verify: true,
        ..place.request()
    };
    // The process on host c plays role 2 whatever its number.
    let ended = job(&["a", "c", "b"], &request, false);
    assert!(ended[0].1[1] > 3_000_000 && ended[0].1[2] < 100_000);
    let finished = finished(ended);
    let of = |rank: usize| {
        let rank = &finished.ranks[rank];
        (rank.host.as_str(), rank.stages.as_str())
    };
    assert_eq!(
        [of(0), of(1), of(2)],
        [("a", "conv"), ("b", "relu … flat"), ("c", "fc")]
    );
    let comparison = finished.collected.comparison.expect("a comparison");
    assert_eq!((finished.code, comparison.wrong), (0, 0));
    assert_agreed(&job(&["a", "b", "b"], &request, false), WRONG_INPUT);
    assert_agreed(&job(&["b", "a", "c"], &request, false), WRONG_INPUT);
}

#[test]
fn a_failure_in_set_up_is_every_ranks() {
    let place = Workplace::new(SPEC);
    // Rank 0's: no spec, and more ranks than the spec has.
    let mut request = place.request();
    request.spec = place.path("none.yaml");
    assert_agreed(&job(&["a"; 3], &request, false), WRONG_INPUT);
    for ranks in [1, 2, 4] {
        assert_agreed(
            &job(&vec!["a"; ranks], &place.request(), false),
            WRONG_INPUT,
        );
    }
    // Another rank's: its folder has lost a file; before that, all have their folders.
    let spec = parse("spec.yaml", SPEC).expect("a spec");
    let source = read(&place.path("model.onnx"), &[]).expect("the model");
    let plan = compile(&source.graph, &spec).expect("a plan");
    let cut = place.path("cut");
    folder::write(&cut, SPEC, &source.graph, &plan, &source, false).expect("folders");
    std::fs::remove_file(place.path("model.onnx")).expect("the model goes away");
    let mut request = place.request();
    request.spec = cut.join("spec.yaml");
    let ended = job(&["a"; 3], &request, false);
    assert!(
        ended[0].1[2] < 100_000,
        "weights travelled: {:?}",
        ended[0].1
    );
    let whole = finished(ended);
    assert_eq!((whole.code, whole.collected.latencies.len()), (0, 9));
    let weights = tally(&source.graph, &plan).expect("a tally").ranks[2].weight_bytes;
    assert_eq!(whole.ranks[2].parameters_bytes, weights);
    for file in std::fs::read_dir(cut.join("rank-1"))
        .expect("a folder")
        .flatten()
    {
        let kept = std::fs::read(file.path()).expect("a file");
        std::fs::remove_file(file.path()).expect("it goes away");
        assert_agreed(&job(&["a"; 3], &request, false), WRONG_INPUT);
        std::fs::write(file.path(), kept).expect("it comes back");
    }
    assert_eq!(finished(job(&["a"; 3], &request, false)).code, 0);
}

#[test]
fn told_to_stop_before_the_first_frame_all_leave_with_75() {
    let place = Workplace::new(SPEC);
    let request = Request {
        output: Some(place.path("out")),
        ..place.request()
    };
    let mut ended = job(&["a"; 3], &request, true);
    assert_agreed(&ended[1..], INTERRUPTED);
    let first = ended
        .swap_remove(0)
        .0
        .expect("in order")
        .expect("the report");
    assert_eq!((first.code, first.interrupted), (INTERRUPTED, true));
    let rows = std::fs::read_to_string(place.path("out/frames.csv")).expect("frames.csv");
    assert_eq!(rows.lines().count(), 1 + first.collected.latencies.len());
}
