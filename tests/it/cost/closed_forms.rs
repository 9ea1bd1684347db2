//! Small plans whose times can be written down.

use autodice::cost::CostError;
use autodice::geometry::Interval;
use autodice::graph::macs;
use autodice::ids::{ActivationId, NodeId, PieceId, Rank};
use autodice::plan::{compile_owners, piece_work, tally, Plan, PlanBuilder};
use autodice::platform::Platform;

use super::{close, hosts, network, replay, runs};
use crate::support::graph_builder::{square, GraphBuilder};
use crate::support::hand_plans;

const A: f64 = 100.0;
/// What rank 0's other threads take of a quota for each frame, of no bytes to speak of.
const FRAME_US: f64 = 150.0;

/// conv0 conv1, the second three times the work of the first.
fn two_stages(window: u32) -> (autodice::graph::Graph, Plan, [f64; 2], [f64; 2]) {
    let mut b = GraphBuilder::new("two stages");
    let x = b.input(&[1, 2, 8, 8]);
    let y = b.conv(x, 4, square(3, 1, 1), 1);
    let z = b.conv(y, 6, square(3, 1, 1), 1);
    let graph = b.finish(&[z]);
    let plan = compile_owners(&graph, &[Rank(0), Rank(1)], 2, window);
    let compute = [0, 1].map(|n| macs(&graph, NodeId(n)) as f64);
    let bytes = [y, z].map(|a| 4.0 * graph.whole(a).volume() as f64);
    (graph, plan, compute, bytes)
}

#[test]
fn stages_take_their_sum_and_then_the_longest() {
    let (graph, plan, [c0, c1], [y, z]) = two_stages(6);
    let cost = replay(&graph, &plan, &hosts(2, &network(100)), 40);
    let latency = c0 + y + A + c1 + z + A;
    assert!(
        close(cost.frames[0].latency_us(), latency),
        "{} {latency}",
        cost.frames[0].latency_us()
    );
    let steady = cost.frames[30].landed_us - cost.frames[29].landed_us;
    assert!(
        close(steady, c0.max(c1).max(y).max(z)),
        "{steady} {c0} {c1}"
    );
    assert!(cost.bounds[0].name == "compute of rank 1 on h-1" && cost.bounds[0].is_full());
    assert!(close(cost.ranks[0].compute_us.p50, c0) && close(cost.ranks[1].compute_us.p50, c1));
    assert_eq!(cost.ranks[0].sent_bytes as f64, y);
}

#[test]
fn a_short_window_holds_frames_back() {
    for window in 1..=5 {
        let (graph, plan, [c0, c1], [y, z]) = two_stages(window);
        let cost = replay(&graph, &plan, &hosts(2, &network(100)), 60);
        let latency = c0 + y + A + c1 + z + A;
        let round = cost.frames[40 + window as usize].landed_us - cost.frames[40].landed_us;
        let wanted = latency.max(f64::from(window) * c0.max(c1).max(y).max(z));
        assert!(close(round, wanted), "window {window}: {round} {wanted}");
    }
}

#[test]
fn one_rank_is_the_sum_of_its_pieces() {
    let (graph, _, [c0, c1], _) = two_stages(1);
    let plan = compile_owners(&graph, &[Rank(0), Rank(0)], 1, 1);
    let cost = replay(&graph, &plan, &hosts(1, "{}"), 3);
    assert!(cost
        .frames
        .iter()
        .all(|frame| close(frame.latency_us(), c0 + c1)));
    assert!(close(cost.period_us().unwrap(), c0 + c1));
    assert!(close(cost.ranks[0].busy, 1.0));
}

#[test]
fn halos_travel_while_the_interior_is_made() {
    let (graph, plan) = hand_plans::row_halo();
    let macs = tally(&graph, &plan).unwrap();
    let us = |rank: usize, piece: usize| macs.ranks[rank].piece_macs[piece] as f64;
    let row = |a: u32, n: f64| {
        let shape = &graph.activation(ActivationId(a)).shape;
        4.0 * n * (shape[1] * shape[3]) as f64
    };
    for alpha in [0.0, 50.0, 3000.0] {
        let cost = replay(&graph, &plan, &hosts(2, &network(alpha as u64)), 1);
        // Rank 1 has its rows of x; each makes an edge, sends it, makes the rest.
        let begun = row(0, 5.0) + alpha;
        let up = begun + us(1, 0) + row(2, 1.0) + alpha;
        let down = us(0, 0) + alpha;
        // x and the halo share rank 0's port while both are under way.
        let shared = us(0, 0) < row(0, 5.0);
        assert!(!shared, "{} {}", us(0, 0), row(0, 5.0));
        let down = down + row(2, 1.0);
        let own = up.max(us(0, 0) + us(0, 1)) + us(0, 2);
        let other = down.max(begun + us(1, 0) + us(1, 1)) + us(1, 2) + row(3, 4.0) + alpha;
        let wanted = own.max(other);
        let found = cost.frames[0].latency_us();
        assert!(close(found, wanted), "α {alpha}: {found} {wanted}");
    }
}

