//! Random CNNs under random specs, number for number; what cannot be is refused in one line.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

use autodice::graph::{Graph, Value};
use autodice::plan::{check, compile, Plan};
use autodice::spec::yaml::{parse, to_yaml};
use autodice::spec::{Exchange, ExchangeSpec, Pairing, ReduceSpec, Spec, SplitSpec};

use crate::support::equality::Fixture;
use crate::support::random_cnn::{random_cnn, INPUT};
use crate::support::random_graph::Random;
use crate::support::random_spec::random_spec;

/// Specs that each model is run with.
const SPECS: u64 = 5;

/// Specs in all; `AUTODICE_CASES` asks for more.
fn cases() -> u64 {
    let asked = std::env::var("AUTODICE_CASES").ok();
    asked.map_or(500, |text| {
        text.parse().expect("AUTODICE_CASES is a number")
    })
}

/// Seeds of the models: all of them, or the one that `AUTODICE_SEED` names.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("AUTODICE_SEED").ok();
    let seed = asked.map(|text| text.parse().expect("AUTODICE_SEED is a number"));
    seed.map_or(0..cases().div_ceil(SPECS), |seed: u64| seed..seed + 1)
}

/// What was tried, by its name: how often it ran.
type Kinds = BTreeMap<&'static str, u64>;

/// What one spec asks for, each name once.
fn kinds(graph: &Graph, spec: &Spec, plan: &Plan) -> Vec<&'static str> {
    let mut found = vec![];
    let exchanges = |exchange: &ExchangeSpec, found: &mut Vec<&'static str>| {
        found.push(match &exchange.at {
            Exchange::Each => "exchange each",
            Exchange::Behind(_) => "blocks",
        });
        found.extend(exchange.overlap.then_some("overlap"));
    };
    for stage in spec.stages.iter().filter(|stage| stage.ranks.len() > 1) {
        match stage.split.as_ref().expect("several ranks have a split") {
            SplitSpec::Rows(rows) => {
                found.push("rows");
                exchanges(&rows.exchange, &mut found);
                found.extend(rows.zone.is_some().then_some("zone"));
                found.extend((!rows.cuts.is_empty()).then_some("cuts"));
            }
            SplitSpec::Grid(grid) => {
                found.push("grid");
                exchanges(&grid.exchange, &mut found);
            }
            SplitSpec::Channels(channels) => {
                found.push("channels");
                if channels.pair == Pairing::Auto && !plan.sums.is_empty() {
                    found.push("pair auto");
                }
                if let Pairing::List(list) = &channels.pair {
                    found.extend(list.iter().map(|pair| match pair.reduce {
                        ReduceSpec::Root => "reduce root",
                        ReduceSpec::Ring => "reduce ring",
                        ReduceSpec::Scatter => "reduce scatter",
                    }));
                }
            }
            SplitSpec::Frames(_) => found.push("frames"),
        }
    }
    found.extend((spec.stages.len() > 1).then_some("several stages"));
    found.extend((graph.inputs.len() > 1).then_some("several inputs"));
    let one_axis = graph.activation(graph.inputs[0]).shape.len() == 3;
    found.extend(one_axis.then_some("one spatial axis"));
    found.sort_unstable();
    found.dedup();
    found
}

