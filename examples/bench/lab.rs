//! Samples taken on a noisy machine: probes around each one, and what may be concluded of them.
//!
//! A core of a shared machine may run slower than its neighbour for long spells. A short loop of
//! fixed work brackets every sample on every core that it uses; where the loop says that the
//! cores differ, or that one of them changed on the way, the sample is stored and excluded.
//!
//! Memory and the last cache are shared with neighbours whom no loop of arithmetic sees: where a
//! comparison is between one core and two, which need more of both, the cores also read through
//! memory at once, and samples during which that was slow for this job are stored and excluded, too.
//!
//! Some machines change so often that hardly a sample is kept, and those by chance. There all
//! samples of a case may confirm a bar, by the range in which their figure lies; never deny it,
//! because uneven cores do not only scatter a gain but also lower it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use autodice::stats::Summary;
use serde::{Deserialize, Serialize};

/// Kept samples that a median needs.
const ENOUGH: usize = 7;
/// Samples that a figure of all of them needs.
const ENOUGH_OF_ALL: usize = 20;
/// Neighbouring samples that are drawn together.
const RUN: usize = 5;
/// Cores, or one core before and after, may differ by this much.
const TOLERANCE: f64 = 1.05;
/// Reading through memory may take this much longer than in the quickest quarter of the samples.
const MEMORY_TOLERANCE: f64 = 1.1;
/// The value under which a sample has it: the longest of all cores, before and after.
pub const READING: &str = "reading_ms";

/// The probe's time on each core: before and after the sample, in milliseconds.
pub type Probes = Vec<(f64, f64)>;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Which of the part's comparisons it belongs to.
    pub case: String,
    /// By core.
    pub probes: Probes,
    /// Why it is excluded; empty where it is kept.
    pub reason: String,
    /// What was measured, by name (units last).
    pub values: BTreeMap<String, f64>,
}

/// What makes a sample unfit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A core changed on the way. For ratios whose two sides ran on the same cores.
    Drift,
    /// A core changed on the way, or the cores differ. For ratios between one core and two.
    DriftAndCores,
    /// Nothing: for sizes, which the clock does not touch.
    None,
}

/// When to stop taking samples.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Kept samples of each case.
    pub wanted: usize,
    /// Time for each case; one that is over leaves the case with fewer.
    pub limit: Duration,
}

impl Sample {
    /// A sample, judged by the rule.
    pub fn new(case: &str, rule: Rule, probes: Probes, values: &[(&str, f64)]) -> Self {
        let values = values.iter().map(|&(name, value)| (name.into(), value));
        Self {
            case: case.into(),
            reason: unfit(rule, &probes),
            probes,
            values: values.collect(),
        }
    }
}

fn unfit(rule: Rule, probes: &Probes) -> String {
    let apart = |a: f64, b: f64| a.max(b) / a.min(b) > TOLERANCE;
    let drifted = probes.iter().any(|&(before, after)| apart(before, after));
    let mean = |&(before, after): &(f64, f64)| (before + after) / 2.0;
    let means: Vec<f64> = probes.iter().map(mean).collect();
    let differ = means
        .iter()
        .any(|&one| means.iter().any(|&other| apart(one, other)));
    match rule {
        Rule::Drift | Rule::DriftAndCores if drifted => "drift".into(),
        Rule::DriftAndCores if differ => "cores differ".into(),
        _ => String::new(),
    }
}

/// How long a fixed piece of arithmetic takes on this core at the moment, in milliseconds: about
/// eight, so that a process which shares the core shows. It keeps the core's arithmetic units
/// full, so that a neighbour on the same physical core shows, too.
pub fn probe() -> f64 {
    let start = Instant::now();
    compute(240_000);
    start.elapsed().as_secs_f64() * 1e3
}

/// Memory to read through: as much as a layer's weights and activations, more than a core's own cache.
pub struct Memory(Vec<f32>);