#[test]
fn tables_are_read_by_rows_and_columns_have_their_share() {
    let (graph, plan) = hand_plans::row_halo();
    let unit = &autodice::graph::units(&graph)[0];
    let text = autodice::graph::work(&graph, unit);
    assert_eq!(
        text,
        "Conv k3x3 s1x1 d1x1 p1+1x1+1 1x2x8x5 w6x2x3x3 w6 > 1x6x8x5 + Relu"
    );
    let platform = Platform::parse(
        "test",
        &format!(
            "{{hosts: [{{name: h, slots: 2, speed: {{gmac_per_s: 0.001, gb_per_s: 1e12, run_us: \
             5}}, times: [{{work: \"{text}\", us: 900, rows: {{1: 300, 4: 600}}}}]}}]}}"
        ),
    );
    let cost = replay(&graph, &plan, &platform.unwrap(), 1);
    let found: Vec<f64> = runs(&cost, 0, 0).iter().map(|(a, b)| b - a).collect();
    // One row, three rows, then the second convolution.
    assert!(
        close(found[0], 305.0) && close(found[1], 505.0),
        "{found:?}"
    );
    let third = piece_work(&graph, &plan, Rank(0), &plan.ranks[0].pieces[2]).unwrap();
    let macs = tally(&graph, &plan).unwrap().ranks[0].piece_macs[PieceId(2).index()];
    assert!(third.made(&graph, NodeId(2)).is_some() && close(found[2], macs as f64 + 5.0));
}

#[test]
fn one_radio_channel_is_shared_by_both_directions() {
    // Rank 1 answers each frame while the next one comes: on a switch they do not meet.
    let mut b = GraphBuilder::new("copy");
    let x = b.input(&[1, 4, 50, 50]);
    let y = b.conv(x, 4, square(1, 1, 0), 1);
    let graph = b.finish(&[y]);
    let plan = compile_owners(&graph, &[Rank(1)], 2, 4);
    let platform = |medium: &str| {
        let link = "link: {alpha_us: 0, mb_per_s: 0.1}";
        hosts(2, &format!("{{medium: {medium}, {link}}}"))
    };
    let bytes = 4.0 * graph.whole(x).volume() as f64 / 0.1;
    let period = |medium: &str| {
        let cost = replay(&graph, &plan, &platform(medium), 60);
        (cost.frames[50].landed_us - cost.frames[40].landed_us) / 10.0
    };
    let (switch, radio) = (period("switch"), period("radio"));
    assert!(close(switch, bytes), "{switch} {bytes}");
    assert!(close(radio, 2.0 * bytes), "{radio} {bytes}");
}

#[test]
fn a_site_s_trunk_is_slow_and_adds_its_delay() {
    let (graph, plan, [c0, c1], [y, z]) = two_stages(1);
    let sites = "sites: [{hosts: [h-1], alpha_us: 7000, mb_per_s: 0.5}]";
    let text = format!("{{link: {{alpha_us: 100, mb_per_s: 1}}, {sites}}}");
    let cost = replay(&graph, &plan, &hosts(2, &text), 1);
    // The notice takes the trunk, too, but y takes longer.
    let wanted = c0 + 2.0 * y + c1 + 2.0 * z + 2.0 * (A + 7000.0);
    let found = cost.frames[0].latency_us();
    assert!(close(found, wanted), "{found} {wanted}");
}

#[test]
fn messages_take_a_single_thread_from_its_runs() {
    let (graph, plan, _, _) = two_stages(4);
    let host = |threads: usize| {
        let speed = "{gmac_per_s: 0.001, gb_per_s: 1e12, message_us: 40}";
        let text = format!(
            "{{hosts: [{{name: h, count: 2, threads: {threads}, speed: {speed}}}], network: {}}}",
            network(100)
        );
        Platform::parse("test", &text).unwrap()
    };
    let compute = |threads| {
        replay(&graph, &plan, &host(threads), 40).ranks[1]
            .compute_us
            .p50
    };
    let (one, two) = (compute(1), compute(2));
    // A message in, one out and one that opens a frame beside every Run of the steady state.
    assert!(close(one, two + 120.0), "{one} {two}");
}

