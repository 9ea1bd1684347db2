//! The highest scores of an output.

use super::InputShape;
use crate::graph::{Dtype, Value};

/// Whether an output is one frame's class scores: `[1, K]`, also `[1, K, 1, 1]`, K at least 2.
pub fn is_scores(output: &InputShape) -> bool {
    let numbers = output.dtype != Dtype::Bool;
    match output.shape[..] {
        [1, classes, ref rest @ ..] => numbers && classes > 1 && rest.iter().all(|&axis| axis == 1),
        _ => false,
    }
}

/// The `k` highest elements as (index, score), highest first; the lower index first among
/// equals; those that are not a number last. Fewer where there are fewer elements.
///
/// Scores of other types are given as the nearest `f32`, and compared as they are.
pub fn top_k(values: &Value, k: usize) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f64)> = numbers(values).into_iter().enumerate().collect();
    // Highest first; NaN counts as below everything. -0 and 0 are equal, so that the index rules.
    let order = |a: &(usize, f64), b: &(usize, f64)| {
        let by_score = b.1.partial_cmp(&a.1);
        let by_nan = || a.1.is_nan().cmp(&b.1.is_nan());
        by_score.unwrap_or_else(by_nan).then(a.0.cmp(&b.0))
    };
    if k < ranked.len() {
        ranked.select_nth_unstable_by(k, order);
        ranked.truncate(k);
    }
    ranked.sort_unstable_by(order);
    let narrow = |(index, score)| (index, score as f32);
    ranked.into_iter().map(narrow).collect()
}

/// All elements as `f64`; exact but for 64-bit integers beyond 2^53.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    super::convert::numbers(&value.bytes, value.dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_by_index_and_nan_comes_last() {
        let nan = f32::NAN;
        let scores = [0.0, nan, 3.0, -1.0, 3.0, -0.0, f32::NEG_INFINITY, -nan];
        let value = Value::from_f32(&[1, 8], &scores);
        let indices = |k| -> Vec<usize> { top_k(&value, k).iter().map(|x| x.0).collect() };
        assert_eq!(indices(3), [2, 4, 0]);
        assert_eq!(indices(100), [2, 4, 0, 5, 3, 6, 1, 7]);
        for k in 0..8 {
            assert_eq!(indices(k), indices(100)[..k]);
        }
    }

    #[test]
    fn integers_are_ranked_too() {
        let value = Value {
            dtype: Dtype::I8,
            shape: vec![1, 3],
            bytes: vec![0xff, 5, 0x80],
        };
        assert_eq!(top_k(&value, 2), [(1, 5.0), (0, -1.0)]);
    }

    #[test]
    fn scores_are_one_row_of_classes() {
        let is = |shape: &[usize], dtype| {
            is_scores(&InputShape {
                name: "y".into(),
                dtype,
                shape: shape.to_vec(),
            })
        };
        assert!(is(&[1, 10], Dtype::F32) && is(&[1, 10, 1, 1], Dtype::F32));
        assert!(!is(&[1, 10, 2, 1], Dtype::F32) && !is(&[2, 10], Dtype::F32));
        assert!(!is(&[10], Dtype::F32) && !is(&[1, 1], Dtype::F32) && !is(&[1, 2], Dtype::Bool));
    }
}
