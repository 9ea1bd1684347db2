//! From a spec's text to a checked plan, on one core.

use std::path::Path;
use std::time::Instant;

use anyhow::{ensure, Result};
use autodice::model::read::read;
use autodice::plan::{check, compile as compile_plan};
use autodice::spec::yaml;

use crate::lab::{collect, probe, Case, Quota, Rule, Sample};
use crate::models;
use crate::ranks::take_core;
use crate::record::{Bar, Record};

/// Splits over 8 ranks.
const SPLITS: [(&str, &str); 4] = [
    ("rows, exchange each", "by: rows"),
    ("rows, exchange each, overlap", "by: rows, overlap: true"),
    ("grid 2x4, exchange each", "by: grid, grid: 2x4"),
    ("channels, pair auto", "by: channels, pair: auto"),
];
const MODEL: &str = "resnet101";
const LIMIT_S: f64 = 0.3;

/// The part.
///
/// # Errors
/// Where the model is missing or a spec is refused.
pub fn compile(folder: &Path, quota: Quota) -> Result<Record> {
    take_core(0)?;
    let model = models::file(folder, MODEL)?;
    let graph = read(&model, &[])?.graph;
    let (mut samples, mut bars, mut notes) = (vec![], vec![], vec![]);
    for (name, split) in SPLITS {
        let model = model.display();
        let text = format!(
            "model: {model}\nstages: [{{ranks: [0, 1, 2, 3, 4, 5, 6, 7], split: {{{split}}}}}]\n"
        );
        let mut messages = 0;
        samples.extend(collect(quota, |_| {
            let before = probe();
            let start = Instant::now();
            let plan = compile_plan(&graph, &yaml::parse("spec", &text)?)?;
            let compiled = start.elapsed();
            check(&graph, &plan, None)?;
            let both = start.elapsed();
            ensure!(plan.ranks.len() == 8, "a plan of 8 ranks");
            messages = plan.transfers.len();
            let values = [
                ("compile_ms", compiled.as_secs_f64() * 1e3),
                ("check_ms", (both - compiled).as_secs_f64() * 1e3),
                ("both_s", both.as_secs_f64()),
            ];
            let probes = vec![(before, probe())];
            Ok(Sample::new(name, Rule::Drift, probes, &values))
        })?);
        let case = Case::of(&samples, name);
        notes.push(format!(
            "{name}: compile {:.1} ms, check {:.1} ms, {messages} messages",
            case.median("compile_ms"),
            case.median("check_ms")
        ));
        let what = format!("compile and check, {MODEL} on 8 ranks, {name}");
        let both = (|case: &Case<'_>| case.median("both_s"), " s");
        bars.push(Bar::judged((&what, "< 0.3 s"), &case, both, |s| {
            s < LIMIT_S
        }));
    }
    let how = "One thread on one core; the model is read before. From the spec's text to the \
        plan, and the check of the whole plan, all ranks. This crate has its overflow checks and \
        debug assertions on, as in every build of it.";
    Ok(Record {
        part: "compile",
        how: how.into(),
        bars,
        samples,
        notes,
    })
}
