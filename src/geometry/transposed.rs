//! Transposed windows: which input indices an interval of a transposed convolution's output needs.
//!
//! Input index i adds to the output indices `i*stride + dilation*t - pad_before`, one for each
//! tap t. Output indices `a..b` therefore need the input indices from `lo` to before `hi` with
//!
//! ```text
//! lo = ceil((a + pad_before - dilation*(kernel-1)) / stride)
//! hi = floor((b-1 + pad_before) / stride) + 1
//! ```
//!
//! clamped to the input, less those at either end whose taps all miss `a..b`. A piece over
//! `lo..hi` makes more than `a..b`; what it makes too much is cropped, which is what ONNX calls
//! the padding of a transposed convolution.
//!
//! ```
//! use autodice::geometry::{Interval, Window};
//! // Doubling 4 rows, kernel 4, stride 2, pad 1: the upper half needs one row of the lower.
//! let window = Window { kernel: 4, stride: 2, pad_before: 1, pad_after: 1, ..Window::POINT };
//! assert_eq!(window.transposed_output(4, 0), Some(8));
//! let need = window.transposed_need(Interval::new(0, 4), 4);
//! assert_eq!((need.interval, need.crop_before, need.crop_after), (Interval::new(0, 3), 1, 3));
//! ```

use super::{Interval, Window};

/// What an interval of a transposed window's output needs of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransposedNeed {
    /// The input indices, inside of the input; empty where no tap reaches the output interval.
    pub interval: Interval,
    /// Indices of zeros that a piece needs before the interval, to reach the first output index.
    pub zeros_before: usize,
    /// Indices of zeros that a piece needs behind the interval, to reach the last output index.
    pub zeros_after: usize,
    /// What the piece, zeros included, makes too much before the output interval.
    pub crop_before: usize,
    /// What it makes too much behind the output interval.
    pub crop_after: usize,
}

impl Window {
    /// Output length of the transposed window for `input` indices, with `extra` indices behind
    /// (`output_padding`); none where the padding leaves nothing, or where it overflows.
    pub fn transposed_output(&self, input: usize, extra: usize) -> Option<usize> {
        let spread = input.checked_sub(1)?.checked_mul(self.stride)?;
        let full = spread.checked_add(self.extent())?.checked_add(extra)?;
        full.checked_sub(self.pad_before)?
            .checked_sub(self.pad_after)
            .filter(|&length| length > 0)
    }

    /// What output indices `output` need of `input` indices (module page: the formula). With the
    /// zeros, stride and window as they are and the crops as padding, a piece makes exactly
    /// `output`.
    pub fn transposed_need(&self, output: Interval, input: usize) -> TransposedNeed {
        if output.is_empty() {
            return TransposedNeed {
                interval: Interval::new(0, 0),
                zeros_before: 0,
                zeros_after: 0,
                crop_before: 0,
                crop_after: 0,
            };
        }
        // Counted without the padding, so that nothing is negative.
        let (first, end) = (output.start + self.pad_before, output.end + self.pad_before);
        let low = (first + 1).saturating_sub(self.extent());
        let low = low.div_ceil(self.stride);
        let high = ((end - 1) / self.stride + 1).min(input);
        let mut reaching = (low..high).filter(|&i| self.reaches(i, first, end));
        let interval = match (reaching.next(), reaching.next_back()) {
            (Some(only), None) => Interval::new(only, only + 1),
            (Some(low), Some(last)) => Interval::new(low, last + 1),
            _ => Interval::new(0, 0),
        };
        // Where nothing reaches it, the piece is zeros from the last index that starts before.
        let start = match interval.is_empty() {
            true => first / self.stride,
            false => interval.start,
        };
        let stop = start + interval.len();
        let zeros_before = (start * self.stride)
            .saturating_sub(first)
            .div_ceil(self.stride);
        // Without any index the piece makes nothing: as if it ended an extent earlier.
        let made = |stop: usize| (stop - 1) * self.stride + self.extent();
        let held = match interval.is_empty() {
            true => 1,
            false => 0,
        };
        let missing = end.saturating_sub(made(stop + held));
        let zeros_after = held + missing.div_ceil(self.stride);
        TransposedNeed {
            interval,
            zeros_before,
            zeros_after,
            crop_before: first - (start - zeros_before) * self.stride,
            crop_after: made(stop + zeros_after) - end,
        }
    }

    /// Whether a tap of input index `i` falls on `first..end`, counted without the padding.
    fn reaches(&self, i: usize, first: usize, end: usize) -> bool {
        let tap = first
            .saturating_sub(i * self.stride)
            .div_ceil(self.dilation);
        tap < self.kernel && i * self.stride + tap * self.dilation < end
    }
}
