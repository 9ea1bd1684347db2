//! The runner over threads, against the uncut model.

use std::sync::Arc;
use std::time::Duration;

use autodice::comm::threads::Options;
use autodice::engine::{Executable, Tensor};
use autodice::geometry::Region;
use autodice::graph::{Activation, Dtype, Graph, Node, Op, Operand, Value};
use autodice::ids::{ActivationId, NodeId, PartId, PieceId, Rank, TransferId};
use autodice::plan::{Codec, Part, Piece, Plan, RankPlan, Step, Terms, Transfer};
use autodice::runner::Kind;

use crate::support::harness::{run_plan, Ran};

/// Adds its number to every element, after a while.
struct Plus(f32, Duration);

impl Executable for Plus {
    fn run(&mut self, inputs: &[Arc<Tensor>]) -> anyhow::Result<Vec<Tensor>> {
        std::thread::sleep(self.1);
        let elements: Vec<_> = inputs[0]
            .to_value()
            .to_f32()
            .iter()
            .map(|x| x + self.0)
            .collect();
        Ok(vec![Tensor::from_value(&Value::from_f32(
            inputs[0].shape(),
            &elements,
        ))])
    }
}

fn chain(nodes: usize) -> Graph {
    let name = |i: usize| format!("x{i}");
    let activation = |i: usize| Activation {
        name: name(i),
        shape: vec![1, 4],
        dtype: Dtype::F32,
        producer: (i > 0).then(|| NodeId::new(i - 1)),
        consumers: if i < nodes {
            vec![NodeId::new(i)]
        } else {
            vec![]
        },
    };
    let node = |i: usize| Node {
        name: name(i),
        origin: name(i),
        op_type: "Plus".into(),
        domain: String::new(),
        attributes: vec![],
        op: Op::Opaque,
        inputs: vec![Operand::Activation(ActivationId::new(i))],
        outputs: vec![ActivationId::new(i + 1)],
    };
    Graph {
        name: "chain".into(),
        opset: 13,
        nodes: (0..nodes).map(node).collect(),
        activations: (0..=nodes).map(activation).collect(),
        inputs: vec![ActivationId(0)],
        outputs: vec![ActivationId::new(nodes)],
        weights: vec![],
        folded: vec![],
    }
}

/// Three nodes on ranks 0, 1, 0.
fn interleaved(graph: &Graph, window: u32) -> Plan {
    let whole = Region::whole(&[1, 4]);
    let part = |a: u32| Part {
        activation: ActivationId(a),
        region: whole.clone(),
        terms: Terms::All,
    };
    let piece = |node: u32, from: u32, to: u32| Piece {
        nodes: vec![NodeId(node)],
        inputs: vec![(PartId(from), whole.clone())],
        outputs: vec![(PartId(to), whole.clone())],
    };
    let transfer = |from: u32, from_part: u32, to: u32, to_part: u32| Transfer {
        from: Rank(from),
        from_part: PartId(from_part),
        to: Rank(to),
        to_part: PartId(to_part),
        region: whole.clone(),
        tag: 0,
        codec: Codec::Raw,
    };
    assert_eq!(graph.nodes.len(), 3);
    let zero = RankPlan {
        parts: vec![part(0), part(1), part(2), part(3)],
        pieces: vec![piece(0, 0, 1), piece(2, 2, 3)],
        turns: vec![vec![
            Step::Input(PartId(0)),
            Step::Run(PieceId(0)),
            Step::Release(PartId(0)),
            Step::Send(TransferId(0)),
            Step::Release(PartId(1)),
            Step::Receive(TransferId(1)),
            Step::Run(PieceId(1)),
            Step::Release(PartId(2)),
            Step::Output(PartId(3)),
            Step::Release(PartId(3)),
        ]],
    };
    let one = RankPlan {
        parts: vec![part(1), part(2)],
        pieces: vec![piece(1, 0, 1)],
        turns: vec![vec![
            Step::Receive(TransferId(0)),
            Step::Run(PieceId(0)),
            Step::Release(PartId(0)),
            Step::Send(TransferId(1)),
            Step::Release(PartId(1)),
        ]],
    };
    Plan {
        window,
        cycle: 1,
        sums: vec![],
        transfers: vec![transfer(0, 1, 1, 0), transfer(1, 1, 0, 2)],
        ranks: vec![zero, one],
    }
}

/// Whether a Run of rank 0 and one of rank 1 were in progress at the same time.
fn runs_cross(ran: &[Ran]) -> bool {
    let runs = |rank: usize| {
        ran[rank]
            .trace
            .iter()
            .filter(|interval| matches!(interval.kind, Kind::Run(_)))
    };
    runs(0).any(|a| runs(1).any(|b| a.start < b.end && b.start < a.end))
}

#[test]
fn interleaved_stages_overlap_with_four_frames_in_flight() {
    let graph = chain(3);
    let frames: Vec<_> = (0..24)
        .map(|i| vec![Value::from_f32(&[1, 4], &[i as f32, 1.0, 2.0, 3.0])])
        .collect();
    let took = |window: u32, pause: Duration| {
        let pieces = move |rank: Rank| -> Vec<Box<dyn Executable>> {
            match rank {
                Rank(0) => vec![
                    Box::new(Plus(1.0, pause / 2)),
                    Box::new(Plus(100.0, pause / 2)),
                ],
                _ => vec![Box::new(Plus(10.0, pause))],
            }
        };
        let plan = interleaved(&graph, window);
        let started = std::time::Instant::now();
        let (outputs, ran) = run_plan(&graph, &plan, Options::default(), &frames, pieces, |_| {
            Duration::ZERO
        });
        assert!(ran.iter().all(|rank| rank.driven.is_ok()));
        assert_eq!(outputs.len(), frames.len());
        for (output, input) in outputs.iter().zip(&frames) {
            let expected: Vec<_> = input[0].to_f32().iter().map(|x| x + 111.0).collect();
            assert_eq!(output[0].to_f32(), expected);
        }
        (started.elapsed(), runs_cross(&ran))
    };
    let pause = Duration::from_millis(10);
    let ((alone, apart), (together, crossing)) = (took(1, pause), took(4, pause));
    assert!(alone >= pause * 2 * 24);
    assert!(
        !apart && crossing,
        "ranks run at the same time only with frames in flight"
    );
    assert!(together < alone * 7 / 10, "{together:?} against {alone:?}");
}
