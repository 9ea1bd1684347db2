//! Random models under random assignments bit for bit, and the standard architectures.

use std::time::Duration;

use autodice::comm::threads::Options;
use autodice::frames::compare;
use autodice::graph::{Graph, Value};
use autodice::ids::Rank;
use autodice::model::builder::{Conv, Handle, ModelBuilder, Pool, Weights};
use autodice::model::standard;
use autodice::plan::{check, compile, Plan};
use autodice::spec::yaml::{parse, to_yaml};
use autodice::spec::{RunSpec, Spec, StageNodes, StageSpec};

use crate::support::equality::{random_integers, Fixture};
use crate::support::harness::run_plan;
use crate::support::random_graph::{random_owners, Random};

/// Models of the random test; `AUTODICE_CASES` asks for more.
fn cases() -> u64 {
    let asked = std::env::var("AUTODICE_CASES").ok();
    asked.map_or(60, |text| text.parse().expect("AUTODICE_CASES is a number"))
}

/// Residual Adds, Concats, branches, pools; one or two inputs, several outputs. Values stay
/// small integers, which float arithmetic keeps exactly in any order.
fn random_model(random: &mut Random) -> ModelBuilder {
    let seed = random.next();
    let mut b = ModelBuilder::with_weights("random", Weights::Integers { seed, max: 2 });
    let shape = [
        1,
        1 + random.below(4),
        4 + random.below(5),
        4 + random.below(5),
    ];
    let mut made: Vec<Handle> = vec![b.input("in0", &shape)];
    if random.once_in(3) {
        made.push(b.input("in1", &shape));
    }
    let inputs = made.len();
    let mut read = vec![false; inputs];
    for i in 0..3 + random.below(14) {
        let index = match random.below(3) {
            0 => random.below(made.len()),
            _ => made.len() - 1,
        };
        let (x, name) = (made[index], format!("n{i}"));
        let [_, channels, height, width] = *b.shape(x) else {
            unreachable!("every activation is a picture");
        };
        let alike: Vec<usize> = (0..made.len())
            .filter(|&other| b.shape(made[other])[2..] == [height, width])
            .collect();
        let other = alike[random.below(alike.len())];
        let same = b.shape(made[other])[1] == channels;
        read[index] = true;
        let y = match random.below(8) {
            0 | 1 if same && other != index => {
                read[other] = true;
                b.add(&name, x, made[other])
            }
            2 if other != index && channels < 12 => {
                read[other] = true;
                b.concat(&name, &[x, made[other]])
            }
            3 if height >= 3 && width >= 3 => b.max_pool(&name, x, Pool::new(2).stride(2)),
            4 => b.conv(&name, x, Conv::new(channels, 3).pad(1).groups(channels)),
            5 => b.relu(&name, x),
            _ => {
                let kernel = [1, 3][random.below(2)];
                b.conv(
                    &name,
                    x,
                    Conv::new(1 + random.below(6), kernel).pad(kernel / 2),
                )
            }
        };
        // What grows is cut back, now and then by a node that other nodes read around.
        let y = b.clip(&format!("c{i}"), y, -8.0, 8.0);
        made.push(y);
        read.push(false);
    }
    let ends = (inputs..made.len()).filter(|&at| !read[at] || random.once_in(8));
    for at in ends.collect::<Vec<_>>() {
        b.output(made[at]);
    }
    b
}

fn spec_of(stages: Vec<StageSpec>, in_flight: Option<u32>) -> Spec {
    let run = RunSpec {
        in_flight,
        ..RunSpec::default()
    };
    Spec {
        run,
        ..crate::support::specs::spec(stages)
    }
}

fn stage(nodes: StageNodes, rank: usize) -> StageSpec {
    StageSpec {
        nodes,
        ranks: vec![rank],
        split: None,
    }
}

/// Ranks by their first appearance, so that there is no gap.
fn without_gaps(owners: &mut [usize]) {
    let mut seen: Vec<usize> = vec![];
    for owner in owners {
        let at = seen.iter().position(|known| known == owner);
        *owner = at.unwrap_or_else(|| {
            seen.push(*owner);
            seen.len() - 1
        });
    }
}

/// Lists of any nodes for every rank.
fn interleaved(graph: &Graph, owners: &[usize]) -> Vec<StageSpec> {
    let ranks = owners.iter().max().map_or(0, |last| last + 1);
    let stage_of = |rank: usize| {
        let own = graph.node_ids().filter(|id| owners[id.index()] == rank);
        let names = own.map(|id| graph.node(id).name.clone()).collect();
        stage(StageNodes::List(names), rank)
    };
    (0..ranks).map(stage_of).collect()
}

/// Runs of nodes, each with an owner; a rank may own several.
fn contiguous(graph: &Graph, owners: &[usize]) -> Vec<StageSpec> {
    let mut stages = vec![];
    for id in graph.node_ids() {
        let owner = owners[id.index()];
        match owners.get(id.index() + 1) {
            None => stages.push(stage(StageNodes::Rest, owner)),
            Some(&next) if next != owner => {
                let until = StageNodes::Until(graph.node(id).name.clone());
                stages.push(stage(until, owner));
            }
            Some(_) => {}
        }
    }
    stages
}