impl Memory {
    /// 12 MiB.
    pub fn new() -> Self {
        Self((0..3 << 20).map(|i| (i % 7) as f32).collect())
    }

    /// How long it takes to read all of it eight times, in milliseconds: two to ten.
    pub fn reading_ms(&self) -> f64 {
        let start = Instant::now();
        for _ in 0..8 {
            let mut sums = [0.0_f32; 64];
            for cells in black_box(&self.0).chunks_exact(sums.len()) {
                sums.iter_mut()
                    .zip(cells)
                    .for_each(|(sum, cell)| *sum += cell);
            }
            black_box(sums);
        }
        start.elapsed().as_secs_f64() * 1e3
    }
}

/// Excludes the samples of one case during which reading through memory was slow.
pub fn exclude_slow_reading(samples: &mut [Sample]) {
    let reading = |sample: &Sample| sample.values.get(READING).copied();
    let mut all: Vec<f64> = samples.iter().filter_map(reading).collect();
    all.sort_by(f64::total_cmp);
    let Some(quick) = all.get(all.len() / 4) else {
        return;
    };
    for sample in samples {
        let slow = reading(sample).is_some_and(|ms| ms > quick * MEMORY_TOLERANCE);
        if slow && sample.reason.is_empty() {
            sample.reason = "memory".into();
        }
    }
}

/// So many rounds of arithmetic, a thirtieth of a microsecond each, about.
fn compute(rounds: usize) {
    let mut cells = [1.0_f32; 512];
    for _ in 0..black_box(rounds) {
        for cell in &mut cells {
            *cell = *cell * 0.999 + 0.001;
        }
    }
    black_box(cells);
}

/// Takes samples until enough are kept or the time is over; `take` gets the sample's number.
///
/// # Errors
/// The first that `take` returns.
pub fn collect(
    quota: Quota,
    mut take: impl FnMut(usize) -> anyhow::Result<Sample>,
) -> anyhow::Result<Vec<Sample>> {
    let start = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    while !is_over(quota, start, &samples) {
        samples.push(take(samples.len())?);
    }
    Ok(samples)
}

/// Whether no further sample is to be taken.
pub fn is_over(quota: Quota, start: Instant, samples: &[Sample]) -> bool {
    kept(samples).count() >= quota.wanted || (start.elapsed() > quota.limit && !samples.is_empty())
}

/// The samples that count.
pub fn kept(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| sample.reason.is_empty())
}

/// What the samples of one case say.
pub struct Case<'a> {
    /// Those that count; where none does all are looked at, which is no measurement.
    samples: Vec<&'a Sample>,
    all: Vec<&'a Sample>,
    /// Samples that count, and all.
    pub count: (usize, usize),
}

/// What samples come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// By enough samples that count.
    Kept(f64),
    /// By all samples, because too few count: the figure, and those of resamples in order.
    All(f64, Vec<f64>),
    /// Too few samples for either.
    Guess(f64),
}

impl<'a> Case<'a> {
    /// The samples of a case.
    pub fn of(samples: &'a [Sample], case: &str) -> Self {
        let all: Vec<_> = samples
            .iter()
            .filter(|sample| sample.case == case)
            .collect();
        let fit: Vec<_> = all
            .iter()
            .copied()
            .filter(|sample| sample.reason.is_empty())
            .collect();
        let count = (fit.len(), all.len());
        let samples = if fit.is_empty() { all.clone() } else { fit };
        Self {
            samples,
            all,
            count,
        }
    }

