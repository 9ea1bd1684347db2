//! Seeded numbers for weights: the same bytes on every machine.
//!
//! Element i of a weight is a function of (seed, name, i) in integer arithmetic, then one exact
//! conversion, one multiplication and one addition in f32, which IEEE 754 rounds alike
//! everywhere. No logarithm or cosine: those differ in their last bit between platforms.

use std::io::{self, Write};

/// How a model's weights are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Bell-shaped numbers whose variance is 2 / (inputs of one output element) (He et al. 2015),
    /// so that activations keep their scale through ReLU networks.
    He {
        /// Another seed, other weights.
        seed: u64,
    },
    /// Integers `-max..=max`: sums below 2^24 are exact in f32, in whatever order they are added.
    Integers {
        /// Another seed, other weights.
        seed: u64,
        /// Largest absolute value.
        max: u8,
    },
}

/// The elements of one weight, made when they are written.
#[derive(Clone, Debug)]
pub(super) enum Fill {
    /// Every element the same.
    Constant(f32),
    /// `shift + scale · x`, x bell-shaped with variance 1, |x| < 3.47.
    Normal { stream: u64, scale: f32, shift: f32 },
    /// `shift + scale · x`, x uniform in [-1, 1).
    Uniform { stream: u64, scale: f32, shift: f32 },
    /// Uniform in `-max..=max`.
    Integer { stream: u64, max: u8 },
    /// -1 or 1.
    Sign { stream: u64 },
    /// These bytes, of any type.
    Bytes(Vec<u8>),
}

impl Fill {
    /// Writes `count` elements as little-endian f32 (`Bytes`: as they are).
    pub(super) fn write(&self, count: usize, out: &mut dyn Write) -> io::Result<()> {
        match *self {
            Fill::Constant(value) => elements(count, out, |_| value),
            Fill::Normal {
                stream,
                scale,
                shift,
            } => elements(count, out, |i| shift + scale * bell(at(stream, i))),
            Fill::Uniform {
                stream,
                scale,
                shift,
            } => elements(count, out, |i| shift + scale * flat(at(stream, i))),
            Fill::Integer { stream, max } => elements(count, out, |i| integer(at(stream, i), max)),
            Fill::Sign { stream } => elements(count, out, |i| {
                if at(stream, i) >> 63 == 0 {
                    1.0
                } else {
                    -1.0
                }
            }),
            Fill::Bytes(ref bytes) => out.write_all(bytes),
        }
    }
}

fn elements(count: usize, out: &mut dyn Write, at: impl Fn(u64) -> f32) -> io::Result<()> {
    const CHUNK: usize = 1 << 14;
    let mut bytes = Vec::with_capacity(4 * CHUNK.min(count));
    for start in (0..count).step_by(CHUNK) {
        bytes.clear();
        let end = count.min(start + CHUNK);
        bytes.extend((start..end).flat_map(|i| at(i as u64).to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Where a weight's numbers start: FNV-1a of its name, mixed with the seed.
pub(super) fn stream(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash ^ mix(seed))
}

/// Number `i` of a stream: SplitMix64 (Steele, Lea and Flood 2014), which is a mixed counter.
fn at(stream: u64, i: u64) -> u64 {
    mix(stream.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The sum of four 16-bit numbers, centred, at variance 1. Each has the variance
/// (65536² - 1) / 12, so the sum's standard deviation is 65536 / √3 to nine digits.
fn bell(bits: u64) -> f32 {
    let sum: i32 = (0..4).map(|k| (bits >> (16 * k)) as u16 as i32).sum();
    // Below 2^18 in absolute value, so the conversion is exact.
    (2 * sum - 4 * 65535) as f32 * (0.5 * 1.732_050_8 / 65536.0)
}

/// The upper 24 bits as a number in [-1, 1), exactly.
fn flat(bits: u64) -> f32 {
    ((bits >> 40) as i32 - (1 << 23)) as f32 / (1 << 23) as f32
}

fn integer(bits: u64, max: u8) -> f32 {
    let width = 2 * u128::from(max) + 1;
    ((u128::from(bits) * width) >> 64) as f32 - f32::from(max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn numbers(fill: &Fill, count: usize) -> Vec<f32> {
        let mut bytes = vec![];
        fill.write(count, &mut bytes).unwrap();
        let number = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        bytes.chunks_exact(4).map(number).collect()
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let stream = stream(1, "conv1.weight");
        let (scale, shift) = (1.0, 0.0);
        let x = numbers(
            &Fill::Normal {
                stream,
                scale,
                shift,
            },
            100_000,
        );
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.01, "{variance}");
    }

    #[test]
    fn integers_reach_both_ends_and_no_further() {
        let stream = stream(7, "w");
        let x = numbers(&Fill::Integer { stream, max: 2 }, 1000);
        for value in [-2.0, -1.0, 0.0, 1.0, 2.0] {
            assert!(x.iter().filter(|&&y| y == value).count() > 150, "{value}");
        }
        assert!(x.iter().all(|y| y.abs() <= 2.0));
    }

    #[test]
    fn uniform_numbers_stay_between_their_ends() {
        let stream = stream(3, "v");
        let (scale, shift) = (0.2, 1.0);
        let x = numbers(
            &Fill::Uniform {
                stream,
                scale,
                shift,
            },
            1000,
        );
        assert!(x.iter().all(|&y| (0.8..=1.2).contains(&y)));
        assert!(x.iter().any(|&y| y < 0.82) && x.iter().any(|&y| y > 1.18));
    }

    #[test]
    fn the_bytes_never_change() {
        let stream = stream(0, "conv1.weight");
        let (scale, shift) = (1.0, 0.0);
        let fill = Fill::Normal {
            stream,
            scale,
            shift,
        };
        let x: Vec<u32> = numbers(&fill, 3).iter().map(|x| x.to_bits()).collect();
        assert_eq!(x, BITS);
    }

    /// From the same formulas in another language.
    const BITS: [u32; 3] = [3_198_844_846, 1_059_403_950, 3_199_264_307];
}
