//! What overlapping halo rows with the interior saves, over a network of a given rate.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use autodice::comm::Link;
use autodice::graph::Graph;
use autodice::ids::{PieceId, Rank, TransferId};
use autodice::model::read::read;
use autodice::plan::{Plan, Transfer};
use autodice::runner::Kind;
use serde::{Deserialize, Serialize};

use crate::lab::{is_over, median, Case, Quota, Rule, Sample};
use crate::launch::print_sample;
use crate::models;
use crate::net;
use crate::ranks::{self, load, probed, run, told, Ran};
use crate::record::{Bar, Record};

const FRAMES: usize = 5;
const SKIPPED: usize = 2;

/// Rates as `tc` and as people write them, and whether the gain there is a bar.
const RATES: [(&str, &str, bool); 2] = [
    ("100mbit", "100 Mbit/s", true),
    ("1gbit", "1 Gbit/s", false),
];

/// Bytes of the ping-pongs; the second is a row of the largest activation.
const RAW: [usize; 3] = [64, 224 * 64 * 4, 1 << 20];

/// The part.
///
/// # Errors
/// Where the model is missing or a job fails.
pub fn overlap_net(folder: &Path, quota: Quota) -> Result<Record> {
    let model = models::file(folder, "vgg16")?;
    let (mut samples, mut bars, mut notes) = (vec![], vec![], vec![]);
    for (rate, name, is_bar) in RATES {
        let rate = format!("rate={rate}");
        let arguments = [
            "overlap-net".to_string(),
            model.display().to_string(),
            name.to_string(),
            quota.wanted.to_string(),
            quota.limit.as_secs_f64().to_string(),
        ];
        let changes = [("e1", &rate[..]), ("e2", &rate)];
        let (measured, said) = net::measured("pair", &changes, name, &arguments)?;
        notes.extend(said);
        let case = Case::of(&measured, name);
        let what = |what: &str| format!("{what}, vgg16 by rows on 2 hosts, {name}");
        let bar = |bar: &'static str| if is_bar { bar } else { "" };
        let gain = (|case: &Case<'_>| case.median("gain"), "×");
        let faster = what("latency without overlap / with");
        bars.push(Bar::judged((&faster, bar("> 1×")), &case, gain, |g| {
            g > 1.0
        }));
        let crossing = (|case: &Case<'_>| case.median("crossing_ms"), " ms");
        let crosses = what("halo under way while its sender's interior runs, of a frame");
        bars.push(Bar::judged(
            (&crosses, bar("> 0 ms")),
            &case,
            crossing,
            |c| c > 0.0,
        ));
        samples.extend(measured);
    }
    let how = "Two MPI processes, each on a core and in a network namespace of its own, joined \
        by a bridge; either end of each host's link is shaped by a token bucket (scripts/lab.sh); \
        TCP. In turn, ABBA: vgg16 by rows, exchange each, whole model, without and with overlap, \
        one frame in flight; latency is the median of 3 of 5 frames. Under way: from the start of \
        Send on one rank to the end of Receive on the other, both on the machine's one clock. \
        Hidden: the share of halos' ways, by time, during which the receiving rank runs a piece.";
    Ok(Record {
        part: "overlap-net",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}

/// What one rank does.
///
/// # Errors
/// Where the job fails.
pub fn worker(model: &Path, name: &str, quota: Quota) -> Result<()> {
    let (mut shared, world) = ranks::start()?;
    let mut link = ranks::pulse(&mut shared);
    let rank = link.rank();
    for bytes in RAW {
        let times = world
            .borrow_mut()
            .ping_pong(Rank(1 - rank.0), bytes, 16, |_| {});
        let one_way = median(&times[4..]);
        if rank == Rank(0) {
            let rate = bytes as f64 * 8.0 / one_way / 1e6;
            println!(
                "{name}: ping-pong of {bytes} bytes: {:.3} ms one way, {rate:.1} Mbit/s",
                one_way * 1e3
            );
        }
    }
    let source = read(model, &[])?;
    let graph = &source.graph;
    let mut cases = vec![];
    for overlap in [false, true] {
        let text = format!(
            "model: {}\nstages: [{{ranks: [0, 1], split: {{by: rows, overlap: {overlap}}}}}]\n\
             run: {{in_flight: 1}}\n",
            model.display()
        );
        let plan = models::plan(graph, &text)?;
        let pieces = load(graph, &plan, rank, &source)?;
        cases.push((models::program(graph, &plan, rank), pieces));
    }
    let (start, mut samples) = (Instant::now(), Vec::new());
    for number in 0.. {
        let (all, probes) = probed(&mut link, |link| {
            let mut own = [Own::default(), Own::default()];
            for turn in [number % 2, 1 - number % 2] {
                let (program, pieces) = &cases[turn];
                ranks::meet(link)?;
                let clock = (Instant::now(), SystemTime::now());
                let ran = run(link, program, pieces, FRAMES, true)?;
                own[turn] = Own::of(&ran, clock, rank)?;
            }
            Ok(own)
        })?;
        if rank == Rank(0) {
            let views: Vec<View<'_>> = (0..2)
                .map(|turn| View {
                    graph,
                    plan: &cases[turn].0.plan,
                    ranks: all.iter().map(|own| &own[turn]).collect(),
                })
                .collect();
            let (off, on) = (&views[0], &views[1]);
            let values = [
                ("off_ms", all[0][0].latency_ms),
                ("on_ms", all[0][1].latency_ms),
                ("gain", all[0][0].latency_ms / all[0][1].latency_ms),
                ("off_compute0_ms", all[0][0].compute_ms),
                ("off_compute1_ms", all[1][0].compute_ms),
                ("on_compute0_ms", all[0][1].compute_ms),
                ("on_compute1_ms", all[1][1].compute_ms),
                ("off_halos_ms", off.halos_ms()),
                ("on_halos_ms", on.halos_ms()),
                ("off_hidden_percent", off.hidden_percent()),
                ("on_hidden_percent", on.hidden_percent()),
                ("crossing_ms", on.crossing_ms()),
            ];
            let sample = Sample::new(name, Rule::Drift, probes, &values);
            print_sample(&sample)?;
            samples.push(sample);
        }
        let over = rank == Rank(0) && is_over(quota, start, &samples);
        if over {
            conclude(name, &samples);
            println!("{name}: {}", evidence(graph, &cases[1].0.plan, &all));
        }
        if told(&mut link, over)? {
            break;
        }
    }
    drop(link);
    ranks::end(&world);
    Ok(())
}

/// Medians of the samples, as a line.
fn conclude(name: &str, samples: &[Sample]) {
    let case = Case::of(samples, name);
    let all = samples.iter().flat_map(|sample| sample.values.keys());
    let names: std::collections::BTreeSet<&String> = all.collect();
    let medians = names
        .iter()
        .map(|name| format!("{name} {:.3}", case.median(name)));
    println!(
        "{name}: medians: {}",
        medians.collect::<Vec<_>>().join(", ")
    );
}

/// What one rank did in one run.
#[derive(Default, Serialize, Deserialize)]
struct Own {
    /// Rank 0 alone.
    latency_ms: f64,
    compute_ms: f64,
    spans: Vec<Span>,
}

/// An interval on the machine's clock, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    what: What,
    sequence: u64,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Run(u32),
    Send(u32),
    Receive(u32),
}

impl Own {
    /// `clock` is one moment before the run by both clocks.
    fn of(ran: &Ran, clock: (Instant, SystemTime), rank: Rank) -> Result<Self> {
        let base = clock.1.duration_since(SystemTime::UNIX_EPOCH)?;
        let at = |moment: Instant| {
            let since: Duration = base + moment.saturating_duration_since(clock.0);
            since.as_nanos() as u64
        };
        let spans = ran.trace.iter().filter_map(|interval| {
            let what = match interval.kind {
                Kind::Run(PieceId(id)) => What::Run(id),
                Kind::Send(TransferId(id)) => What::Send(id),
                Kind::Receive(TransferId(id)) => What::Receive(id),
                Kind::Copy => return None,
            };
            Some(Span {
                what,
                sequence: interval.sequence,
                start: at(interval.start),
                end: at(interval.end),
            })
        });
        let latency_ms = match rank {
            Rank(0) => ran.latency_ms(SKIPPED),
            _ => 0.0,
        };
        Ok(Self {
            latency_ms,
            compute_ms: ran.compute_ms(SKIPPED),
            spans: spans
                .filter(|span| span.sequence >= SKIPPED as u64)
                .collect(),
        })
    }

    fn find(&self, what: What, sequence: u64) -> Option<&Span> {
        let mut spans = self.spans.iter();
        spans.find(|span| span.what == what && span.sequence == sequence)
    }
}

/// Both ranks' spans of one run.
struct View<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    ranks: Vec<&'a Own>,
}

/// A halo's way in one frame.
struct Way<'a> {
    transfer: &'a Transfer,
    sequence: u64,
    start: u64,
    end: u64,
}

impl View<'_> {
    /// Every message between the layers: not of the model's input, and no whole activation that is
    /// gathered.
    fn ways(&self) -> Vec<Way<'_>> {
        let mut ways = vec![];
        for (id, transfer) in (0..).zip(&self.plan.transfers) {
            let lands_in = self.plan.part(transfer.to, transfer.to_part);
            let gathers = lands_in.region == self.graph.whole(lands_in.activation);
            if gathers || self.graph.inputs.contains(&lands_in.activation) {
                continue;
            }
            for sequence in SKIPPED as u64..FRAMES as u64 {
                let sent = self.ranks[transfer.from.index()].find(What::Send(id), sequence);
                let received = self.ranks[transfer.to.index()].find(What::Receive(id), sequence);
                if let (Some(sent), Some(received)) = (sent, received) {
                    let (start, end) = (sent.start, received.end);
                    ways.push(Way {
                        transfer,
                        sequence,
                        start,
                        end,
                    });
                }
            }
        }
        ways
    }

    /// Milliseconds that halos are under way in a frame, all of them added up.
    fn halos_ms(&self) -> f64 {
        let ways = self.ways();
        per_frame_ms(ways.iter().map(|way| way.end.saturating_sub(way.start)))
    }

    /// Of that, the share during which the receiving rank runs a piece.
    fn hidden_percent(&self) -> f64 {
        let ways = self.ways();
        let hidden = ways.iter().map(|way| {
            let runs = self.ranks[way.transfer.to.index()].spans.iter();
            let runs = runs.filter(|span| matches!(span.what, What::Run(_)));
            runs.map(|run| common(way, run)).sum::<u64>()
        });
        per_frame_ms(hidden) / self.halos_ms() * 100.0
    }

    /// Milliseconds of a frame that halos are under way while their sender computes the rows of
    /// the same activation that stay.
    fn crossing_ms(&self) -> f64 {
        let ways = self.ways();
        per_frame_ms(ways.iter().map(|way| self.crossing(way)))
    }

    fn crossing(&self, way: &Way<'_>) -> u64 {
        let runs = self.interior(way.transfer).into_iter().filter_map(|piece| {
            self.ranks[way.transfer.from.index()].find(What::Run(piece), way.sequence)
        });
        runs.map(|run| common(way, run)).sum()
    }

    /// The sender's pieces that write the part which the message reads, and nothing of what
    /// travels.
    fn interior(&self, transfer: &Transfer) -> Vec<u32> {
        let pieces = self.plan.ranks[transfer.from.index()].pieces.iter();
        let inside = (0..).zip(pieces).filter(|(_, piece)| {
            piece.outputs.iter().any(|(part, region)| {
                let own = *part == transfer.from_part;
                own && region.intersect(&transfer.region).is_empty()
            })
        });
        inside.map(|(id, _)| id).collect()
    }
}