#[test]
fn a_run_pays_for_what_moves_beside_it() {
    let (graph, plan, [c0, c1], [y, z]) = two_stages(6);
    let platform = |beside: &str| {
        let speed = format!("{{gmac_per_s: 0.001, gb_per_s: 1e12, {beside}}}");
        let host = format!("{{name: h, count: 2, speed: {speed}}}");
        let text = format!("{{hosts: [{host}], network: {}}}", network(100));
        Platform::parse("t", &text).unwrap()
    };
    for (beside, byte_us) in [
        ("beside_us_per_mb: 100000", 0.1),
        // Both messages are short.
        (
            "beside_us_per_mb: 100000, beside_short_us_per_mb: 200000",
            0.2,
        ),
    ] {
        let cost = replay(&graph, &plan, &platform(beside), 60);
        // Rank 1 computes all the time, so that all of its messages move beside a Run.
        let found = (cost.frames[50].landed_us - cost.frames[40].landed_us) / 10.0;
        let wanted = c1 + byte_us * (y + z);
        assert!((found - wanted).abs() < 3.0, "{found} {wanted}");
    }
    // Alone no frame moves anything beside one.
    let (graph, plan, ..) = two_stages(1);
    let cost = replay(&graph, &plan, &platform("beside_us_per_mb: 100000"), 3);
    let latency = c0 + y + A + c1 + z + A;
    assert!(close(cost.frames[2].latency_us(), latency));
}

#[test]
fn a_run_behind_a_wait_takes_longer() {
    let waking = "{gmac_per_s: 0.001, gb_per_s: 1e12, wake_us: 15, wake_us_per_ms: 100}";
    let text = format!(
        "{{hosts: [{{name: h, count: 2, speed: {waking}}}], network: {}}}",
        network(100)
    );
    let platform = Platform::parse("t", &text).unwrap();
    // Both ranks wait for more than 2 ms, and compute for more than one.
    let (graph, plan, [c0, c1], [y, z]) = two_stages(1);
    let latency = replay(&graph, &plan, &platform, 3).frames[2].latency_us();
    let wanted = c0 + 115.0 + y + A + c1 + 115.0 + z + A;
    assert!(close(latency, wanted), "{latency} {wanted}");
    // Rank 1 never waits.
    let (graph, plan, [_, c1], _) = two_stages(6);
    let cost = replay(&graph, &plan, &platform, 40);
    let period = cost.frames[30].landed_us - cost.frames[29].landed_us;
    assert!(close(period, c1), "{period} {c1}");
}

#[test]
fn a_main_thread_hands_on_one_message_after_the_other() {
    let mut b = GraphBuilder::new("two branches");
    let x = b.input(&[1, 2, 8, 8]);
    let y = b.conv(x, 4, square(3, 1, 1), 1);
    let z = b.conv(x, 4, square(3, 1, 1), 1);
    let graph = b.finish(&[y, z]);
    let plan = compile_owners(&graph, &[Rank(1), Rank(2)], 3, 1);
    let compute = macs(&graph, NodeId(0)) as f64;
    let bytes = [x, y].map(|a| 4.0 * graph.whole(a).volume() as f64);
    // Longer than the first message takes, and than both answers.
    let each = 4000.0;
    let per_mb = each / bytes[0] * 1e6;
    let speed = format!("{{gmac_per_s: 0.001, gb_per_s: 1e12, message_us_per_mb: {per_mb}}}");
    let host = format!("{{name: h, count: 3, threads: 2, speed: {speed}}}");
    let text = format!("{{hosts: [{host}], network: {}}}", network(100));
    let platform = Platform::parse("t", &text).unwrap();
    let latency = replay(&graph, &plan, &platform, 1).frames[0].latency_us();
    let wanted = each + bytes[0] + A + compute + bytes[1] + A;
    assert!(close(latency, wanted), "{latency} {wanted}");
}

