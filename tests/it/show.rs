//! `show SPEC`: what it prints, against numbers that were worked out without it.

use autodice::cli::show::spec_text;
use autodice::graph::{Graph, PoolKind};
use autodice::plan::{check, compile, stages, stages_tally, tally, warnings, Makers, Plan};
use autodice::spec::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, Spec, SplitSpec, StageNodes, StageSpec,
};

use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::random_graph::{random_graph, Random};
use crate::support::specs::spec;

fn stage(until: Option<&str>, ranks: &[usize], split: Option<SplitSpec>) -> StageSpec {
    StageSpec {
        nodes: until.map_or(StageNodes::Rest, |name| StageNodes::Until(name.into())),
        ranks: ranks.to_vec(),
        split,
    }
}

fn exchange(behind: Option<&str>) -> ExchangeSpec {
    let at = behind.map_or(Exchange::Each, |name| Exchange::Behind(vec![name.into()]));
    ExchangeSpec {
        at,
        ..ExchangeSpec::default()
    }
}

fn rows(shares: &[u64], behind: Option<&str>) -> Option<SplitSpec> {
    Some(SplitSpec::Rows(RowsSpec {
        shares: shares.to_vec(),
        exchange: exchange(behind),
        ..RowsSpec::default()
    }))
}

fn grid(grid: (usize, usize), shares: &[u64], behind: Option<&str>) -> Option<SplitSpec> {
    let (rows, columns) = (shares.to_vec(), shares.to_vec());
    Some(SplitSpec::Grid(GridSpec {
        grid,
        rows,
        columns,
        exchange: exchange(behind),
    }))
}

fn channels(pair: Pairing) -> Option<SplitSpec> {
    let shares = vec![];
    Some(SplitSpec::Channels(ChannelsSpec { shares, pair }))
}

fn frames(shares: &[u64]) -> Option<SplitSpec> {
    let shares = shares.to_vec();
    Some(SplitSpec::Frames(FramesSplitSpec { shares }))
}

/// VGG-16 up to its first matrix, and the names of its five pools.
fn vgg16() -> (Graph, Vec<String>) {
    let mut b = GraphBuilder::new("vgg16");
    let (mut x, mut pools) = (b.input(&[1, 3, 224, 224]), vec![]);
    for (channels, depth) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..depth {
            x = b.conv(x, channels, square(3, 1, 1), 1);
            x = b.relu(x);
        }
        x = b.pool(x, PoolKind::Max, square(2, 2, 0));
        pools.push(x);
    }
    let x = b.flatten(x);
    let x = b.gemm(x, 4096);
    let graph = b.finish(&[x]);
    let name = |&pool: &_| graph.activation(pool).name.clone();
    let pools = pools.iter().map(name).collect();
    (graph, pools)
}

/// A convolution, a pool, a shared pooling and a matrix: small enough by hand.
fn small() -> Graph {
    let mut b = GraphBuilder::new("small");
    let x = b.input(&[1, 4, 8, 8]);
    let x = b.conv(x, 4, square(3, 1, 1), 1);
    let x = b.pool(x, PoolKind::Max, square(2, 2, 0));
    let x = b.global_sum(x);
    let x = b.flatten(x);
    let x = b.gemm(x, 6);
    b.finish(&[x])
}

