//! Elements of one type as another, only where every value of the one is a value of the other.

use crate::graph::Dtype;

/// Whether every value of `from` is exactly a value of `to`.
pub(super) fn is_exact(from: Dtype, to: Dtype) -> bool {
    use Dtype::{Bool, F16, F32, F64};
    if from == to {
        return true;
    }
    match (integer_range(from), integer_range(to)) {
        (Some(a), Some(b)) => to != Bool && b.0 <= a.0 && a.1 <= b.1,
        // A float holds all integers that have no more bits than its mantissa.
        (Some(_), None) => (to == F32 && from.size() <= 2) || (to == F64 && from.size() <= 4),
        (None, Some(_)) => false,
        (None, None) => matches!((from, to), (F16, F32 | F64) | (F32, F64)),
    }
}

fn integer_range(dtype: Dtype) -> Option<(i64, i64)> {
    match dtype {
        Dtype::Bool => Some((0, 1)),
        Dtype::U8 => Some((0, i64::from(u8::MAX))),
        Dtype::I8 => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
        Dtype::U16 => Some((0, i64::from(u16::MAX))),
        Dtype::I16 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
        Dtype::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Dtype::I64 => Some((i64::MIN, i64::MAX)),
        Dtype::F16 | Dtype::F32 | Dtype::F64 => None,
    }
}

/// Little-endian elements of `to` from elements of `from`. A boolean that is not 0 becomes 1.
///
/// # Panics
/// Where the conversion is not exact.
pub(super) fn convert(mut bytes: Vec<u8>, from: Dtype, big_endian: bool, to: Dtype) -> Vec<u8> {
    assert!(is_exact(from, to), "{from} as {to}");
    if big_endian && from.size() > 1 {
        for element in bytes.chunks_exact_mut(from.size()) {
            element.reverse();
        }
    }
    if from == Dtype::Bool {
        for byte in &mut bytes {
            *byte = u8::from(*byte != 0);
        }
    }
    if from == to {
        return bytes;
    }
    let mut converted = Vec::with_capacity(bytes.len() / from.size() * to.size());
    for element in bytes.chunks_exact(from.size()) {
        if integer_range(from).is_some() {
            push_integer(&mut converted, integer(element, from), to);
        } else if to == Dtype::F64 {
            converted.extend(float(element).to_le_bytes());
        } else {
            converted.extend((float(element) as f32).to_le_bytes());
        }
    }
    converted
}

fn integer(element: &[u8], dtype: Dtype) -> i64 {
    let signed = integer_range(dtype).is_some_and(|range| range.0 < 0);
    let negative = signed && element.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..element.len()].copy_from_slice(element);
    i64::from_le_bytes(wide)
}

fn push_integer(out: &mut Vec<u8>, value: i64, to: Dtype) {
    match to {
        // Exact, as `is_exact` holds.
        Dtype::F32 => out.extend((value as f32).to_le_bytes()),
        Dtype::F64 => out.extend((value as f64).to_le_bytes()),
        // Two's complement: the low bytes of a value in range are that value.
        _ => out.extend(&value.to_le_bytes()[..to.size()]),
    }
}

fn float(element: &[u8]) -> f64 {
    match *element {
        [a, b] => half(u16::from_le_bytes([a, b])),
        [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("a float has 2, 4 or 8 bytes"),
    }
}

/// Little-endian elements as `f64`; exact but for 64-bit integers beyond 2^53.
pub(super) fn numbers(bytes: &[u8], dtype: Dtype) -> Vec<f64> {
    let whole = integer_range(dtype).is_some();
    let number = |element: &[u8]| match whole {
        true => integer(element, dtype) as f64,
        false => float(element),
    };
    bytes.chunks_exact(dtype.size()).map(number).collect()
}

/// The value of an IEEE half: sign, 5 bits of exponent with bias 15, 10 bits of mantissa.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1024.0 + mantissa) * 2f64.powi(i32::from(exponent) - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dtype; 10] = [
        Dtype::F32,
        Dtype::U8,
        Dtype::I8,
        Dtype::U16,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::Bool,
        Dtype::F16,
        Dtype::F64,
    ];

    #[test]
    fn extreme_values_survive_every_exact_conversion() {
        for from in ALL {
            let Some((low, high)) = integer_range(from) else {
                continue;
            };
            for to in ALL.into_iter().filter(|&to| is_exact(from, to)) {
                for value in [low, high, 1] {
                    let bytes = value.to_le_bytes()[..from.size()].to_vec();
                    let out = convert(bytes, from, false, to);
                    let back = match to {
                        Dtype::F32 => f32::from_le_bytes(out[..].try_into().unwrap()) as i64,
                        Dtype::F64 => f64::from_le_bytes(out[..].try_into().unwrap()) as i64,
                        _ => integer(&out, to),
                    };
                    assert_eq!(back, value, "{from} {to}");
                }
            }
        }
    }

    #[test]
    fn what_loses_is_not_exact() {
        use Dtype::{Bool, F16, F32, F64, I16, I32, I64, I8, U16, U8};
        for (from, to) in [
            (F64, F32),
            (I32, F32),
            (I64, F64),
            (F32, F16),
            (I8, U8),
            (U8, I8),
            (U16, I16),
            (F32, I32),
            (U8, Bool),
            (I64, I32),
        ] {
            assert!(!is_exact(from, to), "{from} {to}");
        }
        assert!(is_exact(U8, I16) && is_exact(U16, I32) && is_exact(Bool, F32));
    }

    #[test]
    fn halves_are_exact() {
        let read = |bits: u16| {
            let out = convert(bits.to_be_bytes().to_vec(), Dtype::F16, true, Dtype::F32);
            f32::from_le_bytes(out[..].try_into().unwrap())
        };
        assert_eq!(read(0x3c00), 1.0);
        assert_eq!(read(0xc000), -2.0);
        assert_eq!(read(0x7bff), 65504.0);
        assert_eq!(read(0x0001), 2f32.powi(-24));
        assert_eq!(read(0xfc00), f32::NEG_INFINITY);
        assert!(read(0x7c01).is_nan());
        assert_eq!(read(0x3555), 0.333_251_95);
    }
}
