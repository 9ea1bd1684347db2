//! What `check` accepts is right, and what changes the meaning it refuses.
//!
//! The oracle is `support::interpreter`: a mutated plan that check accepts must still give the
//! uncut model's outputs, on every turn.

use std::collections::BTreeMap;

use autodice::geometry::Interval;
use autodice::geometry::Region;
use autodice::graph::Graph;
use autodice::ids::{NodeId, PartId, PieceId, Rank, SumId, TransferId};
use autodice::plan::{
    check, compile_owners, pair_bytes, tally, CheckError, Plan, PlanBuilder, RankTally, Step,
    Terms, Transfer,
};

use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::hand_plans;
use crate::support::interpreter::{interpret, uncut};
use crate::support::random_graph::{random_graph, random_owners, Random};

fn random_plan(seed: u64, size: usize) -> (Graph, Plan) {
    let mut random = Random(seed);
    let graph = random_graph(&mut random, 3 + seed as usize % size);
    let ranks = 1 + random.below(4);
    let owners: Vec<Rank> = random_owners(&mut random, graph.nodes.len(), ranks)
        .into_iter()
        .map(Rank::new)
        .collect();
    let plan = compile_owners(&graph, &owners, ranks, 2);
    (graph, plan)
}

fn means_the_model(graph: &Graph, plan: &Plan) -> Result<(), String> {
    gives(graph, plan, &uncut(graph))
}

fn gives(graph: &Graph, plan: &Plan, wanted: &[Vec<i64>]) -> Result<(), String> {
    for turn in 0..plan.cycle as usize {
        if interpret(graph, plan, turn)? != wanted {
            return Err(format!("turn {turn} gives other outputs"));
        }
    }
    Ok(())
}

