//! Stages of one rank each: which node goes where, and the steps that follow from it.

use std::collections::BTreeSet;

use autodice::graph::Graph;
use autodice::ids::{ActivationId, NodeId, Rank};
use autodice::plan::{compile, compile_owners, Plan, Step};
use autodice::spec::{StageNodes, StageSpec};

use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::random_graph::{random_graph, random_owners, Random};
use crate::support::specs::spec;

fn until(name: &str, rank: usize) -> StageSpec {
    stage(StageNodes::Until(name.into()), rank)
}

fn list(names: &[&str], rank: usize) -> StageSpec {
    let names = names.iter().map(|name| name.to_string()).collect();
    stage(StageNodes::List(names), rank)
}

fn rest(rank: usize) -> StageSpec {
    stage(StageNodes::Rest, rank)
}

fn stage(nodes: StageNodes, rank: usize) -> StageSpec {
    StageSpec {
        nodes,
        ranks: vec![rank],
        split: None,
    }
}

/// conv0 relu1 conv2 relu3 add4 (of relu1 and relu3) softmax5.
fn residual() -> Graph {
    let mut b = GraphBuilder::new("residual");
    let x = b.input(&[1, 2, 6, 6]);
    let y = b.conv(x, 4, square(3, 1, 1), 1);
    let y = b.relu(y);
    let z = b.conv(y, 4, square(3, 1, 1), 1);
    let z = b.relu(z);
    let sum = b.add(y, z);
    let out = b.softmax(sum);
    b.finish(&[out])
}

fn piece_names(graph: &Graph, plan: &Plan, rank: usize) -> Vec<String> {
    let names = |nodes: &[NodeId]| -> Vec<&str> {
        nodes
            .iter()
            .map(|&id| graph.node(id).name.as_str())
            .collect()
    };
    let pieces = plan.ranks[rank].pieces.iter();
    pieces.map(|piece| names(&piece.nodes).join(" ")).collect()
}

fn refusal(graph: &Graph, stages: Vec<StageSpec>) -> String {
    let found = compile(graph, &spec(stages));
    found.expect_err("a refusal").to_string()
}

#[test]
fn a_chain_of_stages_has_a_piece_each_and_a_message_between() {
    let graph = residual();
    let plan = compile(&graph, &spec(vec![until("relu1", 0), rest(1)])).expect("a plan");
    assert_eq!(piece_names(&graph, &plan, 0), ["conv0 relu1"]);
    assert_eq!(piece_names(&graph, &plan, 1), ["conv2 relu3 add4 softmax5"]);
    assert_eq!(plan.transfers.len(), 2, "one there, one back to the sink");
    assert_eq!(plan.window, 3, "two stages and one");
}

#[test]
fn one_rank_is_one_piece_and_no_message() {
    let graph = residual();
    let plan = compile(&graph, &spec(vec![rest(0)])).expect("a plan");
    assert_eq!(piece_names(&graph, &plan, 0).len(), 1);
    assert!(plan.transfers.is_empty());
    assert_eq!(plan.window, 1);
    assert!(matches!(
        plan.ranks[0].turns[0][..],
        [
            Step::Input(_),
            Step::Run(_),
            Step::Release(_),
            Step::Output(_),
            Step::Release(_)
        ]
    ));
}

#[test]
fn interleaved_nodes_become_pieces_that_do_not_wait_for_each_other() {
    let graph = residual();
    let own = list(&["conv0", "relu1", "add4", "softmax5"], 0);
    let plan = compile(&graph, &spec(vec![own, list(&["conv2", "relu3"], 1)])).expect("a plan");
    assert_eq!(
        piece_names(&graph, &plan, 0),
        ["conv0 relu1", "add4 softmax5"]
    );
    assert_eq!(piece_names(&graph, &plan, 1), ["conv2 relu3"]);
    assert_eq!(plan.transfers.len(), 2);
}