#[test]
fn a_message_that_another_interrupts_costs_more() {
    let mut b = GraphBuilder::new("three branches");
    let x = b.input(&[1, 2, 64, 64]);
    let own = b.conv(x, 2, square(3, 1, 1), 1);
    let others = [0, 1].map(|_| b.conv(x, 4, square(3, 1, 1), 1));
    let graph = b.finish(&[own, others[0], others[1]]);
    let plan = compile_owners(&graph, &[Rank(0), Rank(1), Rank(2)], 3, 1);
    let bytes = 4.0 * graph.whole(x).volume() as f64;
    // The second message sets out while the first moves, a byte in each µs.
    let (each, byte_us) = (90.0, 0.1);
    let speed = format!(
        "{{gmac_per_s: 0.001, gb_per_s: 1e12, message_us_per_mb: {}, beside_us_per_mb: 100000}}",
        each / bytes * 1e6
    );
    let host = format!("{{name: h, count: 3, speed: {speed}}}");
    let text = format!("{{hosts: [{host}], network: {}}}", network(100));
    let platform = Platform::parse("t", &text).unwrap();
    // Both are through before rank 0's own branch is, and the answers come later.
    let found = replay(&graph, &plan, &platform, 1).ranks[0].compute_us.p50;
    let wanted = macs(&graph, NodeId(0)) as f64 + 2.0 * bytes * byte_us;
    let wanted = wanted + each + each / (1.0 - byte_us);
    assert!((found - wanted).abs() < 0.5, "{found} {wanted}");
}

#[test]
fn hosts_on_one_core_take_turns() {
    let (graph, plan, [c0, c1], _) = two_stages(6);
    let period = |core: &str| {
        let quota = "quota: {cores: 0.9, burst_us: 1e9}";
        let looks = "look_us: 0, look_beside_us: 0";
        let speed = format!("{{gmac_per_s: 0.001, gb_per_s: 1e12, {looks}}}");
        let host = format!("{{name: h, count: 2, {core} {quota}, speed: {speed}}}");
        let text = format!("{{hosts: [{host}], network: {}}}", network(100));
        let platform = Platform::parse("t", &text).unwrap();
        let cost = replay(&graph, &plan, &platform, 300);
        (cost.frames[280].landed_us - cost.frames[80].landed_us) / 200.0
    };
    // No two Runs under a quota are quite alike.
    let (apart, together) = (period(""), period("core: c,"));
    assert!((apart / c1 - 1.0).abs() < 0.03, "{apart} {c1}");
    let frame = FRAME_US + c0 + c1;
    assert!((together / frame - 1.0).abs() < 0.03, "{together} {frame}");
}

#[test]
fn a_quota_is_used_for_reading_frames_too() {
    let (graph, _, [c0, c1], _) = two_stages(1);
    let plan = compile_owners(&graph, &[Rank(0), Rank(0)], 1, 2);
    let period = |gb_per_s: f64, quota: &str| {
        let speed = format!("{{gmac_per_s: 0.001, gb_per_s: {gb_per_s}}}");
        let host = format!("{{name: h, {quota} speed: {speed}}}");
        let platform = Platform::parse("t", &format!("{{hosts: [{host}], network: {{}}}}"));
        replay(&graph, &plan, &platform.unwrap(), 200)
            .period_us()
            .unwrap()
    };
    let bytes = 4.0 * graph.whole(ActivationId(0)).volume() as f64;
    // Read and written six times on the way, a µs each.
    let rate = 6.0 * bytes / 1000.0 / 1e3;
    let quota = "quota: {cores: 0.5, burst_us: 1000},";
    let (fast, slow) = (period(1e12, quota), period(rate, quota));
    assert!((slow - fast - 2000.0).abs() < 40.0, "{slow} {fast}");
    assert!(fast > 2.0 * (c0 + c1), "{fast} {c0} {c1}");
    // On a core of its own nobody waits for it.
    assert!(close(period(rate, ""), c0 + c1));
}

#[test]
fn joules_are_watts_over_what_a_host_does() {
    let (graph, plan, [c0, c1], [y, z]) = two_stages(1);
    let watts = "{idle: 2, compute: 7, transmit: 3}";
    let speed = "{gmac_per_s: 0.001, gb_per_s: 1e12}";
    let text = format!(
        "{{hosts: [{{name: h, count: 2, watts: {watts}, speed: {speed}}}], network: {}}}",
        network(100)
    );
    let cost = replay(&graph, &plan, &Platform::parse("t", &text).unwrap(), 1);
    let span = cost.frames[0].latency_us();
    let joules =
        |compute: f64| (2.0 * (span - compute - y - z) + 7.0 * compute + 3.0 * (y + z)) / 1e6;
    for (rank, compute) in [(0, c0), (1, c1)] {
        let found = cost.ranks[rank].joules.unwrap();
        assert!(
            close(found * 1e6, joules(compute) * 1e6),
            "{found} {}",
            joules(compute)
        );
    }
}