fn common(way: &Way<'_>, run: &Span) -> u64 {
    let (start, end) = (way.start.max(run.start), way.end.min(run.end));
    end.saturating_sub(start)
}

fn per_frame_ms(times: impl Iterator<Item = u64>) -> f64 {
    times.sum::<u64>() as f64 / 1e6 / (FRAMES - SKIPPED) as f64
}

/// The last frame's halo that was longest under way during its interior's Run, and the Runs of
/// both ranks meanwhile.
fn evidence(graph: &Graph, plan: &Plan, all: &[[Own; 2]]) -> String {
    let view = View {
        graph,
        plan,
        ranks: all.iter().map(|own| &own[1]).collect(),
    };
    let mut ways = view.ways();
    ways.retain(|way| way.sequence == FRAMES as u64 - 1);
    let Some(way) = ways.iter().max_by_key(|way| view.crossing(way)) else {
        return "no halo".into();
    };
    let at = |moment: u64| (moment as f64 - way.start as f64) / 1e6;
    let runs = [way.transfer.from, way.transfer.to].map(|rank| {
        let spans = view.ranks[rank.index()].spans.iter();
        let runs = spans.filter(|span| matches!(span.what, What::Run(_)) && common(way, span) > 0);
        let runs = runs.map(|run| format!("{:.2}..{:.2}", at(run.start), at(run.end)));
        format!("rank {rank} runs {}", runs.collect::<Vec<_>>().join(", "))
    });
    let interior = view.interior(way.transfer).into_iter().filter_map(|piece| {
        let run = view.ranks[way.transfer.from.index()].find(What::Run(piece), way.sequence)?;
        Some(format!("{:.2}..{:.2}", at(run.start), at(run.end)))
    });
    let name = &graph
        .activation(plan.part(way.transfer.to, way.transfer.to_part).activation)
        .name;
    format!(
        "last frame, halo of {name} from rank {}: sent at 0, received at {:.2} ms; interior of it \
         runs {}; {}",
        way.transfer.from,
        at(way.end),
        interior.collect::<Vec<_>>().join(", "),
        runs.join("; ")
    )
}