/// The plan of a spec that went through YAML, checked.
fn plan_of(graph: &Graph, spec: &Spec) -> Plan {
    let text = to_yaml(spec);
    let again = parse("spec.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again, *spec, "{text}");
    let plan = compile(graph, &again).unwrap_or_else(|error| panic!("{error}\n{text}"));
    check(graph, &plan, None).unwrap_or_else(|error| panic!("{error}\n{text}"));
    plan
}

fn integers(graph: &Graph, frames: u64, seed: u64) -> Vec<Vec<Value>> {
    let frame = |number: u64| {
        let input = |(at, id): (usize, &autodice::ids::ActivationId)| {
            let shape = &graph.activation(*id).shape;
            random_integers(seed + number * 10 + at as u64, shape, 4)
        };
        graph.inputs.iter().enumerate().map(input).collect()
    };
    (0..frames).map(frame).collect()
}

#[test]
fn random_models_under_random_assignments() {
    let (mut messages, mut most_pieces, mut most_outputs) = (0, 0, 0);
    for seed in 0..cases() {
        let mut random = Random(seed.wrapping_mul(0x1234_5677).wrapping_add(99));
        let fixture = Fixture::new(&random_model(&mut random));
        let graph = &fixture.graph;
        let ranks = 1 + random.below(4);
        let mut owners = random_owners(&mut random, graph.nodes.len(), ranks);
        without_gaps(&mut owners);
        let stages = match random.once_in(2) {
            true => contiguous(graph, &owners),
            false => interleaved(graph, &owners),
        };
        let in_flight = (!random.once_in(3)).then(|| 1 + random.below(5) as u32);
        let plan = plan_of(graph, &spec_of(stages, in_flight));
        let frames = integers(graph, 5, seed);
        println!(
            "case {seed}: {} nodes, {} ranks",
            graph.nodes.len(),
            plan.ranks.len()
        );
        fixture.assert_exact(&plan, &frames, seed as u32);
        messages += plan.transfers.len();
        most_outputs = most_outputs.max(graph.outputs.len());
        let pieces = plan.ranks.iter().map(|rank| rank.pieces.len()).max();
        most_pieces = most_pieces.max(pieces.unwrap_or(0));
    }
    // The generator makes what the test is about.
    let wide = (messages as u64 > cases(), most_pieces > 3, most_outputs > 2);
    assert_eq!(
        wide,
        (true, true, true),
        "{messages} {most_pieces} {most_outputs}"
    );
}

#[test]
fn standard_architectures_in_three_stages() {
    let small = |size| (Some((size, size)), None);
    let cases = [
        ("lenet5", (None, None)),
        ("resnet18", (Some((64, 64)), Some(0.25))),
        ("densenet121", small(32)),
        ("googlenet", small(64)),
        ("squeezenet", small(64)),
        ("mobilenet_v2", small(64)),
        ("fcn", (Some((64, 64)), Some(0.125))),
    ];
    for (at, (name, (size, width))) in cases.into_iter().enumerate() {
        let options = standard::Options {
            seed: 5,
            size,
            width,
            integers: None,
        };
        let fixture = Fixture::new(&standard::build(name, &options).expect("a model"));
        let graph = &fixture.graph;
        let mut random = Random(77 + at as u64);
        let nodes = graph.nodes.len();
        let first = 1 + random.below(nodes - 2);
        let second = first + 1 + random.below(nodes - first - 1);
        let owner = |node| usize::from(node >= first) + usize::from(node >= second);
        let owners: Vec<_> = (0..nodes).map(owner).collect();
        let plan = plan_of(graph, &spec_of(contiguous(graph, &owners), None));
        assert_eq!(plan.ranks.len(), 3);
        let frames = integers(graph, 3, at as u64);
        let expected = fixture.uncut(&frames);
        let options = Options {
            delay: Some((at as u64, Duration::from_millis(3))),
            ..Options::default()
        };
        let pieces = |rank| fixture.pieces(&plan, rank);
        let start = |rank: Rank| Duration::from_millis(u64::from(rank.0) * 5);
        let (outputs, ran) = run_plan(graph, &plan, options, &frames, pieces, start);
        assert!(ran.iter().all(|rank| rank.driven.is_ok()), "{name}");
        assert_eq!(outputs.len(), expected.len());
        for (found, expected) in outputs.iter().flatten().zip(expected.iter().flatten()) {
            let largest = expected
                .to_f32()
                .iter()
                .fold(0.0_f32, |a, b| a.max(b.abs()));
            assert!(largest > 1e-3, "{name}: outputs of zeros prove nothing");
            let comparison = compare(found, expected);
            assert_eq!(comparison.wrong, 0, "{name} cut at {first} and {second}");
        }
    }
}