#[test]
fn a_piece_ends_before_a_node_that_needs_another_message() {
    // Rank 1 owns relu3 (of relu1, which travels) and add4, which needs conv2 from rank 0.
    let mut b = GraphBuilder::new("late");
    let x = b.input(&[1, 2, 6, 6]);
    let first = b.relu(x);
    let second = b.conv(first, 2, square(3, 1, 1), 1);
    let early = b.relu(first);
    let sum = b.add(early, second);
    let graph = b.finish(&[sum]);
    let stages = vec![list(&["relu0", "conv1"], 0), rest(1)];
    let plan = compile(&graph, &spec(stages)).expect("a plan");
    assert_eq!(piece_names(&graph, &plan, 1), ["relu2", "add3"]);
}

#[test]
fn nodes_that_no_output_needs_are_in_no_piece() {
    let mut b = GraphBuilder::new("dead");
    let x = b.input(&[1, 2, 4, 4]);
    let unused = b.input(&[1, 2, 4, 4]);
    let y = b.relu(x);
    let dead = b.relu(unused);
    b.relu(dead);
    let graph = b.finish(&[y]);
    let plan = compile(&graph, &spec(vec![list(&["relu0"], 0), rest(1)])).expect("a plan");
    assert_eq!(piece_names(&graph, &plan, 0), ["relu0"]);
    assert_eq!(plan.ranks[1].turns, [vec![]]);
    assert!(plan.transfers.is_empty());
}

#[test]
fn outputs_come_in_order_each_once_also_where_they_are_inputs_or_travel() {
    let mut b = GraphBuilder::new("outputs");
    let x = b.input(&[1, 2, 4, 4]);
    let far = b.relu(x);
    let near = b.relu(far);
    let graph = b.finish(&[near, x, far, near]);
    let plan = compile(&graph, &spec(vec![list(&["relu0"], 1), rest(0)])).expect("a plan");
    let handed: Vec<ActivationId> = plan.ranks[0].turns[0]
        .iter()
        .filter_map(|step| match step {
            Step::Output(part) => Some(plan.part(Rank(0), *part).activation),
            _ => None,
        })
        .collect();
    assert_eq!(handed, [near, x, far]);
    assert_eq!(
        plan.transfers.len(),
        2,
        "far serves rank 0's node and its sink"
    );
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let graph = random_graph(&mut random, 30);
        let owners: Vec<Rank> = random_owners(&mut random, graph.nodes.len(), 4)
            .into_iter()
            .map(Rank::new)
            .collect();
        let first = compile_owners(&graph, &owners, 4, 3);
        assert_eq!(first.hash(), compile_owners(&graph, &owners, 4, 3).hash());
    }
}

/// An oracle of its own, simpler than `plan::check`: every rank advances as far as its messages
/// let it, and each step must find what it reads.
fn play(graph: &Graph, plan: &Plan) {
    let ranks = plan.ranks.len();
    let mut next = vec![0; ranks];
    let mut held: Vec<BTreeSet<ActivationId>> = vec![BTreeSet::new(); ranks];
    let mut sent = BTreeSet::new();
    let mut outputs = vec![];
    loop {
        let mut advanced = false;
        for r in 0..ranks {
            let activation = |part| plan.part(Rank::new(r), part).activation;
            while let Some(step) = plan.ranks[r].turns[0].get(next[r]) {
                match step {
                    Step::Receive(id) if !sent.contains(id) => break,
                    Step::Receive(id) => {
                        assert!(held[r].insert(activation(plan.transfer(*id).to_part)));
                    }
                    Step::Input(part) => assert!(held[r].insert(activation(*part))),
                    Step::Send(id) => {
                        assert!(held[r].contains(&activation(plan.transfer(*id).from_part)));
                        assert!(sent.insert(*id));
                    }
                    Step::Run(id) => {
                        let piece = &plan.ranks[r].pieces[id.index()];
                        let mut local: BTreeSet<_> = piece
                            .inputs
                            .iter()
                            .map(|(part, _)| activation(*part))
                            .collect();
                        assert!(local.is_subset(&held[r]));
                        for &node in &piece.nodes {
                            assert!(graph.node(node).activations().all(|a| local.contains(&a)));
                            local.extend(&graph.node(node).outputs);
                        }
                        for (part, _) in &piece.outputs {
                            assert!(local.contains(&activation(*part)));
                            assert!(held[r].insert(activation(*part)));
                        }
                    }
                    Step::Output(part) => {
                        assert!(held[r].contains(&activation(*part)));
                        outputs.push(activation(*part));
                    }
                    Step::Release(part) => assert!(held[r].remove(&activation(*part))),
                    Step::Assemble { .. } | Step::Reduce { .. } => panic!("not of stages"),
                }
                next[r] += 1;
                advanced = true;
            }
        }
        if !advanced {
            break;
        }
    }
    for r in 0..ranks {
        assert_eq!(next[r], plan.ranks[r].turns[0].len(), "rank {r} is stuck");
        assert!(held[r].is_empty(), "rank {r} releases all");
    }
    let mut wanted: Vec<ActivationId> = Vec::new();
    for &output in &graph.outputs {
        if !wanted.contains(&output) {
            wanted.push(output);
        }
    }
    assert_eq!(outputs, wanted);
}