#[test]
fn hand_written_plans_are_accepted_and_mean_the_model() {
    for (name, graph, plan) in hand_plans::all() {
        check(&graph, &plan, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        means_the_model(&graph, &plan).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn compiled_plans_are_accepted_and_mean_the_model() {
    for seed in 0..150 {
        let (graph, plan) = random_plan(seed, 12);
        check(&graph, &plan, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        means_the_model(&graph, &plan).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    for seed in 0..400 {
        let (graph, plan) = random_plan(seed, 60);
        check(&graph, &plan, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// Boxes one row, column or channel smaller, at either end.
fn shrunk(region: &Region) -> Vec<Region> {
    let mut smaller = Vec::new();
    for axis in 1..region.rank() {
        let Interval { start, end } = region.0[axis];
        if end - start > 1 {
            smaller.push(region.with_axis(axis, Interval::new(start + 1, end)));
            smaller.push(region.with_axis(axis, Interval::new(start, end - 1)));
        }
    }
    smaller
}

/// Every plan that differs from `plan` by one fault, with the fault's kind.
fn mutations(plan: &Plan) -> Vec<(&'static str, Plan)> {
    let mut all: Vec<(&'static str, Plan)> = Vec::new();
    let mut push = |kind, change: &dyn Fn(&mut Plan)| {
        let mut mutant = plan.clone();
        change(&mut mutant);
        if mutant != *plan {
            all.push((kind, mutant));
        }
    };
    for (r, held) in plan.ranks.iter().enumerate() {
        for (t, steps) in held.turns.iter().enumerate() {
            for (i, step) in steps.iter().enumerate() {
                push("drop a step", &|p| drop(p.ranks[r].turns[t].remove(i)));
                push("repeat a step", &|p| {
                    let step = p.ranks[r].turns[t][i].clone();
                    p.ranks[r].turns[t].insert(i, step);
                });
                for j in i + 1..steps.len() {
                    push("swap two steps", &|p| p.ranks[r].turns[t].swap(i, j));
                }
                if matches!(step, Step::Release(_)) {
                    for j in 0..i {
                        push("release too early", &|p| {
                            let step = p.ranks[r].turns[t].remove(i);
                            p.ranks[r].turns[t].insert(j, step);
                        });
                    }
                }
                for other in 0..plan.ranks.len() {
                    push("a step on a wrong rank", &|p| {
                        let step = p.ranks[r].turns[t].remove(i);
                        p.ranks[other].turns[t].push(step);
                    });
                }
                for id in 0..held.parts.len() as u32 {
                    push(
                        "a step with a wrong part",
                        &|p| match &mut p.ranks[r].turns[t][i] {
                            Step::Input(part) | Step::Output(part) | Step::Release(part) => {
                                *part = PartId(id);
                            }
                            Step::Assemble { from, .. } | Step::Reduce { from, .. } => {
                                from[0] = PartId(id);
                            }
                            _ => {}
                        },
                    );
                    push(
                        "a step with a wrong target",
                        &|p| match &mut p.ranks[r].turns[t][i] {
                            Step::Assemble { into, .. } | Step::Reduce { into, .. } => {
                                *into = PartId(id);
                            }
                            _ => {}
                        },
                    );
                }
            }
        }
        for (i, part) in held.parts.iter().enumerate() {
            for smaller in shrunk(&part.region) {
                push("shrink a part", &|p| {
                    p.ranks[r].parts[i].region = smaller.clone()
                });
            }
            for s in 0..plan.sums.len() {
                for members in [
                    vec![0],
                    vec![1],
                    vec![2],
                    vec![0, 1],
                    vec![1, 2],
                    vec![0, 2],
                ] {
                    let sum = SumId::new(s);
                    push("change members", &|p| {
                        let members = members.clone();
                        p.ranks[r].parts[i].terms = Terms::Some { sum, members };
                    });
                }
            }
            push("change members", &|p| {
                p.ranks[r].parts[i].terms = Terms::All
            });
        }
        for (i, piece) in held.pieces.iter().enumerate() {
            for (k, (_, region)) in piece.inputs.iter().enumerate() {
                for smaller in shrunk(region) {
                    push("shrink what a piece reads", &|p| {
                        p.ranks[r].pieces[i].inputs[k].1 = smaller.clone();
                    });
                }
                push("drop what a piece reads", &|p| {
                    p.ranks[r].pieces[i].inputs.remove(k);
                });
            }
            for (k, (_, region)) in piece.outputs.iter().enumerate() {
                for smaller in shrunk(region) {
                    push("shrink what a piece writes", &|p| {
                        p.ranks[r].pieces[i].outputs[k].1 = smaller.clone();
                    });
                }
            }
            for k in 0..piece.nodes.len() {
                push("drop a node", &|p| {
                    p.ranks[r].pieces[i]
                        .nodes
                        .retain(|id| *id != piece.nodes[k])
                });
            }
        }
    }
    for (i, transfer) in plan.transfers.iter().enumerate() {
        for smaller in shrunk(&transfer.region) {
            push("shrink a message", &|p| {
                p.transfers[i].region = smaller.clone()
            });
        }
        for other in 0..plan.ranks.len() {
            push("a message from a wrong rank", &|p| {
                p.transfers[i].from = Rank::new(other)
            });
            push("a message to a wrong rank", &|p| {
                p.transfers[i].to = Rank::new(other)
            });
        }
        push("a message with a wrong part", &|p| {
            p.transfers[i].from_part.0 += 1
        });
        push("a message with a wrong part", &|p| {
            p.transfers[i].to_part.0 += 1
        });
        push("drop a message", &|p| {
            let keeps = |step: &Step| {
                *step != Step::Send(TransferId::new(i))
                    && *step != Step::Receive(TransferId::new(i))
            };
            let turns = p.ranks.iter_mut().flat_map(|rank| &mut rank.turns);
            turns.for_each(|steps| steps.retain(keeps));
        });
    }
    for (s, sum) in plan.sums.iter().enumerate() {
        for (m, member) in sum.members.iter().enumerate() {
            for smaller in shrunk(member) {
                push("shrink a member", &|p| {
                    p.sums[s].members[m] = smaller.clone()
                });
            }
            push("drop a member", &|p| drop(p.sums[s].members.remove(m)));
            push("swap members", &|p| p.sums[s].members.swap(0, m));
        }
        push("split another node", &|p| p.sums[s].node.0 ^= 1);
    }
    all
}

/// For every kind: how many mutants were refused and how many accepted.
pub type Count = BTreeMap<&'static str, (usize, usize)>;

pub fn judge(name: &str, graph: &Graph, plan: &Plan, count: &mut Count) {
    let wanted = uncut(graph);
    for (index, (kind, mutant)) in mutations(plan).into_iter().enumerate() {
        let entry = count.entry(kind).or_default();
        match check(graph, &mutant, None) {
            Err(_) => entry.0 += 1,
            Ok(()) => {
                entry.1 += 1;
                gives(graph, &mutant, &wanted)
                    .unwrap_or_else(|wrong| panic!("{name} mutant {index}, {kind}: {wrong}"));
            }
        }
    }
}

#[test]
fn faults_that_change_the_meaning_are_refused() {
    let mut count = Count::new();
    for (name, graph, plan) in hand_plans::all() {
        judge(name, &graph, &plan, &mut count);
    }
    for seed in 0..8 {
        let (graph, plan) = random_plan(seed, 6);
        judge(&format!("seed {seed}"), &graph, &plan, &mut count);
    }
    for (kind, (refused, accepted)) in &count {
        println!("{kind}: {refused} refused, {accepted} harmless");
        assert!(*refused > 0, "{kind}: no case changes the meaning");
    }
    // These change the meaning wherever they occur.
    for kind in [
        "repeat a step",
        "shrink a member",
        "drop a member",
        "drop what a piece reads",
        "drop a node",
        "split another node",
        "a message from a wrong rank",
        "a message to a wrong rank",
    ] {
        assert_eq!(count[kind].1, 0, "{kind}");
    }
}

#[test]
fn a_step_dropped_is_refused_but_for_releases() {
    for (name, graph, plan) in hand_plans::all() {
        for (r, held) in plan.ranks.iter().enumerate() {
            for (t, steps) in held.turns.iter().enumerate() {
                for (i, step) in steps.iter().enumerate() {
                    let mut mutant = plan.clone();
                    mutant.ranks[r].turns[t].remove(i);
                    let accepted = check(&graph, &mutant, None).is_ok();
                    let harmless = matches!(step, Step::Release(_));
                    assert_eq!(accepted, harmless, "{name} rank {r} step {i} {step:?}");
                }
            }
        }
    }
}

fn refusal(graph: &Graph, plan: &Plan) -> String {
    check(graph, plan, None).expect_err("a refusal").to_string()
}

#[test]
fn messages_name_rank_step_part_and_activation() {
    let (graph, plan) = hand_plans::interleaved();
    let mut early = plan.clone();
    early.ranks[1].turns[0].swap(0, 1);
    assert_eq!(
        refusal(&graph, &early),
        "plan: rank 1, turn 0, step 0 (run piece0: p0 -> p1): p0 ('conv0') does not hold \
         [0:1, 0:6, 0:6, 0:5] yet"
    );
    let mut tags = plan.clone();
    tags.transfers[0].tag = 8192;
    assert_eq!(
        refusal(&graph, &tags),
        "plan: transfer t0: tag 8192 with 4 frames in flight makes 32771, at most 32767 is possible"
    );
    let mut wide = plan.clone();
    wide.window = 0;
    assert_eq!(
        refusal(&graph, &wide),
        "plan: a window of 0, 1 to 32768 is possible"
    );
    wide.window = 1;
    wide.cycle = 65;
    assert_eq!(
        refusal(&graph, &wide),
        "plan: a cycle of 65, 1 to 64 is possible"
    );
}

#[test]
fn tags_of_a_pair_must_differ() {
    let (graph, mut plan) = hand_plans::channel_pair();
    let same = |t: &&Transfer| (t.from, t.to) == (Rank(0), Rank(1)) && t.tag > 0;
    assert!(plan.transfers.iter().any(|t| same(&t)));
    for transfer in &mut plan.transfers {
        transfer.tag = 0;
    }
    assert!(refusal(&graph, &plan).contains("has tag 0"));
}

#[test]
fn ranks_that_wait_for_each_other_are_named() {
    let (graph, mut plan) = hand_plans::row_halo();
    // Both wait for the other's row before they send their own.
    for held in &mut plan.ranks {
        let steps = &mut held.turns[0];
        let is_halo = |step: &Step, wanted: fn(TransferId) -> Step| {
            *step == wanted(TransferId(1)) || *step == wanted(TransferId(2))
        };
        let sends = steps
            .iter()
            .position(|s| is_halo(s, Step::Send))
            .expect("a send");
        let send = steps.remove(sends);
        let waits = steps
            .iter()
            .position(|s| is_halo(s, Step::Receive))
            .expect("a wait");
        steps.insert(waits + 1, send);
    }
    let message = refusal(&graph, &plan);
    assert!(
        message.starts_with("plan: turn 0: no rank can go on: rank 0 waits"),
        "{message}"
    );
    assert!(message.contains("rank 1 waits"), "{message}");
}

#[test]
fn partial_sums_reach_nothing_that_is_not_linear() {
    // A shared sum behind which a Relu, a BatchNormalization or a Concat with another activation
    // follows, in the piece that makes the summand.
    let mut b = GraphBuilder::new("partial");
    let x = b.input(&[1, 2, 4, 4]);
    let y = b.conv(x, 2, square(3, 1, 1), 1);
    let cut_off = b.relu(y);
    let shifted = b.normalize(y);
    let joined = b.concat(&[y, x]);
    let averaged = b.conv(y, 2, square(1, 1, 0), 1);
    let graph = b.finish(&[cut_off, shifted, joined, averaged]);
    let only = "before which only linear nodes";
    for (node, output, wanted) in [
        (1, cut_off, only),
        (2, shifted, only),
        (3, joined, "different terms"),
        (4, averaged, "is not handed over"),
    ] {
        let mut p = PlanBuilder::new(&graph, 1, 1, 1);
        let halves = (0..2).map(|c| graph.whole(x).with_axis(1, Interval::new(c, c + 1)));
        let sum = p.sum(NodeId(0), halves.collect());
        let x0 = p.input(x);
        let part = p.partial(Rank(0), output, graph.whole(output), sum, &[0]);
        let piece = p.piece(Rank(0), &[NodeId(0), NodeId(node)], &[x0], &[part]);
        p.run(Rank(0), piece);
        let message = refusal(&graph, &p.build());
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn summands_of_a_piece_are_one_box() {
    let mut b = GraphBuilder::new("three members");
    let x = b.input(&[1, 3, 4, 4]);
    let y = b.conv(x, 2, square(3, 1, 1), 1);
    let graph = b.finish(&[y]);
    let mut p = PlanBuilder::new(&graph, 1, 1, 1);
    let channels = (0..3).map(|c| graph.whole(x).with_axis(1, Interval::new(c, c + 1)));
    let sum = p.sum(NodeId(0), channels.collect());
    let x0 = p.input(x);
    let parts = [&[0, 2][..], &[1]].map(|m| p.partial(Rank(0), y, graph.whole(y), sum, m));
    for part in parts {
        let piece = p.piece(Rank(0), &[NodeId(0)], &[x0], &[part]);
        p.run(Rank(0), piece);
    }
    let all = p.whole(Rank(0), y);
    p.add(Rank(0), &parts, all);
    p.output(all);
    let message = refusal(&graph, &p.build());
    assert!(
        message.ends_with("members [0, 2] of s0 are not one box"),
        "{message}"
    );
}

#[test]
fn ids_out_of_range_are_refused() {
    let (graph, plan) = hand_plans::channel_pair();
    let far = 4_000_000_000;
    let mut mutants = vec![plan.clone(); 9];
    mutants[0].ranks[0].turns[0][0] = Step::Input(PartId(far));
    mutants[1].ranks[0].turns[0][0] = Step::Run(PieceId(far));
    mutants[2].ranks[0].turns[0][0] = Step::Receive(TransferId(far));
    mutants[3].ranks[0].turns[0][0] = Step::Send(TransferId(far));
    mutants[4].ranks[0].parts[0].activation.0 = far;
    mutants[5].ranks[0].pieces[0].nodes[0].0 = far;
    mutants[6].transfers[0].to = Rank(far);
    mutants[7].sums[0].node.0 = far;
    mutants[8].transfers[0].region = Region(vec![Interval::new(0, usize::MAX); 4]);
    for mutant in mutants {
        assert!(check(&graph, &mutant, None).is_err());
    }
}

#[test]
fn memory_beyond_a_limit_is_refused() {
    let (graph, plan) = hand_plans::interleaved();
    let needed = tally(&graph, &plan).expect("a tally").ranks[1].memory(plan.window);
    // conv2 is not on rank 1: it holds relu1's input and output, and no weight.
    assert_eq!(needed, 4 * 2 * (6 * 6 * 5 * 4));
    assert_eq!(check(&graph, &plan, Some(&[None, Some(needed)])), Ok(()));
    let found = check(&graph, &plan, Some(&[None, Some(needed - 1)]));
    let (rank, limit) = (Rank(1), needed - 1);
    assert_eq!(
        found,
        Err(CheckError::Memory {
            rank,
            needed,
            limit
        })
    );
}

#[test]
fn a_tally_counts_slices_messages_and_work() {
    let (graph, plan) = hand_plans::channel_pair();
    let ranks = tally(&graph, &plan).expect("a tally").ranks;
    // Two of six kernels of conv0 with their biases, then two of six channels of conv2's kernels;
    // its three biases are on rank 0 alone.
    let weights = 4 * (2 * 2 * 9 + 2 + 3 * 2 * 9);
    assert_eq!(ranks[0].weight_bytes, weights + 4 * 3);
    assert_eq!(ranks[1].weight_bytes, weights);
    let whole = tally(&graph, &compile_owners(&graph, &[Rank(0); 3], 1, 1)).expect("a tally");
    let macs = |ranks: &[RankTally]| ranks.iter().map(|r| r.turns[0].macs).sum::<u64>();
    assert_eq!(
        macs(&ranks),
        macs(&whole.ranks),
        "a split by channels repeats nothing"
    );
    assert_eq!(macs(&ranks), 30 * (6 * 2 * 9 + 3 * 6 * 9));
    let sent: u64 = ranks.iter().map(|rank| rank.turns[0].sent_bytes).sum();
    let received: u64 = ranks.iter().map(|rank| rank.turns[0].received_bytes).sum();
    // The input to two ranks, and four times round a ring with a third of the output.
    assert_eq!(sent, 4 * (2 * 60 + 4 * 90));
    assert_eq!(sent, received);
    assert_eq!(pair_bytes(&graph, &plan).values().sum::<u64>(), sent);
}

/// The most bytes of weights that each rank has while it loads, where nodes have these owners.
fn loading_peaks(graph: &Graph, owners: &[u32]) -> Vec<u64> {
    let owners: Vec<Rank> = owners.iter().copied().map(Rank).collect();
    let plan = compile_owners(graph, &owners, 2, 1);
    let ranks = tally(graph, &plan).expect("a tally").ranks;
    ranks.iter().map(|rank| rank.loading_peak).collect()
}

#[test]
fn loading_takes_most_beside_the_largest_matrix() {
    let mut b = GraphBuilder::new("convolutions and a matrix");
    let x = b.input(&[1, 2, 4, 4]);
    let x = b.conv(x, 32, square(1, 1, 0), 1);
    let x = b.conv(x, 32, square(1, 1, 0), 1);
    let x = b.flatten(x);
    let x = b.gemm(x, 32);
    let graph = b.finish(&[x]);
    let bias = 4 * 32;
    // All is one piece: what is raw of it, and the matrix packed, with one more in each row.
    let (kernels, matrix) = (4 * 32 * (2 + 32), 4 * 32 * 512);
    let raw = kernels + matrix + 3 * bias;
    assert_eq!(loading_peaks(&graph, &[0; 4]), [raw + 4 * 32 * 513, 0]);
    // Two pieces on rank 1: the first one is packed when the matrix is.
    let first = 4 * 32 * (2 + 1) + bias;
    let peak = first + matrix + bias + 4 * 32 * 513;
    assert_eq!(loading_peaks(&graph, &[1, 0, 1, 1])[1], peak);
}

#[test]
fn the_next_slices_come_while_a_rank_packs() {
    let mut b = GraphBuilder::new("a large convolution and a small one");
    let x = b.input(&[1, 32, 4, 4]);
    let x = b.conv(x, 64, square(3, 1, 1), 1);
    let x = b.conv(x, 32, square(1, 1, 0), 1);
    let x = b.conv(x, 32, square(3, 1, 1), 1);
    let graph = b.finish(&[x]);
    let raw = |made: u64| 4 * made * (32 * 9 + 1);
    // By way of a copy, with one more in each row.
    let packing = |made: u64| 4 * made * (32 * 9 + 32 * 9 + 1);
    // Rank 0 reads a slice when it is its turn.
    let alone = raw(64) + packing(64);
    assert_eq!(loading_peaks(&graph, &[0, 1, 0])[0], alone);
    // Rank 1 has the kernel and the bias of its other piece already.
    let with_next = raw(64) + packing(64) + raw(32);
    assert_eq!(loading_peaks(&graph, &[1, 0, 1])[1], with_next);
}

#[test]
fn large_plans_are_checked_quickly() {
    let mut b = GraphBuilder::new("as large as resnet101");
    let mut x = b.input(&[1, 8, 14, 14]);
    for _ in 0..70 {
        let y = b.conv(x, 8, square(3, 1, 1), 1);
        let y = b.normalize(y);
        let y = b.relu(y);
        let y = b.add(x, y);
        x = b.relu(y);
    }
    let graph = b.finish(&[x]);
    let owners: Vec<Rank> = (0..350).map(|i| Rank(i / 3 % 8)).collect();
    let plan = compile_owners(&graph, &owners, 8, 9);
    let start = std::time::Instant::now();
    check(&graph, &plan, None).expect("a plan");
    let took = start.elapsed();
    println!("{} messages checked in {took:?}", plan.transfers.len());
    assert!(took.as_millis() < 1000, "{took:?}");
}

#[test]
fn kernels_before_a_normalisation_are_there_twice_while_they_are_loaded() {
    let (kernel, bias) = (4 * 32 * 32 * 9, 4 * 32);
    let peak = |normalised: bool| {
        let mut b = GraphBuilder::new("three convolutions");
        let mut x = b.input(&[1, 32, 4, 4]);
        for _ in 0..3 {
            x = b.conv(x, 32, square(3, 1, 1), 1);
            if normalised {
                x = b.normalize(x);
            }
        }
        let graph = b.finish(&[x]);
        let owners = vec![0; graph.nodes.len()];
        let plan = compile_owners(&graph, &vec![Rank(0); owners.len()], 1, 1);
        let raw = tally(&graph, &plan).expect("a tally").ranks[0].weight_bytes;
        loading_peaks(&graph, &owners)[0] - raw
    };
    let all = 3 * (kernel + bias);
    assert_eq!(peak(true), all, "all scaled ones beside all raw ones");
    let packed = 4 * 32 * (32 * 9 + 1);
    assert_eq!(
        peak(false),
        kernel + packed,
        "one copied and packed at a time"
    );
}

#[test]
fn a_convolution_has_a_copy_of_what_it_reads() {
    let inner = |kernel, pad, groups| {
        let mut b = GraphBuilder::new("a convolution");
        let x = b.input(&[1, 4, 8, 8]);
        let y = b.conv(x, 4, square(kernel, 1, pad), groups);
        let graph = b.finish(&[y]);
        let plan = compile_owners(&graph, &[Rank(0)], 1, 1);
        tally(&graph, &plan).expect("a tally").ranks[0].inner_bytes[0]
    };
    assert_eq!(inner(3, 1, 1), 4 * 4 * 10 * 10, "with its padding");
    assert_eq!(inner(1, 0, 1), 4 * 4 * 8 * 8, "packed");
    assert_eq!(inner(3, 0, 1), 0, "nothing to pad");
    assert_eq!(inner(3, 1, 4), 0, "depthwise: in place");
}

#[test]
fn what_a_fused_node_makes_lies_where_its_leader_wrote() {
    let mut b = GraphBuilder::new("a relu inside");
    let x = b.input(&[1, 4, 8, 8]);
    let y = b.conv(x, 4, square(3, 1, 0), 1);
    let y = b.relu(y);
    let y = b.conv(y, 4, square(3, 1, 0), 1);
    let y = b.relu(y);
    let graph = b.finish(&[y]);
    let plan = compile_owners(&graph, &[Rank(0); 4], 1, 1);
    let inner = &tally(&graph, &plan).expect("a tally").ranks[0].inner_bytes;
    assert_eq!(
        inner,
        &[4 * 4 * 6 * 6],
        "the last one lies in the part that is handed out"
    );
}
