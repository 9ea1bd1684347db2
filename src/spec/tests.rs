//! The spec file, there and back, and what a hostile one costs.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::yaml::{parse, to_yaml, MAX_BYTES};
use super::{
    FramesSpec, ImageSpec, InputSpec, Layout, RankSpec, RowsSpec, RunSpec, Spec, SplitSpec,
    StageNodes, StageSpec,
};

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn size(&mut self, limit: u64) -> usize {
        self.below(limit) as usize
    }

    /// Names as exporters write them, and text that YAML would read as something else.
    fn name(&mut self) -> String {
        const ODD: [&str; 24] = [
            "12", "007", "1e3", "0x1F", "true", "null", "~", "no", "-", "- a", "a: b", "a #b", "#",
            "[a]", "{a", "*a", "&a", "!a", "%a", "@a", "`a`", "' \"", "\\", ".inf",
        ];
        const LETTERS: [char; 16] = [
            'a', 'B', '_', '/', ':', ' ', '.', '0', '"', '\\', 'é', '\u{85}', '\n', '\t', '漢',
            '\u{feff}',
        ];
        if self.below(3) == 0 {
            return ODD[self.size(24)].into();
        }
        let length = 1 + self.below(8);
        let tail: String = (0..length).map(|_| LETTERS[self.size(16)]).collect();
        format!("n{tail}")
    }

    /// Any finite float, all magnitudes.
    fn number(&mut self) -> f32 {
        loop {
            let number = f32::from_bits(self.below(1 << 32) as u32);
            if number.is_finite() && number != 0.0 {
                return number;
            }
        }
    }

    fn image(&mut self) -> ImageSpec {
        let layout = match self.below(4) {
            0 => None,
            1 => Some(Layout::Rgb),
            2 => Some(Layout::Bgr),
            _ => Some(Layout::Grey),
        };
        let channels = if layout == Some(Layout::Grey) { 1 } else { 3 };
        let mut values = || match self.below(3) {
            0 => vec![],
            1 => vec![self.number()],
            _ => (0..channels).map(|_| self.number()).collect(),
        };
        let (mean, std) = (values(), values());
        ImageSpec {
            size: self.maybe(|r| (1 + r.size(999), 1 + r.size(999))),
            layout,
            mean,
            std,
        }
    }

    fn rank(&mut self) -> RankSpec {
        RankSpec {
            host: self.maybe(|r| format!("pi{}", r.below(9))),
            cores: self.maybe(|r| (0..=r.size(9)).rev().map(|core| 3 * core).collect()),
            threads: self.maybe(|r| 1 + r.size(64)),
            engine: self.maybe(|_| "tract".into()),
            memory_mb: self.maybe(|r| 1 + r.below(9999)),
        }
    }

    fn stages(&mut self, ranks: usize) -> Vec<StageSpec> {
        let mut number = 0;
        let mut name = |random: &mut Self| {
            number += 1;
            let name = random.name();
            format!("{name}{number}")
        };
        let count = 1 + self.size(4);
        let mut stages: Vec<_> = (0..count)
            .map(|_| StageSpec {
                nodes: match self.below(2) {
                    0 => StageNodes::Until(name(self)),
                    _ => StageNodes::List((0..=self.size(4)).map(|_| name(self)).collect()),
                },
                ranks: (0..ranks).rev().collect(),
                split: Some(SplitSpec::Rows(RowsSpec::default())),
            })
            .collect();
        if self.below(2) == 0 {
            stages[count - 1].nodes = StageNodes::Rest;
        }
        stages
    }

    fn spec(&mut self) -> Spec {
        let ranks = 1 + self.size(4);
        let frames = match self.below(2) {
            0 => FramesSpec::Path(self.name().into()),
            _ => FramesSpec::Synthetic {
                count: 1 + self.below(99),
                seed: self.0,
            },
        };
        let image = self.image();
        Spec {
            model: self.name().into(),
            shapes: (0..self.size(3))
                .map(|i| (format!("{}{i}", self.name()), 1 + self.size(9999)))
                .collect(),
            input: self.maybe(|r| InputSpec {
                frames,
                image,
                truth: r.maybe(|r| r.name().into()),
            }),
            labels: self.maybe(|r| r.name().into()),
            ranks: self
                .maybe(|r| (0..ranks).map(|_| r.rank()).collect())
                .unwrap_or_default(),
            stages: self.stages(ranks),
            run: self
                .maybe(|r| RunSpec {
                    threads: 1 + r.size(64),
                    in_flight: r.maybe(|r| 1 + r.below(64) as u32),
                    watchdog: Duration::from_millis(1 + r.below(100_000)),
                    ..RunSpec::default()
                })
                .unwrap_or_default(),
        }
    }
}

