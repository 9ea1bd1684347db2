//! Random CNNs from a seed, as model files, whose sums stay exact in f32: integers, and now and
//! then halves and quarters of them.
//!
//! Windows of any kernel, stride, dilation and asymmetric padding, groups, depthwise, pools of
//! every kind, Add, Concat, branches, gates, shuffled channels, one or two spatial axes, several
//! inputs and outputs, and heads of matrices.

use autodice::geometry::Window;
use autodice::graph::{Attribute, Value};
use autodice::model::builder::{Handle, ModelBuilder, Weights};

use super::random_graph::Random;

mod layers;

/// The largest sum that is allowed, in units of the smallest fraction: exact in f32.
const LARGEST: f64 = (1u64 << 22) as f64;
/// What an input's elements are at most, in absolute value.
pub const INPUT: i32 = 4;

#[derive(Clone, Copy)]
struct Made {
    handle: Handle,
    /// No element is larger in absolute value.
    bound: f64,
    /// Elements are multiples of 1 / 2^bits.
    bits: u32,
    /// A division has left no such fraction: good for an output only.
    inexact: bool,
    read: bool,
}

struct Cnn<'r> {
    b: ModelBuilder,
    random: &'r mut Random,
    made: Vec<Made>,
    inputs: usize,
    /// 1 or 2.
    axes: usize,
    count: usize,
}

/// A model of about `nodes` nodes.
pub fn random_cnn(random: &mut Random, nodes: usize) -> ModelBuilder {
    let seed = random.next();
    let b = ModelBuilder::with_weights("random", Weights::Integers { seed, max: 1 });
    let axes = 2 - usize::from(random.once_in(6));
    let mut cnn = Cnn {
        b,
        random,
        made: vec![],
        inputs: 0,
        axes,
        count: 0,
    };
    cnn.grow(nodes);
    if cnn.random.once_in(2) {
        cnn.head();
    }
    cnn.finish()
}

fn ints(items: impl IntoIterator<Item = usize>) -> Attribute {
    Attribute::Ints(items.into_iter().map(|item| item as i64).collect())
}

/// Windows as the attributes that Conv and pools share.
fn attributes(windows: &[Window]) -> Vec<(&'static str, Attribute)> {
    let before = windows.iter().map(|w| w.pad_before);
    let pads = before.chain(windows.iter().map(|w| w.pad_after));
    vec![
        ("kernel_shape", ints(windows.iter().map(|w| w.kernel))),
        ("strides", ints(windows.iter().map(|w| w.stride))),
        ("pads", ints(pads)),
    ]
}

fn dilations(windows: &[Window]) -> (&'static str, Attribute) {
    ("dilations", ints(windows.iter().map(|w| w.dilation)))
}

