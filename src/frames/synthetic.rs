//! Frames made of random numbers, the same on every machine.
//!
//! An element is a function of seed, input, frame and place alone, made of integer arithmetic
//! and of the float operations that IEEE 754 rounds exactly (`+ - * / sqrt`): a library's
//! logarithm may differ in its last bit from one machine to the next, so there is one here.

use anyhow::{bail, Result};

use super::InputShape;
use crate::graph::{Dtype, Value};

/// Refuses an input that synthetic frames are not made for.
pub(super) fn check(input: &InputShape) -> Result<()> {
    if input.dtype == Dtype::F16 {
        bail!("{}: no synthetic frames are made of f16", input.describe());
    }
    Ok(())
}

/// Frame `frame` of the model's `index`-th input: standard-normal for floats, uniform over
/// 0…255 for integers (-128…127 for i8), 0 or 1 for booleans.
pub(super) fn make(seed: u64, frame: u64, index: usize, input: &InputShape) -> Value {
    let base = mix(mix(mix(seed) ^ frame) ^ index as u64);
    let elements: usize = input.shape.iter().product();
    let mut bytes = Vec::with_capacity(elements * input.dtype.size());
    match input.dtype {
        Dtype::F32 | Dtype::F64 | Dtype::F16 => {
            for pair in 0..elements.div_ceil(2) {
                let numbers = normal_pair(base, pair as u64);
                for number in &numbers[..2.min(elements - 2 * pair)] {
                    match input.dtype {
                        Dtype::F64 => bytes.extend(number.to_le_bytes()),
                        _ => bytes.extend((*number as f32).to_le_bytes()),
                    }
                }
            }
        }
        dtype => {
            for element in 0..elements {
                let byte = (draw(base, element as u64, 0) >> 56) as u8;
                let number = match dtype {
                    Dtype::I8 => i64::from(byte as i8),
                    Dtype::Bool => i64::from(byte & 1),
                    _ => i64::from(byte),
                };
                bytes.extend(&number.to_le_bytes()[..dtype.size()]);
            }
        }
    }
    Value {
        dtype: input.dtype,
        shape: input.shape.clone(),
        bytes,
    }
}

/// 64 well-mixed bits: multiply and fold, twice, with odd constants of high entropy.
fn mix(number: u64) -> u64 {
    let folded = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let folded = (folded ^ (folded >> 29)).wrapping_mul(0x9fb2_1c65_1e98_df25);
    folded ^ (folded >> 32)
}

/// Draw `attempt` for one place.
fn draw(base: u64, place: u64, attempt: u64) -> u64 {
    let counter = (place + 1) | (attempt << 48);
    mix(base.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Two independent standard-normal numbers, by the polar method of Marsaglia and Bray (1964): a
/// point drawn in the unit disc at squared radius s, stretched by sqrt(-2 ln s / s).
fn normal_pair(base: u64, pair: u64) -> [f64; 2] {
    for attempt in 0.. {
        let bits = draw(base, pair, attempt);
        // 32 bits, signed, moved by a half so that no coordinate is 0.
        let coordinate = |bits: u32| (f64::from(bits as i32) + 0.5) / 2_147_483_648.0;
        let (x, y) = (coordinate((bits >> 32) as u32), coordinate(bits as u32));
        let s = x * x + y * y;
        if s < 1.0 {
            let stretch = (-2.0 * ln(s) / s).sqrt();
            return [x * stretch, y * stretch];
        }
    }
    unreachable!("a draw falls into the disc")
}

/// Natural logarithm of a normal positive number. With s = m · 2^e and t = (m-1)/(m+1),
/// ln s = e ln 2 + 2 (t + t³/3 + t⁵/5 + …); |t| < 0.172, so that t²³ is below the last bit.
fn ln(s: f64) -> f64 {
    let bits = s.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let mut sum = 0.0;
    for odd in (1..=21).rev().step_by(2) {
        sum = sum * square + 1.0 / f64::from(odd);
    }
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * t * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(dtype: Dtype, shape: &[usize]) -> InputShape {
        InputShape {
            name: "x".into(),
            dtype,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn the_logarithm_is_a_logarithm() {
        let mut s = 1e-18;
        while s < 1.0 {
            let error = (ln(s) - f64::ln(s)).abs();
            assert!(error <= 4e-16 * f64::ln(s).abs().max(1.0), "{s}: {error}");
            s *= 1.003;
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let x = make(1, 0, 0, &input(Dtype::F32, &[1, 400_000])).to_f32();
        let n = x.len() as f64;
        let moment = |power: i32| x.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n;
        // Five standard errors: sqrt((E x^2p - (E x^p)^2) / n).
        for (power, mean, variance) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
        {
            let error = (moment(power) - mean).abs();
            assert!(error < 5.0 * f64::sqrt(variance / n), "{power}: {error}");
        }
        let beyond = x.iter().filter(|x| x.abs() > 3.0).count() as f64 / n;
        assert!((beyond - 0.0027).abs() < 4e-4, "{beyond}");
        let neighbours: f64 = x.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / n;
        assert!(neighbours.abs() < 5.0 / n.sqrt(), "{neighbours}");
    }

    #[test]
    fn seeds_frames_and_inputs_differ_and_places_do_not_move() {
        let x = |seed, frame, index, n| make(seed, frame, index, &input(Dtype::F32, &[n])).to_f32();
        assert_eq!(x(1, 2, 0, 9), x(1, 2, 0, 9));
        assert_eq!(x(1, 2, 0, 9)[..5], x(1, 2, 0, 5)[..]);
        let first = [x(1, 2, 0, 1), x(2, 2, 0, 1), x(1, 3, 0, 1), x(1, 2, 1, 1)];
        for (i, a) in first.iter().enumerate() {
            assert!(first[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn integers_are_in_range() {
        let bytes = make(3, 0, 0, &input(Dtype::U8, &[4096])).bytes;
        assert!((0..=255).all(|byte| bytes.contains(&byte)));
        let wide = make(3, 0, 0, &input(Dtype::I64, &[100])).bytes;
        assert!(wide
            .chunks_exact(8)
            .all(|b| (0..256).contains(&i64::from_le_bytes(b.try_into().unwrap()))));
        let bools = make(3, 0, 0, &input(Dtype::Bool, &[100])).bytes;
        assert!(bools.iter().all(|&b| b < 2) && bools.contains(&0) && bools.contains(&1));
    }
}