#[test]
fn random_assignments_never_get_stuck() {
    let (mut pieces, mut messages) = (0, 0);
    for seed in 0..600 {
        let mut random = Random(seed);
        let size = 3 + random.below(40);
        let graph = random_graph(&mut random, size);
        let ranks = 1 + random.below(5);
        let owners: Vec<Rank> = random_owners(&mut random, graph.nodes.len(), ranks)
            .into_iter()
            .map(Rank::new)
            .collect();
        let plan = compile_owners(&graph, &owners, ranks, 2);
        play(&graph, &plan);
        pieces += plan
            .ranks
            .iter()
            .map(|rank| rank.pieces.len())
            .sum::<usize>();
        messages += plan.transfers.len();
    }
    assert!(
        pieces > 3000 && messages > 3000,
        "{pieces} pieces, {messages} messages"
    );
}

#[test]
fn names_are_refused_with_their_place_and_near_ones() {
    let graph = residual();
    let unknown = refusal(&graph, vec![list(&["conv0", "relu11"], 0), rest(1)]);
    assert_eq!(
        unknown,
        "stages[0].nodes[1]: no node 'relu11' in model 'residual', did you mean relu1?"
    );
    let hostile = format!("x\n{}", "y".repeat(1 << 20));
    let hostile = refusal(&graph, vec![until(&hostile, 0), rest(1)]);
    assert!(
        hostile.len() < 300 && !hostile.contains('\n'),
        "{} bytes",
        hostile.len()
    );
    let far = refusal(&graph, vec![until("something", 0), rest(1)]);
    assert_eq!(
        far,
        "stages[0].until: no node 'something' in model 'residual'"
    );
}

#[test]
fn names_that_may_mean_two_nodes_are_refused() {
    let mut graph = residual();
    for (node, name) in [(0, "a/b_c"), (1, "a_b/c")] {
        graph.nodes[node].origin = name.into();
    }
    let message = refusal(&graph, vec![until("a_b_c", 0), rest(1)]);
    assert_eq!(
        message,
        "stages[0].until: 'a_b_c' may mean a/b_c or a_b/c: say which"
    );
    let plan = compile(&graph, &spec(vec![until("a/b_c", 0), rest(1)]));
    assert!(plan.is_ok(), "the exact name is clear");
}

