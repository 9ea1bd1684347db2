//! Tests of loading: what travels, how often, and who has it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::Mutex;

use anyhow::Result;

use super::*;
use crate::comm::threads::{self, Options};
use crate::engine::Tensor;
use crate::geometry::Interval;
use crate::model::builder::{Conv, ModelBuilder, Weights as Fill};
use crate::model::cut::cut as cut_from;
use crate::model::read::{read, Source};
use crate::plan::{Plan, PlanBuilder};

/// A model file that counts how often each slice is read.
struct Counting {
    source: Source,
    reads: Mutex<BTreeMap<SliceKey, usize>>,
}

impl Weights for Counting {
    fn slice(&self, weight: WeightId, region: &Region) -> Result<Value> {
        let mut reads = self.reads.lock().unwrap();
        *reads.entry((weight, region.clone())).or_default() += 1;
        drop(reads);
        self.source.slice(weight, region)
    }
}

/// An engine that keeps the sub-models as they are.
#[derive(Clone, Default)]
struct Keeping(Arc<Mutex<Vec<SubModel>>>);

struct Nothing;

impl Engine for Keeping {
    fn load(&self, sub_model: SubModel) -> Result<Box<dyn Executable>> {
        self.0.lock().unwrap().push(sub_model);
        Ok(Box::new(Nothing))
    }
}

impl Executable for Nothing {
    fn run(&mut self, _: &[Arc<Tensor>]) -> Result<Vec<Tensor>> {
        Ok(vec![])
    }
}

fn model(folder: &Path) -> Source {
    let mut model = ModelBuilder::with_weights("chain", Fill::Integers { seed: 7, max: 2 });
    let x = model.input("x", &[1, 2, 12, 8]);
    let a = model.conv("conv_a", x, Conv::new(4, 3).pad(1));
    let b = model.conv("conv_b", a, Conv::new(4, 3).pad(1));
    model.output(b);
    let path = folder.join("model.onnx");
    model.write(&path).unwrap();
    read(&path, &[]).unwrap()
}

/// Both ranks make rows of conv_a in two pieces, the smaller first, with conv_b in between; rank
/// 1 has half of conv_b's kernels for one piece and all of them for another.
fn plan(source: &Source) -> Plan {
    let graph = &source.graph;
    let (a, b) = (graph.nodes_named("conv_a"), graph.nodes_named("conv_b"));
    let [x, y, z] = [
        graph.inputs[0],
        graph.node(a[0]).outputs[0],
        graph.node(b[0]).outputs[0],
    ];
    let rows = |id, start, end| graph.whole(id).with_axis(2, Interval::new(start, end));
    let mut plan = PlanBuilder::new(graph, 2, 1, 1);
    for rank in [Rank(0), Rank(1)] {
        let (from, made, out) = (
            plan.whole(rank, x),
            plan.whole(rank, y),
            plan.whole(rank, z),
        );
        let half = rows(z, 0, 6).with_axis(1, Interval::new(0, 2));
        let pieces = [
            (&a, from, made, rows(y, 5, 6)),
            (&b, made, out, half),
            (&a, from, made, rows(y, 0, 5)),
            (&b, made, out, rows(z, 6, 12)),
            (&b, made, out, rows(z, 0, 1)),
        ];
        for (nodes, from, into, region) in pieces {
            plan.piece_needing(rank, nodes, &[from], vec![(into, region)])
                .unwrap();
        }
    }
    plan.build()
}

/// Loads on both ranks; what each rank's engine was given, and how often slices were read.
fn load_all(cache: Option<&Path>) -> [(Vec<SubModel>, BTreeMap<SliceKey, usize>); 2] {
    let folder = tempfile::tempdir().unwrap();
    let source = model(folder.path());
    let plan = plan(&source);
    let graph = source.graph.clone();
    let counting = Arc::new(Counting {
        source,
        reads: Mutex::default(),
    });
    let loaded = threads::run(2, Options::default(), |mut link| {
        let rank = link.rank();
        let program = Arc::new(Program {
            graph: graph.clone(),
            plan: plan.clone(),
            rank,
        });
        let origin = match rank {
            Rank(0) => Origin::Model(Arc::clone(&counting) as _),
            _ => Origin::Messages(cache.map(|dir| Cache::open(dir).unwrap())),
        };
        let interrupt = AtomicBool::new(false);
        let place = Place {
            host: "a".into(),
            library: String::new(),
            interrupt: &interrupt,
        };
        let engine = Keeping::default();
        let made = engine.clone();
        let engine_of = move || Ok(Arc::new(made) as Arc<dyn Engine>);
        let pieces = load(&mut link, &place, &program, origin, engine_of, || ()).unwrap();
        assert_eq!(pieces.len(), 5);
        link.close();
        let sub_models = std::mem::take(&mut *engine.0.lock().unwrap());
        for sub_model in &sub_models {
            let index = (0..5).map(PieceId::new).find(|&piece| {
                let own = cut_from(&graph, &plan, rank, piece, &counting.source).unwrap();
                own == *sub_model
            });
            assert!(
                index.is_some(),
                "{} is none of the plan's pieces",
                sub_model.name
            );
        }
        sub_models
    });
    let reads = counting.reads.lock().unwrap().clone();
    let [first, second] = <[_; 2]>::try_from(loaded).unwrap_or_else(|_| panic!("two ranks"));
    [(first, reads.clone()), (second, reads)]
}

#[test]
fn a_slice_travels_once_and_its_elements_are_there_once() {
    for (sub_models, reads) in load_all(None) {
        // Kernel and bias of both convolutions, and half of conv_b's: once for each rank.
        assert_eq!(reads.len(), 6);
        assert!(reads.values().all(|&count| count == 2), "{reads:?}");
        let mut known: BTreeMap<&str, &Arc<Value>> = BTreeMap::new();
        for (name, value) in sub_models.iter().flat_map(|sub_model| &sub_model.weights) {
            let first = known.entry(name).or_insert(value);
            assert!(Arc::ptr_eq(first, value), "{name} is there twice");
        }
        assert_eq!(known.len(), 6);
    }
}

#[test]
fn a_cache_keeps_a_slice_once_and_asks_for_it_no_more() {
    let cache = tempfile::tempdir().unwrap();
    let [_, (first, _)] = load_all(Some(cache.path()));
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 6);
    let [_, (again, reads)] = load_all(Some(cache.path()));
    assert!(
        reads.values().all(|&count| count == 1),
        "rank 0's own: {reads:?}"
    );
    assert_eq!(first, again);
}

#[test]
fn pieces_over_one_slice_follow_each_other_the_largest_first() {
    let [_, (sub_models, _)] = load_all(None);
    let names: Vec<&str> = sub_models
        .iter()
        .map(|sub_model| &sub_model.name[..14])
        .collect();
    let order = [2, 0, 1, 3, 4].map(|piece| format!("rank 1 piece {piece}"));
    assert_eq!(names, order);
}