    /// What `of` makes of the samples.
    pub fn figure(&self, of: impl Fn(&Self) -> f64) -> Figure {
        if self.count.0 >= ENOUGH {
            return Figure::Kept(of(self));
        }
        if self.count.1 < ENOUGH_OF_ALL {
            return Figure::Guess(of(self));
        }
        let with = |samples: Vec<&'a Sample>| Self {
            samples,
            all: vec![],
            count: self.count,
        };
        let mut figures: Vec<f64> = resamples(self.all.len())
            .map(|places| of(&with(places.iter().map(|&place| self.all[place]).collect())))
            .collect();
        figures.sort_by(f64::total_cmp);
        Figure::All(of(&with(self.all.clone())), figures)
    }

    /// The median of a value; NaN where there is none.
    pub fn median(&self, name: &str) -> f64 {
        median(&self.values(name))
    }

    /// The largest of a value.
    pub fn largest(&self, name: &str) -> f64 {
        self.values(name).into_iter().fold(f64::NAN, f64::max)
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let value = |sample: &&Sample| sample.values.get(name).copied();
        self.samples.iter().filter_map(value).collect()
    }
}

/// A thousand times as many of `count` things as there are, drawn in runs of neighbours (the moving
/// block bootstrap, Künsch 1989), because a core that is slow stays so for some samples. Always the
/// same draws, so that a record can be worked out again.
fn resamples(count: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % count
    };
    (0..1000).map(move |_| {
        let starts = std::iter::repeat_with(&mut draw).take(count.div_ceil(RUN));
        let places = starts.flat_map(|start| (start..start + RUN).map(|place| place % count));
        places.take(count).collect()
    })
}

/// The median by nearest rank; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    Summary::of(values).map_or(f64::NAN, |summary| summary.p50)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kept: usize, excluded: usize, value: impl Fn(usize) -> f64) -> Vec<Sample> {
        let sample = |number: usize| {
            let drifted = if number < kept { 1.0 } else { 2.0 };
            let values = [("value", value(number))];
            Sample::new("case", Rule::Drift, vec![(1.0, drifted)], &values)
        };
        (0..kept + excluded).map(sample).collect()
    }

    fn figure(samples: &[Sample]) -> Figure {
        Case::of(samples, "case").figure(|case| case.median("value"))
    }

    #[test]
    fn few_kept_samples_are_no_measurement_and_many_of_all_have_a_range() {
        assert_eq!(
            figure(&samples(7, 40, |n| (n >= 7) as u8 as f64)),
            Figure::Kept(0.0)
        );
        assert_eq!(figure(&samples(3, 10, |_| 2.0)), Figure::Guess(2.0));
        assert_eq!(
            figure(&samples(0, 30, |_| 2.0)),
            Figure::All(2.0, vec![2.0; 1000])
        );
        let scattered = figure(&samples(2, 99, |n| (n * 37 % 101) as f64));
        let Figure::All(middle, figures) = scattered else {
            panic!("of all samples");
        };
        assert_eq!((middle, figures.len()), (50.0, 1000));
        let (low, high) = (figures[25], figures[975]);
        assert!((30.0..46.0).contains(&low), "{low}");
        assert!((54.0..70.0).contains(&high), "{high}");
    }

    #[test]
    fn slow_reading_excludes_a_sample_that_was_kept() {
        let mut all = samples(4, 1, |_| 1.0);
        let times = [5.0, 5.2, 5.6, 5.4, 9.0];
        for (sample, ms) in all.iter_mut().zip(times) {
            sample.values.insert(READING.into(), ms);
        }
        exclude_slow_reading(&mut all);
        let reasons: Vec<&str> = all.iter().map(|sample| &sample.reason[..]).collect();
        assert_eq!(reasons, ["", "", "", "", "drift"]);
        all[2].values.insert(READING.into(), 6.0);
        exclude_slow_reading(&mut all);
        assert_eq!(all[2].reason, "memory");
        let mut without = samples(3, 0, |_| 1.0);
        exclude_slow_reading(&mut without);
        assert_eq!(kept(&without).count(), 3);
    }

    #[test]
    fn neighbours_are_drawn_together() {
        for places in resamples(23) {
            assert_eq!(places.len(), 23);
            for run in places.chunks(RUN) {
                assert!(run.windows(2).all(|two| two[1] == (two[0] + 1) % 23));
            }
        }
    }
}