/// Runs one spec; why it is refused otherwise.
fn one(
    fixture: &Fixture,
    spec: &Spec,
    (inputs, expected): (&[Vec<Value>], &[Vec<Value>]),
    delays: Option<u64>,
) -> Result<Plan, String> {
    let text = to_yaml(spec);
    let compiled = compile(&fixture.graph, spec);
    let again = parse("spec.yaml", &text);
    let (plan, again) = match (compiled, again) {
        (Ok(plan), Ok(again)) => (plan, again),
        // What the reader refuses is nothing that a user can ask the compiler for.
        (_, Err(error)) => return refused(&error.path, &error.to_string()),
        (Err(error), _) => return refused(&error.path, &error.to_string()),
    };
    assert_eq!(again, *spec, "{text}");
    check(&fixture.graph, &plan, None).expect("the plan is accepted");
    let again = compile(&fixture.graph, &again).expect("a plan again");
    assert_eq!(plan, again, "another plan the second time");
    let count = inputs.len().min(plan.cycle as usize + 2);
    let outputs = fixture.run(&plan, &inputs[..count], delays);
    assert_eq!(outputs.len(), count);
    for (frame, (found, wanted)) in outputs.iter().zip(expected).enumerate() {
        for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            let name = &fixture.graph.activation(fixture.graph.outputs[at]).name;
            // As numbers: tract may fold a scale into a convolution, and then a zero has another
            // sign than in a piece that ends between the two.
            assert_eq!(found.shape, wanted.shape);
            let (found, wanted) = (found.to_f32(), wanted.to_f32());
            assert!(wanted.iter().all(|x| x.is_finite()), "output '{name}'");
            let wrong = found.iter().zip(&wanted).filter(|(a, b)| a != b).count();
            assert!(
                wrong == 0,
                "frame {frame}: {wrong} of output '{name}' differ"
            );
        }
    }
    Ok(plan)
}

/// A refusal has a place in the document and is one line of a length that can be read.
fn refused<T>(path: &str, line: &str) -> Result<T, String> {
    assert!(!path.is_empty(), "no place: {line}");
    assert!(!line.contains('\n') && line.len() < 500, "{line}");
    Err(line.replacen("spec.yaml: ", "", 1))
}

#[test]
fn random_cnns_under_random_specs() {
    let (mut ran, mut refused, mut tried) = (0, 0, Kinds::new());
    let mut refusals: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds() {
        let mut random = Random(seed.wrapping_mul(0x5851_f42d).wrapping_add(7));
        let nodes = 3 + random.below(14);
        println!("AUTODICE_SEED={seed}");
        let fixture = Fixture::new(&random_cnn(&mut random, nodes));
        let inputs = fixture.integers(7, seed * 100, INPUT);
        let expected = fixture.uncut(&inputs);
        for number in 0..SPECS {
            let spec = random_spec(&mut random, &fixture.graph);
            let delays = random.once_in(2).then_some(seed * SPECS + number);
            let case = || one(&fixture, &spec, (&inputs, &expected), delays);
            match catch_unwind(AssertUnwindSafe(case)) {
                Ok(Ok(plan)) => {
                    ran += 1;
                    for kind in kinds(&fixture.graph, &spec, &plan) {
                        *tried.entry(kind).or_default() += 1;
                    }
                }
                Ok(Err(line)) => {
                    refused += 1;
                    println!("seed {seed}, spec {number}: {line}");
                    let place = line.split(": ").next().unwrap_or_default();
                    let key = place.rsplit('.').next().unwrap_or_default();
                    *refusals.entry(key.into()).or_default() += 1;
                }
                Err(panic) => {
                    println!("AUTODICE_SEED={seed}, spec {number}: {spec:#?}");
                    for node in &fixture.graph.nodes {
                        let output = fixture.graph.activation(node.outputs[0]);
                        println!("{} {:?} -> {:?}", node.origin, node.op, output.shape);
                    }
                    resume_unwind(panic);
                }
            }
        }
    }
    println!("{ran} specs ran, {refused} were refused; ran: {tried:?}; refused: {refusals:?}");
    if ran + refused < 500 {
        return;
    }
    assert!(refused * 5 < ran * 2, "{refused} refused, only {ran} ran");
    let every = [
        "rows",
        "grid",
        "channels",
        "frames",
        "zone",
        "cuts",
        "blocks",
        "exchange each",
        "overlap",
        "pair auto",
        "reduce root",
        "reduce ring",
        "reduce scatter",
        "several stages",
        "several inputs",
        "one spatial axis",
    ];
    for kind in every {
        assert!(tried.get(kind) > Some(&3), "{kind}: {tried:?}");
    }
}