fn shown(graph: &Graph, spec: &Spec) -> String {
    let plan = compile(graph, spec).unwrap_or_else(|error| panic!("{error}"));
    check(graph, &plan, None).unwrap_or_else(|error| panic!("{error}"));
    spec_text("some.yaml", graph, spec, &plan).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The cells of the line of a stage in the second table, from the right: inside, entry, R, GMAC.
fn stage_numbers(text: &str, index: usize) -> Vec<String> {
    let from = text.find("# stage  split").expect("the table of stages");
    let line = text[from..].lines().nth(index + 1).expect("the stage");
    let cells = line.split_whitespace().rev().take(4);
    cells.map(str::to_string).collect()
}

#[test]
fn blocks_of_vgg16_have_their_redundancy() {
    // Rows m = 2, 4, 7, then grids 2x2 and 4x4; one block that ends behind each pool.
    let wanted = [
        ["1.000", "1.001", "1.002", "1.001", "1.002"],
        ["1.018", "1.055", "1.110", "1.037", "1.116"],
        ["1.077", "1.232", "1.465", "1.164", "1.544"],
        ["1.214", "1.642", "2.266", "1.489", "2.832"],
        ["1.597", "2.702", "4.169", "2.587", "7.548"],
    ];
    let (graph, pools) = vgg16();
    for (pool, wanted) in pools.iter().zip(wanted) {
        // The vectors round cuts to the nearest row, shares round down: 7 rows are 2 + 2 + 1 + 2.
        let fourths: &[u64] = if *pool == pools[4] {
            &[2, 2, 1, 2]
        } else {
            &[]
        };
        let splits = [
            (2, rows(&[], Some(pool))),
            (4, rows(fourths, Some(pool))),
            (7, rows(&[], Some(pool))),
            (4, grid((2, 2), &[], Some(pool))),
            (16, grid((4, 4), fourths, Some(pool))),
        ];
        for ((ranks, split), wanted) in splits.into_iter().zip(wanted) {
            let ranks: Vec<usize> = (0..ranks).collect();
            let block = stage(Some(pool), &ranks, split);
            let text = shown(&graph, &spec(vec![block, stage(None, &[0], None)]));
            assert_eq!(stage_numbers(&text, 0)[2], wanted, "{pool} on {ranks:?}");
        }
    }
}

#[test]
fn rows_of_vgg16_exchange_their_bytes() {
    let (graph, pools) = vgg16();
    let body = stage(Some(&pools[4]), &[0, 1], rows(&[], None));
    let text = shown(&graph, &spec(vec![body, stage(None, &[0], None)]));
    // 1,060,864 bytes inside; 113 rows of 3 x 224 numbers of the input; 4 of 7 rows gathered.
    let stage = ["1036.0", "296.6", "1.000", "15.347"];
    assert_eq!(stage_numbers(&text, 0), stage);
    assert_eq!(stage_numbers(&text, 1), ["0.0", "56.0", "1.000", "0.103"]);
    assert_eq!(1_060_864, 1036 * 1024);
    assert!(!text.contains("# outputs"), "{text}");
}

#[test]
fn each_node_says_who_makes_what() {
    let graph = small();
    let text = shown(
        &graph,
        &spec(vec![stage(None, &[2, 0, 1], rows(&[1, 0, 1], None))]),
    );
    let wanted = "\
# stage  split       ranks  nodes   GMAC      R  entry KiB  inside KiB
  0      rows 1:0:1  2,0,1      5  0.000  1.000        1.2         0.0
# R: multiply-accumulates that the ranks compute, over the stage's GMAC, which are uncut
# entry: received of the input and of other stages; inside: of the stage itself; both for a frame
# outputs: 0.0 KiB to rank 0
# warning: rank 0 gets nothing in stages[0]
#
# stages[0]: rows 1:0:1 on 2,0,1
# node      operator    rank 2  rank 0   rank 1
  conv0     Conv           0:4       -      4:8
  pool1     MaxPool        0:2       -      2:4
  sum2      ReduceSum  sum 0:2       -  sum 2:4
  flatten3  Flatten        all       -        -
  gemm4     Gemm           all       -        -
#
plan of 'small': ranks 3, window 1, cycle 1
";
    let found = text.lines().skip(6).collect::<Vec<_>>().join("\n");
    let found = &found[..found.find("sum s0").expect("the plan follows")];
    assert_eq!(found, wanted);
}

/// Prints the tables over standard architectures for whoever looks at them; checks their width.
#[test]
fn tables_keep_to_the_terminal() {
    let (graph, pools) = vgg16();
    let body = |ranks: &[usize], split| stage(Some(&pools[4]), ranks, split);
    let tail = || stage(None, &[0], None);
    let ranks: Vec<usize> = (0..16).collect();
    for stages in [
        vec![body(&[0, 1, 2], rows(&[], None)), tail()],
        vec![body(&[0, 1, 2], rows(&[1, 0, 1], None)), tail()],
        vec![body(&ranks, grid((4, 4), &[], None)), tail()],
        vec![
            stage(Some(&pools[1]), &[0, 1], rows(&[2, 1], None)),
            body(&[2, 3], frames(&[])),
            stage(None, &[1, 3], channels(Pairing::Auto)),
        ],
    ] {
        let text = shown(&graph, &spec(stages));
        let tables = &text[..text.find("plan of").expect("the plan")];
        println!("{tables}");
        for line in tables.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn grids_channels_and_frames_have_their_own_cells() {
    let graph = small();
    let wanted = |text: &str, lines: &[&str]| {
        for line in lines {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                text.lines().any(|found| words(found) == *line),
                "{line}\n{text}"
            );
        }
    };
    let tail = || stage(None, &[1], None);
    let tiles = stage(Some("pool1"), &[0, 1, 2, 3], grid((2, 2), &[], None));
    wanted(
        &shown(&graph, &spec(vec![tiles, tail()])),
        &[
            "# stages[0]: grid 2x2 on 0-3",
            "conv0 Conv 0:4,0:4 0:4,4:8 4:8,0:4 4:8,4:8",
            "# stages[1]: one rank on 1",
            "flatten3 Flatten all",
        ],
    );
    let nodes = vec!["gemm4".to_string()];
    let reduce = ReduceSpec::Root;
    let pair = Pairing::List(vec![PairSpec { nodes, reduce }]);
    wanted(
        &shown(&graph, &spec(vec![stage(None, &[0, 1], channels(pair))])),
        &[
            "conv0 Conv c0:2 c2:4",
            "flatten3 Flatten c0:2 c2:4",
            "gemm4 Gemm sum c0:2 sum c2:4",
        ],
    );
    let replicas = stage(Some("pool1"), &[0, 2], frames(&[2, 1]));
    wanted(
        &shown(&graph, &spec(vec![replicas, tail()])),
        &[
            "# stages[0]: frames 2:1 on 0,2",
            "conv0 Conv 0 2 0",
            "# node operator rank, turn by turn",
            "flatten3 Flatten all",
        ],
    );
    // A pipeline has nothing to say node by node.
    let text = shown(
        &graph,
        &spec(vec![stage(Some("pool1"), &[0], None), tail()]),
    );
    assert!(!text.contains("# stages["), "{text}");
    wanted(&text, &["0 one rank 0 2 0.000 1.000 0.0 0.0"]);
}

#[test]
fn ranks_without_turn_or_rows_are_warned_of() {
    let graph = small();
    let lines = |stage: StageSpec| {
        let spec = spec(vec![stage]);
        let plan = compile(&graph, &spec).expect("a plan");
        warnings(&plan, &stages(&graph, &spec).expect("stages"))
    };
    assert!(lines(stage(None, &[0, 1], rows(&[], None))).is_empty());
    let found = lines(stage(None, &[0, 1, 2], frames(&[1, 0, 1])));
    assert_eq!(found, ["rank 1 gets nothing in stages[0]"]);
    // Eight rows over ten ranks leave none to the first and the sixth; the first has the matrix.
    let ranks: Vec<usize> = (0..10).collect();
    let found = lines(stage(None, &ranks, rows(&[], None)));
    assert_eq!(found, ["rank 5 gets nothing in stages[0]"]);
}

fn stage_sums(graph: &Graph, spec: &Spec, plan: &Plan, name: &str) {
    let makers = Makers::of(graph, plan).expect("what is made");
    let stages = stages(graph, spec).expect("stages");
    let by_stage = stages_tally(graph, plan, &makers, &stages);
    let by_rank = tally(graph, plan).expect("a tally");
    for turn in 0..makers.turns() {
        let turns = || by_stage.stages.iter().map(|stage| stage.turns[turn]);
        let ranks = || by_rank.ranks.iter().map(|rank| rank.turns[turn]);
        let macs: u64 = ranks().map(|rank| rank.macs).sum();
        assert_eq!(turns().map(|stage| stage.macs).sum::<u64>(), macs, "{name}");
        let bytes: u64 = ranks().map(|rank| rank.received_bytes).sum();
        let received = turns().map(|stage| stage.entry_bytes + stage.inside_bytes);
        let received = received.sum::<u64>() + by_stage.output_bytes[turn];
        assert_eq!(received, bytes, "{name}");
    }
}

/// Over random models and stages: what stages compute and receive is what ranks do.
#[test]
fn stages_and_ranks_add_up_to_the_same() {
    for seed in 0..60 {
        let mut random = Random(seed + 1);
        let graph = random_graph(&mut random, 12);
        let middle = graph.nodes[random.below(graph.nodes.len() - 1)]
            .name
            .clone();
        let mut split = || match random.below(5) {
            0 => rows(&[], None),
            1 => rows(&[2, 0, 1], None),
            2 => channels(Pairing::Auto),
            3 => frames(&[1, 1, 2]),
            _ => grid((1, 3), &[], None),
        };
        let spec = spec(vec![
            stage(Some(&middle), &[1, 0, 2], split()),
            stage(None, &[2, 1, 0], split()),
        ]);
        let name = format!("seed {seed}: {:?}", spec.stages);
        let plan = compile(&graph, &spec).unwrap_or_else(|error| panic!("{name}: {error}"));
        stage_sums(&graph, &spec, &plan, &name);
    }
}
