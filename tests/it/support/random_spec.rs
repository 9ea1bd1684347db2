//! Random specs for a graph, from a seed: every kind of split in every mixture. Most can be
//! compiled; some ask for what is not possible, and must be refused.

use autodice::graph::{cuttable, Graph, Op};
use autodice::ids::NodeId;
use autodice::spec::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, Spec, SplitSpec, StageNodes, StageSpec, ZoneRows, ZoneSpec,
};

use super::random_graph::Random;
use super::specs;

/// A stage's nodes and how the spec names them.
struct Nodes {
    asked: StageNodes,
    own: Vec<NodeId>,
}

pub fn random_spec(random: &mut Random, graph: &Graph) -> Spec {
    let nodes = random_stages(random, graph);
    let most = 1 + random.below(5).max(random.below(5));
    let mut ranks: Vec<Vec<usize>> = nodes.iter().map(|_| some_ranks(random, most)).collect();
    without_gaps(&mut ranks);
    let mut stages = vec![];
    for (Nodes { asked, own }, ranks) in nodes.into_iter().zip(ranks) {
        let split = match ranks.len() {
            1 if !random.once_in(5) => None,
            _ => Some(random_split(random, graph, &own, &ranks)),
        };
        let nodes = asked;
        stages.push(StageSpec {
            nodes,
            ranks,
            split,
        });
    }
    let mut spec = specs::spec(stages);
    spec.run.in_flight = (!random.once_in(3)).then(|| 1 + random.below(5) as u32);
    spec
}

fn random_stages(random: &mut Random, graph: &Graph) -> Vec<Nodes> {
    let origins: Vec<&str> = graph.nodes.iter().map(|n| n.origin.as_str()).collect();
    let all: Vec<NodeId> = graph.node_ids().collect();
    if random.once_in(10) && all.len() > 1 {
        return interleaved(random, &origins);
    }
    let mut ends: Vec<usize> = match random.below(5) {
        0..=2 => vec![],
        _ => (0..1 + random.below(3))
            .map(|_| random.below(all.len()))
            .collect(),
    };
    // Nodes that one node of the file became stay together.
    for end in &mut ends {
        while *end + 1 < all.len() && origins[*end] == origins[*end + 1] {
            *end += 1;
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends.retain(|&end| end + 1 < all.len());
    let mut stages = vec![];
    let mut start = 0;
    for end in ends {
        let asked = StageNodes::Until(origins[end].into());
        let own = all[start..=end].to_vec();
        stages.push(Nodes { asked, own });
        start = end + 1;
    }
    let own = all[start..].to_vec();
    let asked = StageNodes::Rest;
    stages.push(Nodes { asked, own });
    stages
}

/// Two lists of any nodes.
fn interleaved(random: &mut Random, origins: &[&str]) -> Vec<Nodes> {
    let mut lists: [Vec<(NodeId, &str)>; 2] = [vec![], vec![]];
    for (at, origin) in origins.iter().enumerate() {
        let same = lists
            .iter()
            .position(|l| l.last().is_some_and(|n| n.1 == *origin));
        let into = same.unwrap_or_else(|| random.below(2));
        lists[into].push((NodeId::new(at), origin));
    }
    let lists = lists.into_iter().filter(|list| !list.is_empty());
    lists
        .map(|list| {
            let mut names: Vec<String> = list.iter().map(|n| n.1.to_string()).collect();
            names.dedup();
            let own = list.into_iter().map(|n| n.0).collect();
            let asked = StageNodes::List(names);
            Nodes { asked, own }
        })
        .collect()
}

/// Some of `most` ranks in any order.
fn some_ranks(random: &mut Random, most: usize) -> Vec<usize> {
    let mut ranks: Vec<usize> = (0..most).collect();
    shuffle(random, &mut ranks);
    ranks.truncate(1 + random.below(most).max(random.below(most)));
    ranks
}

fn shuffle<T>(random: &mut Random, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, random.below(i + 1));
    }
}

fn without_gaps(ranks: &mut [Vec<usize>]) {
    let mut used: Vec<usize> = ranks.iter().flatten().copied().collect();
    used.sort_unstable();
    used.dedup();
    for rank in ranks.iter_mut().flatten() {
        *rank = used.binary_search(rank).expect("it is used");
    }
}

fn random_split(random: &mut Random, graph: &Graph, own: &[NodeId], ranks: &[usize]) -> SplitSpec {
    match random.below(20) {
        0..=7 => SplitSpec::Rows(random_rows(random, graph, own, ranks)),
        8..=10 => SplitSpec::Grid(random_grid(random, graph, own, ranks.len())),
        11..=16 => SplitSpec::Channels(ChannelsSpec {
            shares: shares(random, ranks.len()),
            pair: random_pairing(random, graph, own),
        }),
        _ => SplitSpec::Frames(FramesSplitSpec {
            shares: shares(random, ranks.len()),
        }),
    }
}

