//! Sliding windows: which input indices an interval of a convolution's or pool's output needs.
//!
//! The rule is exact for stride, asymmetric padding, dilation and ceil mode: output indices
//! `a..b` need input indices `lo..hi` with
//!
//! ```text
//! lo = a*stride - pad_before
//! hi = (b-1)*stride - pad_before + dilation*(kernel-1) + 1
//! ```
//!
//! clamped to the input; what the clamping removes is padding that the piece keeps. An inner
//! border therefore gets rows of its neighbour, and zeros only where the whole model has them.
//!
//! ```
//! use autodice::geometry::{Interval, Window};
//! // A 3x3 convolution, stride 1, pad 1, on 12 rows: the upper half needs one row of the lower.
//! let window = Window { kernel: 3, pad_before: 1, pad_after: 1, ..Window::POINT };
//! let need = window.need(Interval::new(0, 6), 12);
//! assert_eq!((need.interval, need.pad_before, need.pad_after), (Interval::new(0, 7), 1, 0));
//! ```

use serde::{Deserialize, Serialize};

use super::Interval;

/// A window along one axis. `kernel`, `stride` and `dilation` are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Taps along the axis.
    pub kernel: usize,
    /// Input indices between two neighbouring output indices.
    pub stride: usize,
    /// Input indices between two neighbouring taps.
    pub dilation: usize,
    /// Padding before the first input index.
    pub pad_before: usize,
    /// Padding behind the last input index.
    pub pad_after: usize,
    /// Whether a last window that is only partly filled counts (pooling's `ceil_mode`).
    pub ceil: bool,
}

/// What an interval of a window's output needs of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The input indices, inside of the input.
    pub interval: Interval,
    /// Padding that a piece over `interval` needs before it.
    pub pad_before: usize,
    /// Padding that a piece over `interval` needs behind it.
    pub pad_after: usize,
}

impl Window {
    /// A window of one tap: output index i needs input index i.
    pub const POINT: Self = Self {
        kernel: 1,
        stride: 1,
        dilation: 1,
        pad_before: 0,
        pad_after: 0,
        ceil: false,
    };

    /// Input indices from the first tap to behind the last one.
    pub fn extent(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Output length for `input` indices; 0 where no window fits.
    ///
    /// With `ceil` the last window counts where it starts before the padding behind the input
    /// (ONNX pooling, `ceil_mode`).
    pub fn output(&self, input: usize) -> usize {
        let padded = input + self.pad_before + self.pad_after;
        let Some(room) = padded.checked_sub(self.extent()) else {
            return 0;
        };
        if !self.ceil {
            return room / self.stride + 1;
        }
        let length = room.div_ceil(self.stride) + 1;
        let starts_behind = (length - 1) * self.stride >= input + self.pad_before;
        length - usize::from(starts_behind)
    }

    /// What output indices `output` need of `input` indices (module page: the formula).
    ///
    /// An output whose windows lie wholly in padding needs nothing: the interval is empty. The
    /// interval and both paddings together are as long as the windows span.
    pub fn need(&self, output: Interval, input: usize) -> Need {
        if output.is_empty() {
            return Need {
                interval: Interval::new(0, 0),
                pad_before: 0,
                pad_after: 0,
            };
        }
        let low = (output.start * self.stride) as i64 - self.pad_before as i64;
        let high = ((output.end - 1) * self.stride + self.extent()) as i64 - self.pad_before as i64;
        let end = input as i64;
        let interval = Interval::new(low.clamp(0, end) as usize, high.clamp(0, end) as usize);
        // Never more than the windows span: they may lie in padding altogether.
        Need {
            interval,
            pad_before: (-low).clamp(0, high - low) as usize,
            pad_after: (high - end).clamp(0, high - low) as usize,
        }
    }
}