#[test]
fn sets_that_miss_or_repeat_nodes_are_refused_with_the_names() {
    let graph = residual();
    let missing = refusal(&graph, vec![list(&["conv0"], 0), until("conv2", 1)]);
    assert_eq!(
        missing,
        "stages: 3 nodes are in no stage: relu3, add4, softmax5"
    );
    let repeated = refusal(
        &graph,
        vec![
            until("relu1", 0),
            list(&["relu1", "conv2", "conv2"], 1),
            rest(2),
        ],
    );
    assert_eq!(
        repeated,
        "stages[1].nodes: 2 nodes are in a stage already: relu1 (stages[0]), conv2 (stages[1])"
    );
    let until_taken = refusal(&graph, vec![until("relu3", 0), until("conv2", 1), rest(0)]);
    assert_eq!(
        until_taken,
        "stages[1].until: node 'conv2' is in stages[0] already"
    );
    let mut long = GraphBuilder::new("long");
    let mut x = long.input(&[1, 1, 2, 2]);
    for _ in 0..9 {
        x = long.relu(x);
    }
    let long = long.finish(&[x]);
    assert_eq!(
        refusal(&long, vec![until("relu1", 0)]),
        "stages: 7 nodes are in no stage: relu2, relu3, relu4, relu5, relu6, …"
    );
}

#[test]
fn stages_without_nodes_or_in_the_wrong_place_are_refused() {
    let graph = residual();
    let empty = refusal(&graph, vec![until("softmax5", 0), rest(1)]);
    assert_eq!(empty, "stages[1]: no node is left for this stage");
    let early = refusal(&graph, vec![rest(0), until("softmax5", 1)]);
    assert_eq!(
        early,
        "stages[0]: only the last stage may have neither until nor nodes"
    );
    assert_eq!(
        refusal(&graph, vec![]),
        "stages: no stage, at least 1 is needed"
    );
}

#[test]
fn ranks_and_splits_of_stages_are_refused() {
    let graph = residual();
    let with_ranks = |ranks: Vec<usize>| {
        let (nodes, split) = (StageNodes::Rest, None);
        refusal(
            &graph,
            vec![StageSpec {
                nodes,
                ranks,
                split,
            }],
        )
    };
    let several = with_ranks(vec![0, 1, 2]);
    assert_eq!(several, "stages[0].ranks: a stage of 3 ranks needs a split");
    assert_eq!(with_ranks(vec![]), "stages[0].ranks: no rank, 1 is needed");
    let high = with_ranks(vec![usize::MAX]);
    assert!(
        high.starts_with("stages[0].ranks: rank 18446744073709551615 is too high"),
        "{high}"
    );
}

#[test]
fn folded_nodes_may_be_listed_but_not_be_an_end() {
    let mut graph = residual();
    graph.folded.push("shape/gather".into());
    let mut listed = list(&["conv0", "shape/gather", "relu1", "shape_gather"], 0);
    assert!(compile(&graph, &spec(vec![listed.clone(), rest(1)])).is_ok());
    listed.nodes = StageNodes::Until("shape/gather".into());
    let message = refusal(&graph, vec![listed, rest(1)]);
    assert_eq!(
        message,
        "stages[0].until: node 'shape/gather' is constant and was folded away, name one that show \
         lists"
    );
}

#[test]
fn frames_in_flight_are_bounded_by_the_tags() {
    let graph = residual();
    // conv0 and relu3 both travel from rank 0 to rank 1: two tags for each frame.
    let nodes = [list(&["conv0", "conv2", "relu3"], 0), rest(1)];
    let mut asked = spec(nodes.to_vec());
    asked.run.in_flight = Some(16384);
    let plan = compile(&graph, &asked).expect("a plan");
    assert_eq!((plan.window, plan.transfers.len()), (16384, 4));
    asked.run.in_flight = Some(16385);
    let message = compile(&graph, &asked).expect_err("too many").to_string();
    assert_eq!(
        message,
        "run.in_flight: 2 messages between two ranks allow at most 16384 frames in flight, found \
         16385"
    );
    asked.stages = vec![rest(0)];
    asked.run.in_flight = Some(40000);
    let message = compile(&graph, &asked).expect_err("too many").to_string();
    assert_eq!(
        message,
        "run.in_flight: found 40000, at most 32768 frames can be in flight"
    );
    asked.run.in_flight = Some(0);
    assert!(compile(&graph, &asked).is_err());
}
