//! The settings of convolutions and pools, as a chain of small calls.

/// Height and width of something, e.g. `3.into()` or `(1, 7).into()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hw(pub usize, pub usize);

impl From<usize> for Hw {
    fn from(both: usize) -> Self {
        Self(both, both)
    }
}

impl From<(usize, usize)> for Hw {
    fn from((height, width): (usize, usize)) -> Self {
        Self(height, width)
    }
}

/// Where a window lies on its input, `[height, width]` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slide {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Slide {
    fn new(kernel: Hw) -> Self {
        Self {
            kernel: [kernel.0, kernel.1],
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
        }
    }

    /// Input elements that one window spans; none where that overflows or is nothing.
    pub fn span(&self, axis: usize) -> Option<usize> {
        let steps = self.kernel[axis].checked_sub(1)?;
        self.dilation[axis].checked_mul(steps)?.checked_add(1)
    }

    /// Output length of `axis`, ⌊(in + pads - span) / stride⌋ + 1, or ⌈⌉ where `ceil`, less a
    /// window that would lie in the padding at the end alone; none where no window fits.
    pub fn output(&self, axis: usize, input: usize, ceil: bool) -> Option<usize> {
        let (before, after) = (self.pads[axis], self.pads[axis + 2]);
        let padded = input.checked_add(before)?.checked_add(after)?;
        let room = padded.checked_sub(self.span(axis)?)?;
        let stride = self.stride[axis];
        if stride == 0 {
            return None;
        }
        if !ceil {
            return Some(room / stride + 1);
        }
        let last = room.div_ceil(stride);
        Some(if last * stride >= input + before {
            last
        } else {
            last + 1
        })
    }

    /// Output length of a transposed convolution, (in - 1) · stride + span + extra - pads.
    pub fn transposed(&self, axis: usize, input: usize, extra: usize) -> Option<usize> {
        let stride = Some(self.stride[axis]).filter(|&stride| stride > 0)?;
        let full = input.checked_sub(1)?.checked_mul(stride)?;
        full.checked_add(self.span(axis)?)?
            .checked_add(extra)?
            .checked_sub(self.pads[axis])?
            .checked_sub(self.pads[axis + 2])
            .filter(|&length| length > 0)
    }
}

macro_rules! slide {
    () => {
        /// Step of the window; 1 where not given.
        pub fn stride(mut self, stride: impl Into<Hw>) -> Self {
            let Hw(height, width) = stride.into();
            self.slide.stride = [height, width];
            self
        }

        /// Distance of the window's elements; 1 where not given.
        pub fn dilation(mut self, dilation: impl Into<Hw>) -> Self {
            let Hw(height, width) = dilation.into();
            self.slide.dilation = [height, width];
            self
        }

        /// The same padding before and after; none where not given.
        pub fn pad(mut self, pad: impl Into<Hw>) -> Self {
            let Hw(height, width) = pad.into();
            self.slide.pads = [height, width, height, width];
            self
        }

        /// Padding at the top, left, bottom and right.
        pub fn pads(mut self, pads: [usize; 4]) -> Self {
            self.slide.pads = pads;
            self
        }
    };
}

/// A convolution, plain or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    pub(super) out_channels: usize,
    pub(super) slide: Slide,
    pub(super) groups: usize,
    /// Behind the output of a transposed convolution, `[height, width]`.
    pub(super) output_padding: [usize; 2],
    pub(super) bias: bool,
    pub(super) gain: f32,
}

impl Conv {
    /// Stride 1, no padding, one group, with a bias.
    pub fn new(out_channels: usize, kernel: impl Into<Hw>) -> Self {
        Self {
            out_channels,
            slide: Slide::new(kernel.into()),
            groups: 1,
            output_padding: [0, 0],
            bias: true,
            gain: 1.0,
        }
    }

    slide!();

    /// Groups of channels; as many as input channels for a depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Rows and columns more at the end of a transposed convolution's output.
    pub fn output_padding(mut self, extra: impl Into<Hw>) -> Self {
        let Hw(height, width) = extra.into();
        self.output_padding = [height, width];
        self
    }

    /// Leaves the bias out, as before a batch normalisation.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Multiplies He-scaled weights, e.g. by 0.7 where no ReLU follows.
    pub fn gain(mut self, gain: f32) -> Self {
        self.gain = gain;
        self
    }
}

/// A maximum or average pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub(super) slide: Slide,
    pub(super) ceil: bool,
    pub(super) count_padding: bool,
}

impl Pool {
    /// Stride 1, no padding, floor mode; an average leaves padding out.
    pub fn new(kernel: impl Into<Hw>) -> Self {
        Self {
            slide: Slide::new(kernel.into()),
            ceil: false,
            count_padding: false,
        }
    }

    slide!();

    /// Rounds the output's size up (`ceil_mode`).
    pub fn ceil(mut self) -> Self {
        self.ceil = true;
        self
    }

    /// Counts padding in an average's divisor (`count_include_pad`).
    pub fn count_padding(mut self) -> Self {
        self.count_padding = true;
        self
    }
}
