//! What one part has to show: the bar, the figures, the samples, and where they were taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::{Case, Figure, Sample};

/// One line of the table of bars.
pub struct Bar {
    /// What was measured, in words.
    pub what: String,
    /// What it should come to, in words; empty where it is only reported.
    pub bar: String,
    /// What it came to.
    pub figure: String,
    /// Whether that is enough; none where it was not measured.
    pub met: Option<bool>,
    /// Whether excluded samples speak, too.
    pub by_all: bool,
    /// Samples that count, and all.
    pub count: (usize, usize),
}

impl Bar {
    /// A bar whose figure, what `of` makes of a case's samples, is judged by `is_met`: where enough
    /// samples are fit by these, else met if all samples say so at 95 %.
    pub fn judged(
        (what, bar): (&str, &str),
        case: &Case<'_>,
        (of, unit): (impl Fn(&Case<'_>) -> f64, &str),
        is_met: impl Fn(f64) -> bool,
    ) -> Self {
        let figure = case.figure(of);
        let (text, met) = match &figure {
            Figure::Kept(value) => {
                let known = value.is_finite();
                (format!("{value:.3}{unit}"), known.then(|| is_met(*value)))
            }
            Figure::All(value, figures) => {
                let met = figures.iter().filter(|&&figure| is_met(figure)).count();
                let last = figures.len() - 1;
                let [low, high] = [25, 975].map(|share| figures[last * share / 1000]);
                let text = format!("{value:.3}{unit} ({low:.3} to {high:.3})");
                (text, (met * 1000 >= figures.len() * 975).then_some(true))
            }
            Figure::Guess(value) => (format!("{value:.3}{unit}"), None),
        };
        Self {
            what: what.into(),
            bar: bar.into(),
            figure: text,
            met,
            by_all: matches!(figure, Figure::All(..)),
            count: case.count,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.met, self.by_all) {
            _ if self.count.1 == 0 => "not measured",
            _ if self.bar.is_empty() => "reported",
            (Some(true), false) => "ok",
            (Some(true), true) => "ok, by all",
            (Some(false), _) => "missed",
            (None, _) => "not measured",
        }
    }
}

/// A part's result.
pub struct Record {
    /// The part's name.
    pub part: &'static str,
    /// How it was measured, in a few sentences.
    pub how: String,
    /// Its lines of the table.
    pub bars: Vec<Bar>,
    /// Every sample.
    pub samples: Vec<Sample>,
    /// Further lines, e.g. evidence.
    pub notes: Vec<String>,
}

impl Record {
    /// Writes `PART.csv`, `PART.txt` and `PART.bars`, and prints the verdicts.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn store(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let file = |ending: &str| folder.join(format!("{}.{ending}", self.part));
        self.write_samples(&file("csv"))?;
        let mut lines = vec![
            format!("part     {}", self.part),
            format!("how      {}", self.how),
        ];
        lines.extend(surroundings());
        lines.extend(self.notes.iter().map(|note| format!("note     {note}")));
        let mut rows = String::new();
        for bar in &self.bars {
            let (fit, all) = bar.count;
            let row = format!(
                "| {} | {} | {} | {fit} of {all} | {} |",
                bar.what,
                bar.bar,
                bar.figure,
                bar.verdict()
            );
            rows += &format!("{row}\n");
            lines.push(row);
        }
        fs::write(file("txt"), lines.join("\n") + "\n").context("the record")?;
        fs::write(file("bars"), rows).context("the bars")?;
        self.notes.iter().for_each(|note| println!("# {note}"));
        self.bars.iter().for_each(|bar| {
            let Bar {
                what,
                bar: wanted,
                figure,
                count,
                ..
            } = bar;
            println!(
                "{}: {what}: {figure} (bar {}; {} of {} samples): {}",
                self.part,
                if wanted.is_empty() { "none" } else { wanted },
                count.0,
                count.1,
                bar.verdict()
            );
        });
        Ok(())
    }

    fn write_samples(&self, path: &Path) -> Result<()> {
        let names: BTreeSet<&String> = self.samples.iter().flat_map(|s| s.values.keys()).collect();
        let cores = self
            .samples
            .iter()
            .map(|s| s.probes.len())
            .max()
            .unwrap_or(0);
        let mut csv = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
        let mut head = vec!["case".to_string(), "sample".into(), "excluded".into()];
        for core in 0..cores {
            head.extend(["before", "after"].map(|when| format!("probe{core}_{when}_ms")));
        }
        head.extend(names.iter().map(|name| name.to_string()));
        csv.write_record(&head)?;
        for (number, sample) in self.samples.iter().enumerate() {
            let mut row = vec![
                sample.case.clone(),
                number.to_string(),
                sample.reason.clone(),
            ];
            for core in 0..cores {
                let probe = sample.probes.get(core);
                let cell = |time: Option<f64>| time.map_or(String::new(), |t| format!("{t:.4}"));
                row.push(cell(probe.map(|p| p.0)));
                row.push(cell(probe.map(|p| p.1)));
            }
            let cell = |name: &&String| sample.values.get(*name).map(f64::to_string);
            row.extend(names.iter().map(|name| cell(name).unwrap_or_default()));
            csv.write_record(&row)?;
        }
        Ok(csv.flush()?)
    }
}

/// Machine, commit and command, a line each.
fn surroundings() -> Vec<String> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
        text.and_then(|text| text.lines().next().map(String::from))
            .unwrap_or_default()
    };
    let read = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .map(String::from);
        line.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let changed = !said("git", &["status", "--porcelain"]).is_empty();
    let command: Vec<String> = std::env::args().collect();
    vec![
        format!("date     {}", said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])),
        format!(
            "machine  {}, {cores} cores, {}, {}",
            read("/proc/cpuinfo", "model name"),
            read("/proc/meminfo", "MemTotal"),
            said("uname", &["-sr"])
        ),
        format!("load     {}", said("cat", &["/proc/loadavg"])),
        format!("mpi      {}", said("mpirun", &["--version"])),
        format!(
            "commit   {}{}",
            said("git", &["rev-parse", "HEAD"]),
            if changed { " with changes" } else { "" }
        ),
        format!("command  {}", command.join(" ")),
    ]
}

