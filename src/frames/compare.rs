//! Outputs against those of the uncut model.

use super::scores::numbers;
use crate::graph::{Dtype, Value};

/// Bound on |y − ref|, as a share of the largest |ref| in the same frame and output.
pub const TOLERANCE: f64 = 1e-4;

/// How one output of one frame differs from its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Elements out of bounds: for floats |y − ref| > 1e-4 · max|ref|, or not finite where the
    /// reference is (and the reverse); for integers and booleans any difference. All of the
    /// reference's elements (at least 1) where shape or type differ.
    pub wrong: u64,
    /// Largest |y − ref| where both are finite.
    pub max_abs_diff: f64,
    /// `max_abs_diff` as a share of the largest finite |ref|; 0 where nothing differs, infinite
    /// where only zeros are expected and something else came.
    pub max_rel_diff: f64,
}

impl Comparison {
    /// Takes in another output or frame: wrong elements add up, differences keep the largest.
    pub fn merge(&mut self, other: &Self) {
        self.wrong += other.wrong;
        self.max_abs_diff = self.max_abs_diff.max(other.max_abs_diff);
        self.max_rel_diff = self.max_rel_diff.max(other.max_rel_diff);
    }
}

/// Compares one output of one frame, elements in order.
pub fn compare(output: &Value, reference: &Value) -> Comparison {
    let expected_bytes = output.bytes.len() == reference.bytes.len();
    if output.dtype != reference.dtype || output.shape != reference.shape || !expected_bytes {
        let elements = reference.bytes.len() / reference.dtype.size();
        return Comparison {
            wrong: (elements as u64).max(1),
            max_abs_diff: f64::INFINITY,
            max_rel_diff: f64::INFINITY,
        };
    }
    let (found, wanted) = (numbers(output), numbers(reference));
    let finite = wanted.iter().filter(|r| r.is_finite());
    let scale = finite.fold(0.0, |scale: f64, r| scale.max(r.abs()));
    let float = matches!(output.dtype, Dtype::F16 | Dtype::F32 | Dtype::F64);
    let mut comparison = Comparison::default();
    let size = output.dtype.size();
    for (i, (&y, &r)) in found.iter().zip(&wanted).enumerate() {
        let element = i * size..(i + 1) * size;
        let same = output.bytes[element.clone()] == reference.bytes[element];
        let both = y.is_finite() && r.is_finite();
        let difference = if both { (y - r).abs() } else { 0.0 };
        comparison.max_abs_diff = comparison.max_abs_diff.max(difference);
        let right = match (float, both) {
            (false, _) => same,
            (true, true) => difference <= TOLERANCE * scale,
            // The same infinity, or no number on both sides.
            (true, false) => y == r || (y.is_nan() && r.is_nan()),
        };
        comparison.wrong += u64::from(!right);
    }
    if comparison.max_abs_diff > 0.0 {
        comparison.max_rel_diff = comparison.max_abs_diff / scale;
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(elements: &[f32]) -> Value {
        Value::from_f32(&[1, elements.len()], elements)
    }

    fn wrong(output: &[f32], reference: &[f32]) -> u64 {
        compare(&floats(output), &floats(reference)).wrong
    }

    #[test]
    fn the_bound_is_relative_to_the_largest_reference() {
        // max|ref| = 100: up to 0.01 passes, also for small elements.
        assert_eq!(wrong(&[-100.0, 0.009], &[-100.0, 0.0]), 0);
        assert_eq!(wrong(&[-100.0, 0.011], &[-100.0, 0.0]), 1);
        assert_eq!(wrong(&[100.011, -0.011], &[100.0, 0.0]), 2);
        assert_eq!(wrong(&[0.0, 1e-30], &[0.0, 0.0]), 1);
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(wrong(&[nan, inf, 1.0], &[nan, inf, 1.0]), 0);
        assert_eq!(wrong(&[nan, 1.0], &[0.0, 1.0]), 1);
        assert_eq!(wrong(&[inf, 1.0], &[0.0, 1.0]), 1);
        assert_eq!(wrong(&[-inf, 1.0], &[inf, 1.0]), 1);
        assert_eq!(wrong(&[0.0, 1.0], &[nan, 1.0]), 1);
        // An infinite reference does not widen the bound of the others.
        assert_eq!(wrong(&[inf, 1.1], &[inf, 1.0]), 1);
    }

    #[test]
    fn differences_are_reported() {
        let c = compare(&floats(&[1.0, -4.5]), &floats(&[1.0, -4.0]));
        assert_eq!((c.wrong, c.max_abs_diff, c.max_rel_diff), (1, 0.5, 0.125));
        let same = compare(&floats(&[0.0]), &floats(&[0.0]));
        assert_eq!(same, Comparison::default());
    }

    #[test]
    fn integers_are_equal_or_wrong_also_beyond_53_bits() {
        let value = |number: i64| Value {
            dtype: Dtype::I64,
            shape: vec![1],
            bytes: number.to_le_bytes().to_vec(),
        };
        let large = 1 << 60;
        assert_eq!(compare(&value(large), &value(large)).wrong, 0);
        assert_eq!(compare(&value(large + 1), &value(large)).wrong, 1);
    }

    #[test]
    fn another_shape_is_all_wrong() {
        let c = compare(&Value::from_f32(&[2, 1], &[1.0, 2.0]), &floats(&[1.0, 2.0]));
        assert_eq!(c.wrong, 2);
        assert_eq!(compare(&floats(&[1.0]), &floats(&[])).wrong, 1);
    }
}
