//! Splits that no plan can be made of: one line with the place in the document and what would be
//! right. The texts go through the reader, so that the place is one that the user has written.

use autodice::graph::Graph;
use autodice::plan::compile;
use autodice::spec::yaml::parse;

use crate::support::graph_builder::{square, GraphBuilder};

/// conv0 relu1 pool2 conv3 (depthwise) relu4, a gate sum5 add6, conv7 (5×5) softmax8 conv9 flatten10
/// gemm11 gemm12.
fn graph() -> Graph {
    let mut b = GraphBuilder::new("refused");
    let x = b.input(&[1, 3, 16, 12]);
    let x = b.conv(x, 8, square(3, 1, 1), 1);
    let x = b.relu(x);
    let x = b.pool(x, autodice::graph::PoolKind::Max, square(2, 2, 0));
    let x = b.conv(x, 8, square(3, 1, 1), 8);
    let x = b.relu(x);
    let gate = b.global_sum(x);
    let x = b.add(x, gate);
    let x = b.conv(x, 6, square(5, 1, 2), 1);
    let x = b.softmax(x);
    let x = b.conv(x, 4, square(3, 1, 1), 1);
    let x = b.flatten(x);
    let x = b.gemm(x, 9);
    let x = b.gemm(x, 5);
    b.finish(&[x])
}

const THREE: &str = "{ranks: [1, 0, 2], split: ";

/// The stages, and the line.
const REFUSED: &[(&str, &str)] = &[
    (
        "THREE {by: rows, zone: {rank: 0, rows: 1}}}",
        "stages[0].split.zone.rows: the zone of 'add6' is rows 3:4 (1), its neighbours would \
         need rows up to 5 and from 2 of each other: a larger zone, or min",
    ),
    (
        "THREE {by: rows, zone: {rank: 0, rows: min}, exchange: [pool2]}}",
        "stages[0].split.zone: a zone needs exchange: each, between blocks its neighbours \
         overlap",
    ),
    (
        "THREE {by: rows, exchange: [nobody]}}",
        "stages[0].split.exchange[0]: no node 'nobody' in model 'refused'",
    ),
    (
        "THREE {by: rows, exchange: [gemm11]}}",
        "stages[0].split.exchange[0]: node 'gemm11' is not cut in space, nothing is exchanged \
         behind it",
    ),
    (
        "THREE {by: rows, exchange: [conv0, softmax8]}}",
        "stages[0].split.exchange[1]: node 'softmax8' is not cut in space, nothing is exchanged \
         behind it",
    ),
    (
        "{until: relu4, ranks: [0, 1], split: {by: rows, exchange: [conv7]}}, {ranks: [1, 2], \
         split: {by: channels}}",
        "stages[0].split.exchange[0]: node 'conv7' is not of this stage",
    ),
    (
        "THREE {by: rows, exchange: [pool2, conv7]}}",
        "stages[0].split.exchange: node 'sum5' needs all of 'relu4' and 'add6' is cut again \
         behind it: add 'relu4' to the list",
    ),
    (
        "{until: sum5, ranks: [0]}, {ranks: [1, 2], split: {by: grid, grid: 2x1, gather: false}}",
        "stages[1].split.gather: node 'softmax8' (Softmax) cannot be cut in space: end the \
         stage before it, or allow the gather",
    ),
    (
        "THREE {by: rows, gather: false}}",
        "stages[0].split.gather: node 'softmax8' (Softmax) cannot be cut in space: end the \
         stage before it, or allow the gather",
    ),
    (
        "THREE {by: rows, cuts: {conv0: [5, 17]}}}",
        "stages[0].split.cuts.conv0: end row 17 is not from 5 to 16, the rows that are left",
    ),
    (
        "THREE {by: rows, cuts: {gemm11: [0, 0]}}}",
        "stages[0].split.cuts.gemm11: it is not a node of this stage that is cut by rows",
    ),
    (
        "THREE {by: rows, cuts: {nobody: [1, 2]}}}",
        "stages[0].split.cuts.nobody: no node 'nobody' in model 'refused'",
    ),
    (
        "{until: relu4, ranks: [0, 1], split: {by: rows, cuts: {conv7: [3]}}}, {ranks: [1]}",
        "stages[0].split.cuts.conv7: it is not a node of this stage that is cut by rows",
    ),
    (
        "THREE {by: channels, pair: [[conv7, conv0]]}}",
        "stages[0].split.pair[0]: node 'conv0' does not read what 'conv7' makes",
    ),
    (
        "THREE {by: channels, pair: [[conv0, conv9]]}}",
        "stages[0].split.pair[0]: node 'softmax8' (Softmax) stands between 'conv0' and 'conv9' \
         and is not channel-wise",
    ),
    (
        "THREE {by: channels, pair: [[conv0, conv3]]}}",
        "stages[0].split.pair[0]: node 'conv3' (Conv) does not add up over all input channels: \
         a pair is of Conv without groups, Gemm or MatMul",
    ),
    (
        "THREE {by: channels, pair: [[conv7, conv9]]}}",
        "stages[0].split.pair[0]: node 'softmax8' (Softmax) stands between 'conv7' and 'conv9' \
         and is not channel-wise",
    ),
    (
        "THREE {by: channels, pair: [{nodes: [relu4]}]}}",
        "stages[0].split.pair[0]: node 'relu4' (Relu) does not add up over all input channels: \
         a pair is of Conv without groups, Gemm or MatMul",
    ),
    (
        "THREE {by: channels, pair: [{nodes: [nobody]}]}}",
        "stages[0].split.pair[0]: no node 'nobody' in model 'refused'",
    ),
    (
        "THREE {by: channels, pair: [[gemm11, gemm12], [conv9, nobody]]}}",
        "stages[0].split.pair[1]: no node 'nobody' in model 'refused'",
    ),
    (
        "{until: relu4, ranks: [0]}, {ranks: [1, 2], split: {by: channels, pair: [[conv0, \
         conv7]]}}",
        "stages[1].split.pair[0]: node 'conv0' is not of this stage",
    ),
    (
        "{until: relu4, ranks: [0, 1], split: {by: frames, shares: [7, 6]}}, {ranks: [2, 3], \
         split: {by: frames, shares: [3, 2]}}",
        "stages[1].split.shares: the replicas' turns repeat after 65 frames, at most 64 are \
         allowed: use smaller shares",
    ),
    (
        "THREE {by: frames, shares: [50, 30, 11]}}",
        "stages[0].split.shares: the replicas' turns repeat after 91 frames, at most 64 are \
         allowed: use smaller shares",
    ),
];

#[test]
fn what_cannot_be_compiled_gets_one_line() {
    let graph = graph();
    let mut wrong = vec![];
    for (stages, line) in REFUSED {
        let stages = stages.replace("THREE ", THREE);
        let text = format!("model: m.onnx\nstages: [{stages}]\n");
        let found = match parse("s.yaml", &text) {
            Err(error) => format!("(reader) {error}"),
            Ok(spec) => match compile(&graph, &spec) {
                Ok(_) => "none".into(),
                Err(error) => error.to_string(),
            },
        };
        if found != *line {
            wrong.push(format!("{stages}\n  wanted {line}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