/// Prints the bars that a folder holds, in this order of parts.
///
/// # Errors
/// Where a file that is there cannot be read.
pub fn table(folder: &Path, parts: &[&str]) -> Result<()> {
    println!("| what | bar | figure | samples kept | |\n|---|---|---|---|---|");
    for part in parts {
        let file: PathBuf = folder.join(format!("{part}.bars"));
        match fs::read_to_string(&file) {
            Ok(rows) => print!("{rows}"),
            Err(_) => println!("| {part} | | | | not measured |"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Rule;

    /// The verdict on 30 samples of which none is kept: is it near 1?
    fn verdict(value: impl Fn(usize) -> f64) -> &'static str {
        let sample = |number: usize| {
            let values = [("value", value(number))];
            Sample::new("case", Rule::Drift, vec![(1.0, 2.0)], &values)
        };
        let samples: Vec<Sample> = (0..30).map(sample).collect();
        judged(&samples).verdict()
    }

    fn judged(samples: &[Sample]) -> Bar {
        let of = |case: &Case<'_>| case.median("value");
        let is_near = |value: f64| (value - 1.0).abs() <= 0.1;
        let case = Case::of(samples, "case");
        Bar::judged(("this", "near 1"), &case, (of, ""), is_near)
    }

    #[test]
    fn all_samples_confirm_a_bar_or_say_nothing() {
        assert_eq!(verdict(|n| 0.95 + n as f64 / 300.0), "ok, by all");
        assert_eq!(verdict(|n| [0.5, 1.0, 1.5][n / 10]), "not measured");
        assert_eq!(verdict(|_| 3.0), "not measured");
        assert_eq!(judged(&[]).verdict(), "not measured");
    }
}
