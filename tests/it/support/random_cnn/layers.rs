//! The layers of a random CNN: each reads one activation, or more, and makes one.

use autodice::geometry::Window;
use autodice::graph::{Attribute, Dtype, Value};
use autodice::model::builder::Handle;

use super::{attributes, dilations, ints, Cnn, Made};

impl Cnn<'_> {
    pub fn conv(&mut self, x: Made) {
        let shape = self.shape(x);
        let channels = shape[1];
        let windows = self.windows(&shape[2..], false);
        let divisors: Vec<_> = (1..=channels)
            .filter(|g| channels.is_multiple_of(*g))
            .collect();
        let groups = match self.random.below(4) {
            0 => channels,
            1 => divisors[self.random.below(divisors.len())],
            _ => 1,
        };
        let per_group = 1 + self.random.below(if groups > 2 { 2 } else { 7 });
        let made = groups * per_group;
        let mut kernel = vec![made, channels / groups];
        kernel.extend(windows.iter().map(|w| w.kernel));
        let fan_in = kernel[1..].iter().product::<usize>() as f64;
        let x = self.small(x, fan_in + 1.0, 0);
        let (weight, bias) = (self.integers(&kernel), self.integers(&[made]));
        let mut constants = vec![("weight", &weight)];
        if !self.random.once_in(4) {
            constants.push(("bias", &bias));
        }
        let mut output = vec![shape[0], made];
        output.extend(windows.iter().zip(&shape[2..]).map(|(w, &n)| w.output(n)));
        let mut all = attributes(&windows);
        all.push(dilations(&windows));
        all.push(("group", Attribute::Int(groups as i64)));
        let name = self.name();
        let handle = self
            .b
            .custom("Conv", &name, &[x.handle], &constants, &all, &output);
        self.keep(handle, x.bound * fan_in + 1.0, x.bits, false);
    }

    pub fn pool(&mut self, x: Made) {
        let shape = self.shape(x);
        let mut windows = self.windows(&shape[2..], true);
        let max = self.random.once_in(2);
        let (ceil, counted) = (self.random.once_in(2), self.random.once_in(2));
        // Dilated averages are younger than this opset, and so are counted windows beyond.
        for window in &mut windows {
            window.ceil = ceil && (max || !counted);
            window.dilation = if max { window.dilation } else { 1 };
            if window.output(10) == 0 || window.extent() > 5 {
                *window = Window::POINT;
            }
        }
        let fit = |(w, &n): (&Window, &usize)| w.output(n) >= 1 && w.extent() <= n;
        if !windows.iter().zip(&shape[2..]).all(fit) {
            return self.plain("Relu", x, &[], 1.0, 0);
        }
        let mut output = shape[..2].to_vec();
        output.extend(windows.iter().zip(&shape[2..]).map(|(w, &n)| w.output(n)));
        let taps: usize = windows.iter().map(|w| w.kernel).product();
        let pads = windows
            .iter()
            .any(|w| w.pad_before + w.pad_after > 0 || w.ceil);
        let exact = max || (taps.is_power_of_two() && (counted || !pads));
        let bits = if exact && !max { taps.ilog2() } else { 0 };
        let x = self.small(x, taps as f64, bits);
        let mut all = attributes(&windows);
        all.push(("ceil_mode", Attribute::Int(i64::from(windows[0].ceil))));
        let op = match max {
            true => {
                all.push(dilations(&windows));
                "MaxPool"
            }
            false => {
                all.push(("count_include_pad", Attribute::Int(i64::from(counted))));
                "AveragePool"
            }
        };
        let name = self.name();
        let handle = self.b.custom(op, &name, &[x.handle], &[], &all, &output);
        self.keep(handle, x.bound, x.bits + bits, !exact);
    }

    pub fn add(&mut self, x: Made) {
        let shape = self.shape(x);
        let alike: Vec<_> = (0..self.made.len())
            .filter(|&at| !self.made[at].inexact && self.shape(self.made[at]) == shape)
            .collect();
        let at = alike[self.random.below(alike.len())];
        self.made[at].read = true;
        let other = self.made[at];
        let (x, other) = (
            self.small(x, 2.0, other.bits),
            self.small(other, 2.0, x.bits),
        );
        let name = self.name();
        let op = ["Add", "Add", "Add", "Sub", "Max"][self.random.below(5)];
        let both = [x.handle, other.handle];
        let handle = self.b.custom(op, &name, &both, &[], &[], &shape);
        self.keep(handle, x.bound + other.bound, x.bits.max(other.bits), false);
    }

    pub fn concat(&mut self, x: Made) {
        let shape = self.shape(x);
        let alike: Vec<_> = (0..self.made.len())
            .filter(|&at| {
                let other = self.shape(self.made[at]);
                let fits = other.len() == shape.len() && other[2..] == shape[2..];
                !self.made[at].inexact && fits && other[1] + shape[1] <= 20
            })
            .collect();
        if alike.is_empty() {
            return self.normalize(x);
        }
        let mut parts = vec![x];
        for _ in 0..1 + usize::from(shape[1] < 5 && self.random.once_in(4)) {
            let at = alike[self.random.below(alike.len())];
            self.made[at].read = true;
            parts.push(self.made[at]);
        }
        let bound = parts.iter().map(|p| p.bound).fold(0.0, f64::max);
        let bits = parts.iter().map(|p| p.bits).max().unwrap_or(0);
        let handles: Vec<_> = parts.iter().map(|p| p.handle).collect();
        let name = self.name();
        let handle = self.b.concat(&name, &handles);
        self.keep(handle, bound, bits, false);
    }

    pub fn normalize(&mut self, x: Made) {
        let x = self.small(x, 4.0, 0);
        let name = self.name();
        let handle = self.b.batch_norm(&name, x.handle);
        self.keep(handle, x.bound + 2.0, x.bits, false);
    }

    /// A global pool; a mean whose divisor is a power of two gates what it was made of.
    pub fn squeeze(&mut self, x: Made) {
        let mut shape = self.shape(x);
        let area: usize = shape[2..].iter().product();
        let whole = shape.clone();
        shape[2..].fill(1);
        let max = self.random.once_in(3);
        let op = ["GlobalAveragePool", "GlobalMaxPool"][usize::from(max)];
        let bits = if max || !area.is_power_of_two() {
            0
        } else {
            area.ilog2()
        };
        let x = self.small(x, area as f64, bits);
        let name = self.name();
        let handle = self.b.custom(op, &name, &[x.handle], &[], &[], &shape);
        let inexact = !max && !area.is_power_of_two();
        self.keep(handle, x.bound, x.bits + bits, inexact);
        if !inexact && self.random.once_in(2) {
            let last = self.made.len() - 1;
            self.made[last].read = true;
            let gate = self.made[last];
            let gate = self.small(gate, 4.0, x.bits);
            let x = self.small(x, gate.bound, gate.bits);
            let name = self.name();
            let both = [x.handle, gate.handle];
            let handle = self.b.custom("Mul", &name, &both, &[], &[], &whole);
            self.keep(handle, x.bound * gate.bound, x.bits + gate.bits, false);
        }
    }

    /// Channels in another order, as ShuffleNet has it: three nodes that nothing can be said of.
    pub fn shuffle(&mut self, x: Made) {
        let shape = self.shape(x);
        if !shape[1].is_multiple_of(2) {
            return self.clipped(x, 2.0);
        }
        let rest = &shape[2..];
        let reshaped = |b: &mut Self, x: Handle, to: &[usize]| {
            let target = Value {
                dtype: Dtype::I64,
                shape: vec![to.len()],
                bytes: to.iter().flat_map(|&n| (n as i64).to_le_bytes()).collect(),
            };
            let name = b.name();
            b.b.custom("Reshape", &name, &[x], &[("shape", &target)], &[], to)
        };
        let grouped = [&[shape[0], 2, shape[1] / 2], rest].concat();
        let y = reshaped(self, x.handle, &grouped);
        let swapped = [&[shape[0], shape[1] / 2, 2], rest].concat();
        let order = [0, 2, 1].into_iter().chain(3..3 + rest.len());
        let name = self.name();
        let perm = [("perm", ints(order))];
        let y = self
            .b
            .custom("Transpose", &name, &[y], &[], &perm, &swapped);
        let y = reshaped(self, y, &shape);
        self.keep(y, x.bound, x.bits, false);
    }

    pub fn transposed(&mut self, x: Made) {
        let shape = self.shape(x);
        if shape[2..].iter().any(|&length| length > 8) {
            return self.conv(x);
        }
        let stride = 1 + self.random.below(2);
        let kernel = stride + self.random.below(2);
        let made = 1 + self.random.below(5);
        let mut weight = vec![shape[1], made];
        weight.extend(vec![kernel; self.axes]);
        let fan_in = (shape[1] * kernel.pow(self.axes as u32)) as f64;
        let x = self.small(x, fan_in, 0);
        let weight = self.integers(&weight);
        let mut output = vec![shape[0], made];
        output.extend(shape[2..].iter().map(|&n| (n - 1) * stride + kernel));
        let all = [
            ("kernel_shape", ints(vec![kernel; self.axes])),
            ("strides", ints(vec![stride; self.axes])),
        ];
        let name = self.name();
        let constants = [("weight", &weight)];
        let inputs = [x.handle];
        let handle = self
            .b
            .custom("ConvTranspose", &name, &inputs, &constants, &all, &output);
        self.keep(handle, x.bound * fan_in, x.bits, false);
    }
}
