//! Bilinear resizing of one channel, with the whole neighbourhood weighed where it shrinks.
//!
//! A target pixel's centre lies at (i + ½) · scale in the source, scale = source / target. Source
//! pixels weigh in by a triangle around it, one source pixel wide to either side, or one target
//! pixel where that is wider. Weights are normalised, so that borders keep their brightness.

/// What one target pixel takes from a row of source pixels: the first one, and weights.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

fn taps(source: usize, target: usize) -> Vec<Taps> {
    let scale = source as f64 / target as f64;
    let reach = scale.max(1.0);
    let at = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(source);
        let weigh = |j: usize| (1.0 - (j as f64 + 0.5 - centre).abs() / reach).max(0.0);
        let weights: Vec<f64> = (first..end).map(weigh).collect();
        let sum: f64 = weights.iter().sum();
        Taps {
            first,
            weights: weights.into_iter().map(|w| w / sum).collect(),
        }
    };
    (0..target).map(at).collect()
}

/// One channel of `target` (width, height) pixels, row-major, from a source of `source` (width,
/// height) pixels of which `row(y)` gives one row.
pub(super) fn resize(
    source: (usize, usize),
    target: (usize, usize),
    mut row: impl FnMut(usize) -> Vec<f32>,
) -> Vec<f32> {
    let columns = taps(source.0, target.0);
    // Rows are narrowed as they are read: a long source is never held as floats.
    let mut narrow = Vec::with_capacity(source.1 * target.0);
    for y in 0..source.1 {
        let pixels = row(y);
        for tap in &columns {
            let weighed = tap.weights.iter().zip(&pixels[tap.first..]);
            narrow.push(weighed.map(|(w, &p)| w * f64::from(p)).sum::<f64>());
        }
    }
    let mut resized = Vec::with_capacity(target.0 * target.1);
    for tap in taps(source.1, target.1) {
        for x in 0..target.0 {
            let column = narrow[tap.first * target.0 + x..].iter().step_by(target.0);
            let sum: f64 = tap.weights.iter().zip(column).map(|(w, p)| w * p).sum();
            resized.push(sum as f32);
        }
    }
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: &[f32], target: usize) -> Vec<f32> {
        resize((source.len(), 1), (target, 1), |_| source.to_vec())
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let rows = [[1.0, 200.5], [3.0, 255.0], [0.0, 7.0]];
        let same = resize((2, 3), (2, 3), |y| rows[y].to_vec());
        assert_eq!(same, rows.concat());
    }

    #[test]
    fn doubling_interpolates_at_quarters() {
        // Centres at ¼, ¾, 1¼, 1¾ of pixels with centres ½ and 1½.
        assert_eq!(line(&[0.0, 100.0], 4), [0.0, 25.0, 75.0, 100.0]);
    }

    #[test]
    fn halving_weighs_a_triangle() {
        // Centre 1, reach 2: pixels at ½, 1½, 2½ weigh ¾, ¾, ¼ of 7/4 (and by symmetry).
        let halved = line(&[7.0, 14.0, 21.0, 28.0], 2);
        assert_eq!(halved, [12.0, 23.0]);
    }

    #[test]
    fn axes_are_independent_and_a_flat_image_stays_flat() {
        let wide = resize((5, 3), (3, 7), |_| vec![9.0; 5]);
        assert_eq!(wide.len(), 21);
        assert!(wide.iter().all(|&p| (p - 9.0).abs() < 1e-6));
        let rising = resize((1, 2), (1, 4), |y| vec![100.0 * y as f32]);
        assert_eq!(rising, [0.0, 25.0, 75.0, 100.0]);
    }
}