/// None, or some of 0 to 4; now and then one too many, or no share at all.
fn shares(random: &mut Random, count: usize) -> Vec<u64> {
    match random.below(10) {
        0..=3 => vec![],
        _ => {
            let more = usize::from(random.once_in(60));
            let mut all: Vec<u64> = (0..count + more).map(|_| random.below(5) as u64).collect();
            if !random.once_in(20) && all.iter().all(|&share| share == 0) {
                all[0] = 1;
            }
            all
        }
    }
}

fn origin(graph: &Graph, id: NodeId) -> String {
    graph.node(id).origin.clone()
}

fn random_exchange(
    random: &mut Random,
    graph: &Graph,
    own: &[NodeId],
    axes: &[usize],
) -> ExchangeSpec {
    let at = match random.once_in(2) {
        true => Exchange::Each,
        false => {
            // What is cut in space, mostly: elsewhere there is nothing to exchange.
            let every = 1 + random.below(3);
            let stray = random.once_in(30);
            let fits = |id: &&NodeId| axes.iter().all(|&a| cuttable(graph, **id, a)) || stray;
            let some = own.iter().filter(fits).filter(|_| random.once_in(every));
            let mut names: Vec<String> = some.map(|&id| origin(graph, id)).collect();
            names.dedup();
            if random.once_in(60) {
                names.push("nobody".into());
            }
            match names.is_empty() {
                true => Exchange::Each,
                false => Exchange::Behind(names),
            }
        }
    };
    ExchangeSpec {
        at,
        overlap: random.once_in(2),
        gather: !random.once_in(12),
    }
}

fn random_rows(random: &mut Random, graph: &Graph, own: &[NodeId], ranks: &[usize]) -> RowsSpec {
    let mut rows = RowsSpec {
        shares: shares(random, ranks.len()),
        exchange: random_exchange(random, graph, own, &[2]),
        ..RowsSpec::default()
    };
    if random.once_in(4) {
        for _ in 0..1 + random.below(3) {
            let id = own[random.below(own.len())];
            let shape = &graph.activation(graph.node(id).outputs[0]).shape;
            let length = shape.get(2).copied().unwrap_or(1);
            let end = |_| random.below(length + 1);
            let mut ends: Vec<usize> = (1..ranks.len()).map(end).collect();
            ends.sort_unstable();
            if random.once_in(20) {
                ends.reverse();
            }
            let name = origin(graph, id);
            if !cuttable(graph, id, 2) && !random.once_in(20) {
                continue;
            }
            if rows.cuts.iter().all(|(other, _)| *other != name) {
                rows.cuts.push((name, ends));
            }
        }
    }
    if ranks.len() >= 3 && random.once_in(3) {
        let rank = ranks[1 + random.below(ranks.len() - 2)];
        let rank = if random.once_in(20) { ranks[0] } else { rank };
        let count = ZoneRows::Count(random.below(8));
        let asked = [ZoneRows::Min, count][usize::from(random.once_in(3))];
        rows.zone = Some(ZoneSpec { rank, rows: asked });
        if !random.once_in(10) {
            rows.exchange.at = Exchange::Each;
            rows.cuts.clear();
        }
    }
    rows
}

fn random_grid(random: &mut Random, graph: &Graph, own: &[NodeId], ranks: usize) -> GridSpec {
    let divisors: Vec<_> = (1..=ranks).filter(|d| ranks.is_multiple_of(*d)).collect();
    let rows = divisors[random.below(divisors.len())];
    let columns = ranks / rows + usize::from(random.once_in(40));
    GridSpec {
        grid: (rows, columns),
        rows: shares(random, rows),
        columns: shares(random, columns),
        exchange: random_exchange(random, graph, own, &[2, 3]),
    }
}

fn sums_channels(graph: &Graph, id: NodeId) -> bool {
    matches!(
        graph.node(id).op,
        Op::Conv { groups: 1, .. } | Op::Gemm { .. }
    )
}

fn random_pairing(random: &mut Random, graph: &Graph, own: &[NodeId]) -> Pairing {
    match random.below(4) {
        0 => return Pairing::None,
        1 => return Pairing::Auto,
        _ => {}
    }
    let (mut list, mut firsts) = (vec![], vec![]);
    for &second in own.iter().rev() {
        let fits = sums_channels(graph, second) || random.once_in(60);
        if !fits || firsts.contains(&second) || random.once_in(3) {
            continue;
        }
        let reduce = [ReduceSpec::Root, ReduceSpec::Ring, ReduceSpec::Scatter];
        let reduce = reduce[random.below(3)];
        let first = sum_before(graph, own, second).filter(|_| !random.once_in(3));
        firsts.extend(first);
        let nodes = first.into_iter().chain([second]);
        let nodes = nodes.map(|id| origin(graph, id)).collect();
        list.push(PairSpec { nodes, reduce });
    }
    shuffle(random, &mut list);
    Pairing::List(list)
}

/// The node that adds up over channels and whose output a chain of others brings to `second`.
fn sum_before(graph: &Graph, own: &[NodeId], second: NodeId) -> Option<NodeId> {
    let mut at = second;
    loop {
        let input = graph.node(at).activations().next()?;
        at = graph
            .activation(input)
            .producer
            .filter(|id| own.contains(id))?;
        if sums_channels(graph, at) {
            return Some(at);
        }
    }
}
