//! Predicted costs against closed forms, and what must hold for every plan.

mod closed_forms;
mod properties;
mod scale;

use autodice::cost::{cost, Asked, Cost, Kind};
use autodice::graph::Graph;
use autodice::plan::Plan;
use autodice::platform::Platform;

/// One µs for each multiply-accumulate, copies in no time, so many equal hosts.
pub fn hosts(count: usize, network: &str) -> Platform {
    let speed = "{gmac_per_s: 0.001, gb_per_s: 1e12}";
    let text =
        format!("{{hosts: [{{name: h, count: {count}, speed: {speed}}}], network: {network}}}");
    Platform::parse("test", &text).unwrap()
}

/// One byte a µs, and a delay.
pub fn network(alpha_us: u64) -> String {
    format!("{{link: {{alpha_us: {alpha_us}, mb_per_s: 1}}}}")
}

pub fn replay(graph: &Graph, plan: &Plan, platform: &Platform, frames: u64) -> Cost {
    let places = platform.places(&vec![None; plan.ranks.len()]).unwrap();
    let asked = Asked {
        frames,
        warmup: 0,
        intervals: true,
    };
    cost(graph, plan, platform, &places, asked).unwrap()
}

/// µs that a rank runs pieces for one frame.
pub fn runs(cost: &Cost, rank: usize, sequence: u64) -> Vec<(f64, f64)> {
    let own = cost.intervals.iter().filter(|i| {
        i.rank.index() == rank && i.sequence == sequence && matches!(i.kind, Kind::Run(_))
    });
    own.map(|i| (i.start_us, i.end_us)).collect()
}

pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0)
}
