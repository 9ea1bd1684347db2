//! Intervals as a picture: an SVG with a row for each rank, drawn by hand.
//!
//! A row has the compute thread's Runs, coloured by frame, its copies in grey, and below them a
//! thin lane with the messages on their way out. Thin lines go from where a message starts to
//! where it arrives.

use std::collections::HashMap;
use std::fmt::Write;

use super::trace::interval_name;
use crate::cost::{Interval, Kind};
use crate::graph::Graph;
use crate::plan::Plan;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 130.0;
const TOP: f64 = 46.0;
const ROW: f64 = 34.0;
const BAR: f64 = 18.0;
const LANE: f64 = 5.0;
/// More rows are no picture any more.
const MOST_RANKS: usize = 64;
/// More lines hide each other.
const MOST_LINES: usize = 1500;
/// Colours that stay apart on white, also for most who see few colours.
const COLOURS: [&str; 8] = [
    "#4477aa", "#ee8866", "#44bb99", "#eedd88", "#aa4499", "#77aadd", "#99bb44", "#cc6677",
];

/// The picture of some frames; `hosts` has the name of every rank's machine.
pub fn timeline_svg(
    title: &str,
    (graph, plan): (&Graph, &Plan),
    hosts: &[String],
    intervals: &[Interval],
) -> String {
    let shown = hosts.len().min(MOST_RANKS);
    let height = TOP + ROW * shown as f64 + 62.0;
    let end_us = intervals.iter().map(|i| i.end_us).fold(1e-3, f64::max);
    let x = |us: f64| LEFT + us / end_us * (WIDTH - LEFT - 20.0);
    let y = |rank: usize| TOP + ROW * rank as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut put = |line: String| writeln!(svg, "{line}").expect("text takes any line");
    put(text(LEFT, 20.0, "start", 14, title));
    if shown < hosts.len() {
        let note = format!("ranks 0 to {} of {}", shown - 1, hosts.len());
        put(text(WIDTH - 20.0, 20.0, "end", 12, &note));
    }
    axis(&mut put, end_us, &x, TOP + ROW * shown as f64);
    for (rank, host) in hosts.iter().enumerate().take(shown) {
        let label = format!("rank {rank}  {host}");
        put(text(LEFT - 10.0, y(rank) + BAR - 4.0, "end", 12, &label));
        put(format!(
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"#f2f2f2\"/>",
            y(rank),
            x(end_us) - LEFT
        ));
    }
    for line in lines(plan, intervals, shown) {
        let ((from, left), (to, arrived)) = line;
        let down = if to > from {
            y(to)
        } else {
            y(to) + BAR + LANE + 2.0
        };
        put(format!(
            "<line x1=\"{:.2}\" y1=\"{:.1}\" x2=\"{:.2}\" y2=\"{down:.1}\" stroke=\"#888888\" \
             stroke-width=\"0.6\" stroke-opacity=\"0.7\"/>",
            x(left),
            y(from) + BAR + 2.0,
            x(arrived),
        ));
    }
    for interval in intervals.iter().filter(|i| i.rank.index() < shown) {
        let colour = COLOURS[(interval.sequence % COLOURS.len() as u64) as usize];
        let rank = interval.rank.index();
        let (top, tall, fill) = match interval.kind {
            Kind::Run(_) => (y(rank), BAR, colour),
            Kind::Copy => (y(rank), BAR, "#555555"),
            Kind::Send(_) => (y(rank) + BAR + 2.0, LANE, colour),
            Kind::Receive(_) => continue,
        };
        let (left, right) = (x(interval.start_us), x(interval.end_us));
        let name = escaped(&interval_name(graph, plan, interval));
        let ms = (interval.end_us - interval.start_us) / 1e3;
        put(format!(
            "<rect x=\"{left:.2}\" y=\"{top:.1}\" width=\"{:.2}\" height=\"{tall}\" \
             fill=\"{fill}\" stroke=\"white\" stroke-width=\"{}\"><title>{name}, frame {}, {ms:.3} \
             ms</title></rect>",
            (right - left).max(0.4),
            if right - left > 3.0 { 0.5 } else { 0.0 },
            interval.sequence
        ));
    }
    let legend = "a bar: a Run, coloured by frame · dark: copies and sums · thin lane: messages \
                  leaving · lines: from their start to their arrival";
    put(text(LEFT, height - 10.0, "start", 11, legend));
    svg + "</svg>\n"
}

/// Each message that both ends are shown of: (rank, start) and (rank, arrival). None where they
/// are too many.
fn lines(plan: &Plan, intervals: &[Interval], shown: usize) -> Vec<((usize, f64), (usize, f64))> {
    let mut starts = HashMap::new();
    for interval in intervals {
        if let Kind::Send(id) = interval.kind {
            starts.insert((id, interval.sequence), interval.start_us);
        }
    }
    let line = |interval: &Interval| {
        let Kind::Receive(id) = interval.kind else {
            return None;
        };
        let started = *starts.get(&(id, interval.sequence))?;
        let (from, to) = (plan.transfer(id).from.index(), interval.rank.index());
        (from < shown && to < shown).then_some(((from, started), (to, interval.end_us)))
    };
    let lines: Vec<_> = intervals.iter().filter_map(line).collect();
    if lines.len() > MOST_LINES {
        vec![]
    } else {
        lines
    }
}

/// A line every so many ms, with its time below.
fn axis(put: &mut impl FnMut(String), end_us: f64, x: &impl Fn(f64) -> f64, bottom: f64) {
    let rough = end_us / 10.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.iter().map(|s| s * power).find(|s| *s >= rough);
    let step = step.unwrap_or(10.0 * power);
    let digits = (3.0 - step.log10().floor()).clamp(0.0, 6.0) as usize;
    let mut at = 0.0;
    while at <= end_us {
        let left = x(at);
        put(format!(
            "<line x1=\"{left:.1}\" y1=\"{:.1}\" x2=\"{left:.1}\" y2=\"{bottom:.1}\" \
             stroke=\"#dddddd\"/>",
            TOP - 8.0
        ));
        let label = format!("{:.digits$}", at / 1e3);
        put(text(left, bottom + 16.0, "middle", 11, &label));
        at += step;
    }
    put(text(
        x(end_us),
        bottom + 32.0,
        "end",
        11,
        "ms from the first opening",
    ));
}

fn text(x: f64, y: f64, anchor: &str, size: u32, content: &str) -> String {
    let content = escaped(content);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{content}\
         </text>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
