//! What the samples say: a line for each run, and the bars over all cases.

use std::collections::BTreeMap;

use super::run::MEMORY;
use crate::lab::{median, Sample};
use crate::record::Bar;

/// A run in words.
pub fn line(sample: &Sample) -> String {
    let of = |name: &str| sample.values.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "{}: run {}, predicted {:.1} ms, measured {:.1} ms, {:+.1} %, corrected {:+.1} %; \
         bytes {}; memory {:+.1} %",
        sample.case,
        of("turn"),
        of("predicted_ms"),
        of("measured_ms"),
        of("raw_error") * 100.0,
        of("error") * 100.0,
        if of("bytes_differ") == 0.0 {
            "equal"
        } else {
            "differ"
        },
        of("memory_error") * 100.0,
    )
}

/// The bars, by the medians of each case's runs.
pub fn bars(samples: &[Sample]) -> Vec<Bar> {
    let mut cases: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        cases.entry(&sample.case).or_default().push(sample);
    }
    // The size of each case's median.
    let each = |name: &str| -> Vec<f64> {
        let own = |runs: &Vec<&Sample>| {
            let values = runs.iter().filter_map(|run| run.values.get(name).copied());
            let values: Vec<f64> = values.collect();
            (!values.is_empty()).then(|| median(&values).abs())
        };
        cases.values().filter_map(own).collect()
    };
    let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let worst = |name: &str| largest(each(name));
    let single = |name: &str| {
        let own = samples.iter().filter_map(|sample| sample.values.get(name));
        largest(own.map(|value| value.abs()).collect())
    };
    let count = (cases.len(), cases.len());
    let bar = |what: &str, bar: &str, (value, limit): (f64, f64), unit: &str| Bar {
        what: what.into(),
        bar: bar.into(),
        figure: format!("{value:.1}{unit}"),
        met: (!samples.is_empty()).then_some(value <= limit),
        by_all: false,
        count,
    };
    let percent = |value: f64| value * 100.0;
    let memory = MEMORY[1..].iter().map(|name| worst(name));
    vec![
        bar(
            "predicted latency or period, median error",
            "≤ 8 %",
            (percent(median(&each("error"))), 8.0),
            " %",
        ),
        bar(
            "the same, worst",
            "≤ 20 %",
            (percent(worst("error")), 20.0),
            " %",
        ),
        bar(
            "the same, worst of single runs",
            "",
            (percent(single("error")), f64::INFINITY),
            " %",
        ),
        bar(
            "the same, of median latencies, worst",
            "",
            (percent(worst("error_of_medians")), f64::INFINITY),
            " %",
        ),
        bar(
            "ranks whose bytes differ, in any run",
            "0",
            (single("bytes_differ"), 0.0),
            "",
        ),
        bar(
            "peak memory of a rank, worst error",
            "≤ 10 %",
            (percent(memory.fold(0.0, f64::max)), 10.0),
            " %",
        ),
        bar(
            "a profile, the longest",
            "≤ 180 s",
            (single("profile_s"), 180.0),
            " s",
        ),
    ]
}