impl Cnn<'_> {
    fn grow(&mut self, nodes: usize) {
        let mut shape = vec![1, 1 + self.random.below(6)];
        shape.extend((0..self.axes).map(|_| 5 + self.random.below(12)));
        if self.random.once_in(12) {
            shape[0] = 2;
        }
        for index in 0..1 + usize::from(self.random.once_in(4)) {
            let handle = self.b.input(&format!("in{index}"), &shape);
            let bound = f64::from(INPUT);
            self.keep(handle, bound, 0, false);
        }
        self.inputs = self.made.len();
        for _ in 0..nodes {
            let at = self.pick();
            self.made[at].read = true;
            let x = self.made[at];
            match self.random.below(24) {
                0..=6 => self.conv(x),
                7..=9 => self.pool(x),
                10..=12 => self.add(x),
                13 | 14 => self.concat(x),
                15 | 16 => self.plain("Relu", x, &[], 1.0, 0),
                17 => {
                    let alpha = ("alpha", Attribute::Float(0.5f32.to_bits()));
                    self.plain("LeakyRelu", x, &[alpha], 1.0, 1);
                }
                18 => self.normalize(x),
                19 => self.squeeze(x),
                20 => self.shuffle(x),
                21 => self.transposed(x),
                22 => self.clipped(x, 3.0),
                _ => self.plain("Neg", x, &[], 1.0, 0),
            }
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("n{}", self.count)
    }

    /// Something that may be read further: mostly the newest, so that chains form.
    fn pick(&mut self) -> usize {
        let fit: Vec<_> = (0..self.made.len())
            .filter(|&at| !self.made[at].inexact && self.shape(self.made[at]).len() > 2)
            .collect();
        match self.random.below(4) {
            0 => fit[self.random.below(fit.len())],
            _ => fit[fit.len() - 1],
        }
    }

    fn shape(&self, x: Made) -> Vec<usize> {
        self.b.shape(x.handle).to_vec()
    }

    fn keep(&mut self, handle: Handle, bound: f64, bits: u32, inexact: bool) {
        let read = false;
        self.made.push(Made {
            handle,
            bound,
            bits,
            inexact,
            read,
        });
    }

    /// `x`, or `x` cut back where `times` as much and so many bits more would not be exact.
    fn small(&mut self, x: Made, times: f64, bits: u32) -> Made {
        if x.bound * times * f64::from(1 << (x.bits + bits)) < LARGEST {
            return x;
        }
        // A Clip leaves fractions as they are; what has too many is cut down to its sign.
        if x.bits + bits > 8 || 3.0 * times * f64::from(1 << (x.bits + bits)) >= LARGEST {
            let shape = self.shape(x);
            let name = self.name();
            let handle = self.b.custom("Sign", &name, &[x.handle], &[], &[], &shape);
            self.keep(handle, 1.0, 0, false);
        } else {
            self.clipped(x, 3.0);
        }
        let last = self.made.len() - 1;
        self.made[last].read = true;
        self.made[last]
    }

    fn clipped(&mut self, x: Made, bound: f32) {
        let name = self.name();
        let handle = self.b.clip(&name, x.handle, -bound, bound);
        self.keep(handle, f64::from(bound).min(x.bound), x.bits, false);
    }

    fn plain(
        &mut self,
        op: &str,
        x: Made,
        attributes: &[(&str, Attribute)],
        times: f64,
        bits: u32,
    ) {
        let x = self.small(x, times, bits);
        let (name, shape) = (self.name(), self.shape(x));
        let handle = self
            .b
            .custom(op, &name, &[x.handle], &[], attributes, &shape);
        self.keep(handle, x.bound * times, x.bits + bits, false);
    }

    /// A window for each spatial axis that fits on `lengths`; `inner`: padding is smaller than
    /// the kernel, so that no window lies in it.
    fn windows(&mut self, lengths: &[usize], inner: bool) -> Vec<Window> {
        let mut windows = vec![];
        for &length in lengths {
            let window = loop {
                let kernel = [1, 1, 2, 3, 3, 3, 4, 5][self.random.below(8)];
                let most = if inner { kernel.min(3) } else { 3 };
                let window = Window {
                    kernel,
                    stride: [1, 1, 1, 1, 2, 2, 3][self.random.below(7)],
                    dilation: 1 + usize::from(self.random.once_in(5)),
                    pad_before: self.random.below(most),
                    pad_after: self.random.below(most),
                    ceil: false,
                };
                let fits = window.output(length) >= 1 && window.output(length) <= 20;
                // Each window has a tap on the input: a maximum over padding is no number.
                if fits && (!inner || window.dilation == 1 || length > 4) {
                    break window;
                }
            };
            windows.push(window);
        }
        if self.random.once_in(2) {
            let same = windows[0];
            if lengths.iter().all(|&l| same.output(l) >= 1) {
                windows.fill(same);
            }
        }
        windows
    }

    fn integers(&mut self, shape: &[usize]) -> Value {
        let count = shape.iter().product();
        let elements: Vec<f32> = (0..count)
            .map(|_| self.random.below(3) as f32 - 1.0)
            .collect();
        Value::from_f32(shape, &elements)
    }

    /// Flatten and one to three matrices.
    fn head(&mut self) {
        let at = self.pick();
        self.made[at].read = true;
        let x = self.made[at];
        let length: usize = self.shape(x)[1..].iter().product();
        // What the reader knows as a matrix has one row.
        if length > 1500 || self.shape(x)[0] > 1 {
            return;
        }
        let x = self.small(x, length as f64 + 1.0, 0);
        let name = self.name();
        let mut handle = self.b.flatten(&name, x.handle);
        let mut bound = x.bound;
        for _ in 0..1 + self.random.below(3) {
            let fan_in = self.b.shape(handle)[1] as f64;
            if (bound * fan_in + 1.0) * f64::from(1 << x.bits) >= LARGEST {
                let name = self.name();
                handle = self.b.clip(&name, handle, -1.0, 1.0);
                bound = bound.min(1.0);
            }
            // tract refuses a matrix of one feature.
            let (name, features) = (self.name(), 2 + self.random.below(12));
            handle = self.b.gemm(&name, handle, features);
            bound = bound * fan_in + 1.0;
            if self.random.once_in(2) {
                let name = self.name();
                handle = self.b.relu(&name, handle);
            }
        }
        self.keep(handle, bound, x.bits, false);
    }

    fn finish(mut self) -> ModelBuilder {
        let mut outputs = vec![];
        for at in self.inputs..self.made.len() {
            let chosen = !self.made[at].read || self.random.once_in(10);
            if chosen && !self.random.once_in(12) {
                outputs.push(self.made[at].handle);
            }
        }
        if outputs.is_empty() {
            outputs.push(self.made[self.made.len() - 1].handle);
        }
        for i in (1..outputs.len()).rev() {
            outputs.swap(i, self.random.below(i + 1));
        }
        outputs.into_iter().for_each(|output| self.b.output(output));
        self.b
    }
}