#[test]
fn a_written_spec_reads_back_as_itself() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let spec = random.spec();
        let text = to_yaml(&spec);
        match parse("spec", &text) {
            Ok(read) => assert_eq!(read, spec, "{text}"),
            Err(error) => panic!("{error}\n{text}"),
        }
    }
}

#[test]
fn the_design_s_example_is_read() {
    let text = "
model: ../models/vgg16.onnx        # paths are relative to this file
shapes: {height: 224, width: 224}
input:
  frames: ../data/photos/*.png
  image: {size: 640x480, layout: bgr, mean: [104, 117, 123], std: 0.5}
labels: ../data/labels.txt
ranks:
  - {host: pi0, cores: 0-3, threads: 4, engine: tract}
  - {host: pi1, cores: '0-1,3', memory_mb: 900}
stages:
  - {until: pool3, ranks: [1, 0], split: {by: rows}}
  - {nodes: [conv4_1, conv4_2], ranks: [1]}
  - {ranks: [0]}
run: {threads: 4, in_flight: 4, engine: tract, wire: f32, watchdog: 500ms}
";
    let spec = parse("a.yaml", text).unwrap();
    assert_eq!(spec.rank_count(), 2);
    let input = spec.input.unwrap();
    assert_eq!(input.image.size, Some((640, 480)));
    assert_eq!(input.image.mean, [104.0, 117.0, 123.0]);
    assert_eq!(input.image.std, [0.5]);
    assert_eq!(spec.ranks[0].cores, Some(vec![0, 1, 2, 3]));
    assert_eq!(spec.ranks[1].cores, Some(vec![0, 1, 3]));
    assert_eq!(spec.stages[0].ranks, [1, 0]);
    assert_eq!(spec.stages[2].nodes, StageNodes::Rest);
    assert_eq!(spec.run.watchdog, Duration::from_millis(500));
    assert_eq!(spec.run.in_flight, Some(4));
}

#[test]
fn a_hostile_document_ends_soon_in_one_line() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (before, after) in ('a'..'i').zip('b'..='i') {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb += &format!("{after}: &{after} [{aliases}]\n");
    }
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(400_000),
        "*a, ".repeat(100_000)
    );
    let fill = |unit: &str| unit.repeat(MAX_BYTES / unit.len());
    let documents = [
        bomb,
        long,
        fill("["),
        fill("{a: "),
        fill("- "),
        fill("? "),
        fill("a:\n"),
        fill("x "),
        fill("!"),
        fill("&a "),
        fill("[]"),
        fill("\"\\x00\""),
        fill("a\u{0}"),
        fill("'"),
        fill("|\n"),
        fill("---\n"),
        fill("[a,b],"),
        (0..2000)
            .map(|i| format!("{}- a\n", " ".repeat(i % 300)))
            .collect(),
        (0..500).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        format!("model: {}", fill("y")),
        format!("{{{}}}", fill("a: 1, ")),
    ];
    for text in documents {
        let start = Instant::now();
        let error = parse("x.yaml", &text).unwrap_err().to_string();
        let shown: String = text.chars().take(30).collect();
        assert!(
            !error.contains('\n') && error.len() < 1000,
            "{shown:?}: {error}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{shown:?}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn no_prefix_or_damage_of_a_spec_panics() {
    let mut random = Random(7);
    for _ in 0..40 {
        let text = to_yaml(&random.spec());
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = parse("x.yaml", &text[..end]);
        }
        for _ in 0..200 {
            let mut bytes = text.clone().into_bytes();
            let place = random.size(bytes.len() as u64);
            bytes[place] = b"[]{},:-#&*!|>'\"%@`\n\t 09~"[random.size(24)];
            if let Ok(damaged) = String::from_utf8(bytes) {
                if let Err(error) = parse("x.yaml", &damaged) {
                    assert!(!error.to_string().contains('\n'));
                }
            }
        }
    }
}