#[test]
fn what_is_not_known_is_said_with_the_host() {
    let (graph, plan, _, _) = two_stages(1);
    for (text, wanted) in [
        (
            "{hosts: [{name: pi, slots: 2}]}",
            "host pi: neither a time for node conv0 nor speed.gmac_per_s is there",
        ),
        (
            "{hosts: [{name: a, speed: {gmac_per_s: 1}}, {name: b, speed: {gmac_per_s: 1}}]}",
            "network: no pair a, b and no link for pairs that are not listed",
        ),
    ] {
        let platform = Platform::parse("test", text).unwrap();
        let places = platform.places(&[None, None]).unwrap();
        let asked = autodice::cost::Asked::default();
        let error = autodice::cost::cost(&graph, &plan, &platform, &places, asked).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn memory_counts_what_other_frames_have_on_its_way() {
    let window = 6;
    let (graph, plan, [_, c1], [_, z]) = two_stages(window);
    let rank_1 = |mb_per_s: f64| {
        let link = format!("{{link: {{alpha_us: 1, mb_per_s: {mb_per_s}}}}}");
        let cost = replay(&graph, &plan, &hosts(2, &link), 60);
        cost.ranks[1].memory_bytes as f64
    };
    // The second rank's outputs leave at once, or so slowly that they pile up.
    let (fast, slow) = (rank_1(1e3), rank_1(z / c1 / 4.0));
    // The heap's holes are a thirty-second of it.
    let more = (slow - fast) / z / (33.0 / 32.0);
    assert!(
        more > 1.0 && more <= f64::from(window - 1),
        "{fast} {slow} {z}"
    );
}

#[test]
fn a_hosts_memory_is_for_its_ranks_together() {
    // Four ranks of unlike needs on two hosts.
    let mut b = GraphBuilder::new("uneven");
    let mut x = b.input(&[1, 2, 8, 8]);
    for channels in [4, 512, 512, 8] {
        x = b.conv(x, channels, square(3, 1, 1), 1);
    }
    let graph = b.finish(&[x]);
    let plan = compile_owners(&graph, &[Rank(0), Rank(1), Rank(2), Rank(3)], 4, 2);
    let with = |mib: u64| {
        let speed = "{gmac_per_s: 1, gb_per_s: 1}";
        let text = format!(
            "{{hosts: [{{name: h, count: 2, slots: 2, memory_mib: {mib}, speed: {speed}}}],
            network: {{link: {{alpha_us: 1, mb_per_s: 1}}}}}}"
        );
        replay(&graph, &plan, &Platform::parse("test", &text).unwrap(), 1)
    };
    let ranks = with(1).ranks;
    let needed: Vec<u64> = ranks.iter().map(|rank| rank.memory_bytes).collect();
    let pairs = [needed[0] + needed[1], needed[2] + needed[3]];
    assert!(needed[2] > needed[3] + (1 << 20), "{needed:?}");
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let most = mib(pairs[0].max(pairs[1]));
    assert_eq!(with(most).fits(), Ok(()));
    let few = with(most - 1);
    let misfits: Vec<usize> = (0..4)
        .filter(|&rank| mib(pairs[rank / 2]) > most - 1)
        .collect();
    let found: Vec<usize> = few
        .misfits()
        .map(|error| match error {
            CostError::Memory { rank, .. } => rank.index(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(found, misfits);
}

#[test]
fn memory_counts_boxes_out_of_parts_and_into_them() {
    // 64 MiB each, so that a node and a piece more hardly count.
    let mut g = GraphBuilder::new("large");
    let x = g.input(&[1, 64, 512, 512]);
    let y = g.conv(x, 64, square(1, 1, 0), 1);
    let graph = g.finish(&[y]);
    let whole = graph.whole(y);
    let with = |cuts: &[(usize, usize)]| {
        let mut b = PlanBuilder::new(&graph, 1, 1, 1);
        let from = b.input(x);
        let into = b.whole(Rank(0), y);
        for &(start, end) in cuts {
            let region = whole.with_axis(2, Interval::new(start, end));
            let piece = b.piece_needing(Rank(0), &[NodeId(0)], &[from], vec![(into, region)]);
            b.run(Rank(0), piece.unwrap());
        }
        b.output(into);
        b.release_after_last_use();
        replay(&graph, &b.build(), &hosts(1, "{}"), 2).ranks[0].memory_bytes as f64
    };
    let more = with(&[(0, 256), (256, 512)]) - with(&[(0, 512)]);
    // Half of x, copied out, and half of y, before it is copied into y; a tenth more in holes.
    let boxes = 1.1 * 4.0 * whole.volume() as f64;
    assert!((more / boxes - 1.0).abs() < 0.01, "{more} {boxes}");
}
