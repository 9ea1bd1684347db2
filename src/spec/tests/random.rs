//! Random specs of every kind that a document can say.

use std::time::Duration;

use super::super::{
    FramesSpec, ImageSpec, InputSpec, Layout, RankSpec, RunSpec, Spec, StageNodes, StageSpec,
};

/// Numbers that are the same in every run.
pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    pub fn size(&mut self, limit: u64) -> usize {
        self.below(limit) as usize
    }

    /// Names as exporters write them, and text that YAML would read as something else.
    pub fn name(&mut self) -> String {
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
                split: match ranks {
                    1 => self.maybe(|r| r.split(1)),
                    _ => Some(self.split(ranks)),
                },
            })
            .collect();
        if self.below(2) == 0 {
            stages[count - 1].nodes = StageNodes::Rest;
        }
        stages
    }

    pub fn spec(&mut self) -> Spec {
        let ranks = 1 + self.size(6);
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
