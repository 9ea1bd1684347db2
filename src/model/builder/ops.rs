//! The operators that the builder knows.

use super::window::Slide;
use super::{elements, stream, Conv, Fill, Handle, Hw, ModelBuilder, Pool, Weights};
use crate::graph::{Attribute, Value};

impl ModelBuilder {
    /// `Conv` of an `[N, C, H, W]` activation; weights `<name>.weight` and `<name>.bias`.
    pub fn conv(&mut self, name: &str, x: Handle, conv: Conv) -> Handle {
        let [n, channels, h, w] = self.image(name, x);
        let Conv { slide, groups, .. } = conv;
        if !divides(groups, channels) || !divides(groups, conv.out_channels) {
            let out = conv.out_channels;
            let message = format!("{channels} to {out} channels cannot be had in {groups} groups");
            self.fail(name, &message);
        }
        let [oh, ow] = self.slide(name, slide, [h, w], false);
        let per_group = channels / groups.max(1);
        let [kh, kw] = slide.kernel;
        let kernel = [conv.out_channels, per_group, kh, kw];
        let shape = [n, conv.out_channels, oh, ow];
        let fan_in = elements(&kernel[1..]);
        let weights = self.conv_weights(name, conv, &kernel, fan_in as f64);
        self.count(name, elements(&shape).saturating_mul(fan_in));
        let attributes = conv_attributes(conv);
        self.push("Conv", name, &[x], &weights, &attributes, &shape)
    }

    /// `ConvTranspose` of an `[N, C, H, W]` activation, output (H - 1) · stride + span - pads and
    /// the output padding.
    pub fn conv_transpose(&mut self, name: &str, x: Handle, conv: Conv) -> Handle {
        let [n, channels, h, w] = self.image(name, x);
        let Conv { slide, groups, .. } = conv;
        if !divides(groups, channels) || !divides(groups, conv.out_channels) {
            let out = conv.out_channels;
            let message = format!("{channels} to {out} channels cannot be had in {groups} groups");
            self.fail(name, &message);
        }
        let [more_h, more_w] = conv.output_padding;
        let output = [
            slide.transposed(0, h, more_h),
            slide.transposed(1, w, more_w),
        ];
        let [Some(oh), Some(ow)] = output else {
            self.fail(name, &format!("nothing is left of an input of {h}x{w}"));
            return x;
        };
        let [kh, kw] = slide.kernel;
        let kernel = [channels, conv.out_channels / groups.max(1), kh, kw];
        // Each output element sums over the windows that reach it, span / stride on each axis.
        let overlap = elements(&slide.kernel) as f64 / elements(&slide.stride) as f64;
        let fan_in = (channels / groups.max(1)) as f64 * overlap;
        let weights = self.conv_weights(name, conv, &kernel, fan_in);
        let per_input = elements(&kernel[1..]);
        self.count(name, elements(self.shape(x)).saturating_mul(per_input));
        let shape = [n, conv.out_channels, oh, ow];
        let mut attributes = conv_attributes(conv);
        if conv.output_padding != [0, 0] {
            attributes.push(("output_padding", pair(conv.output_padding)));
        }
        self.push("ConvTranspose", name, &[x], &weights, &attributes, &shape)
    }

    fn conv_weights(
        &mut self,
        name: &str,
        conv: Conv,
        kernel: &[usize],
        fan_in: f64,
    ) -> Vec<String> {
        let weight = self.kernel(&format!("{name}.weight"), kernel, fan_in, conv.gain);
        if !conv.bias {
            return vec![weight];
        }
        vec![weight, self.bias(name, conv.out_channels)]
    }

    fn bias(&mut self, name: &str, length: usize) -> String {
        let name = format!("{name}.bias");
        let fill = self.around(&name, 0.0, 0.1);
        self.parameter(&name, &[length], fill)
    }

    /// `Gemm` of an `[N, K]` activation by `<name>.weight` `[features, K]`, with a bias.
    pub fn gemm(&mut self, name: &str, x: Handle, features: usize) -> Handle {
        let &[n, k] = self.shape(x) else {
            let message = format!("needs an input [N, K], found {:?}", self.shape(x));
            self.fail(name, &message);
            return x;
        };
        // The last matrix has no ReLU behind it, but half the scale of a logit harms nobody.
        let weight = self.kernel(&format!("{name}.weight"), &[features, k], k as f64, 1.0);
        let bias = self.bias(name, features);
        self.count(name, elements(&[n, features, k]));
        let attributes = [("transB", Attribute::Int(1))];
        self.push(
            "Gemm",
            name,
            &[x],
            &[weight, bias],
            &attributes,
            &[n, features],
        )
    }

    /// `BatchNormalization` that about keeps its input's scale: running mean within 0.1 of 0,
    /// running variance and scale within 0.2 and 0.1 of 1. On integer weights the variance is 1,
    /// epsilon 0, the scale -1 or 1, so that the result is an integer.
    pub fn batch_norm(&mut self, name: &str, x: Handle) -> Handle {
        self.batch_norm_gain(name, x, 1.0)
    }

    /// `batch_norm` with its scale multiplied: below 1 on a residual branch, so that a deep sum
    /// does not grow. Integer weights take no gain.
    pub fn batch_norm_gain(&mut self, name: &str, x: Handle, gain: f32) -> Handle {
        let shape = self.shape(x).to_vec();
        let Some(&channels) = shape.get(1) else {
            self.fail(name, &format!("needs an input [N, C, …], found {shape:?}"));
            return x;
        };
        let weight = format!("{name}.weight");
        let variance = format!("{name}.running_var");
        let (scale, spread, epsilon) = match self.weights {
            Weights::He { .. } => (
                self.around(&weight, gain, 0.1 * gain),
                self.around(&variance, 1.0, 0.2),
                1e-5_f32,
            ),
            Weights::Integers { seed, .. } => {
                let stream = stream(seed, &weight);
                (Fill::Sign { stream }, Fill::Constant(1.0), 0.0)
            }
        };
        let mean = format!("{name}.running_mean");
        let centre = self.around(&mean, 0.0, 0.1);
        let f32 = crate::graph::Dtype::F32;
        let weights = [
            self.parameter(&weight, &[channels], scale),
            self.bias(name, channels),
            self.initializer(&mean, f32, &[channels], centre, false),
            self.initializer(&variance, f32, &[channels], spread, false),
        ];
        let attributes = [("epsilon", Attribute::Float(epsilon.to_bits()))];
        self.push(
            "BatchNormalization",
            name,
            &[x],
            &weights,
            &attributes,
            &shape,
        )
    }

    /// `MaxPool` of an `[N, C, H, W]` activation.
    pub fn max_pool(&mut self, name: &str, x: Handle, pool: Pool) -> Handle {
        let attributes = [("dilations", pair(pool.slide.dilation))];
        self.pool("MaxPool", name, x, pool, &attributes)
    }

    /// `AveragePool` of an `[N, C, H, W]` activation.
    pub fn average_pool(&mut self, name: &str, x: Handle, pool: Pool) -> Handle {
        if pool.slide.dilation != [1, 1] {
            self.fail(name, "an average pool of this opset has no dilation");
        }
        let count = i64::from(pool.count_padding);
        let attributes = [("count_include_pad", Attribute::Int(count))];
        self.pool("AveragePool", name, x, pool, &attributes)
    }

    fn pool(
        &mut self,
        op_type: &str,
        name: &str,
        x: Handle,
        pool: Pool,
        more: &[(&str, Attribute)],
    ) -> Handle {
        let [n, channels, h, w] = self.image(name, x);
        let [oh, ow] = self.slide(name, pool.slide, [h, w], pool.ceil);
        let mut attributes = vec![
            ("kernel_shape", pair(pool.slide.kernel)),
            ("strides", pair(pool.slide.stride)),
            ("pads", ints(&pool.slide.pads)),
            ("ceil_mode", Attribute::Int(i64::from(pool.ceil))),
        ];
        attributes.extend_from_slice(more);
        self.push(
            op_type,
            name,
            &[x],
            &[],
            &attributes,
            &[n, channels, oh, ow],
        )
    }

    /// `Resize` of an `[N, C, H, W]` activation that repeats every row and column so many times.
    pub fn upsample(&mut self, name: &str, x: Handle, factors: impl Into<Hw>) -> Handle {
        let [n, channels, h, w] = self.image(name, x);
        let Hw(tall, wide) = factors.into();
        let lengths = (h.checked_mul(tall), w.checked_mul(wide));
        let (Some(oh @ 1..), Some(ow @ 1..)) = lengths else {
            self.fail(
                name,
                &format!("{h}x{w} cannot become {tall}x{wide} times as large"),
            );
            return x;
        };
        let scales = Value::from_f32(&[4], &[1.0, 1.0, tall as f32, wide as f32]);
        // Constants come behind the inputs; tract finds the region of interest by its place.
        let nothing = Value::from_f32(&[0], &[]);
        let text = |text: &str| Attribute::Text(text.into());
        let attributes = [
            ("mode", text("nearest")),
            ("coordinate_transformation_mode", text("asymmetric")),
            ("nearest_mode", text("floor")),
        ];
        let constants = [("roi", &nothing), ("scales", &scales)];
        let shape = [n, channels, oh, ow];
        self.custom("Resize", name, &[x], &constants, &attributes, &shape)
    }

    /// `Pad` of an `[N, C, H, W]` activation with zeros at the top, left, bottom and right.
    pub fn pad(&mut self, name: &str, x: Handle, [top, left, bottom, right]: [usize; 4]) -> Handle {
        let [n, channels, h, w] = self.image(name, x);
        let shape = [n, channels, h + top + bottom, w + left + right];
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(|pad| pad as i64);
        let pads = Value {
            dtype: crate::graph::Dtype::I64,
            shape: vec![8],
            bytes: pads.iter().flat_map(|pad| pad.to_le_bytes()).collect(),
        };
        self.custom("Pad", name, &[x], &[("pads", &pads)], &[], &shape)
    }

    /// `GlobalAveragePool`: `[N, C, H, W]` to `[N, C, 1, 1]`.
    pub fn global_average_pool(&mut self, name: &str, x: Handle) -> Handle {
        let [n, channels, ..] = self.image(name, x);
        let shape = [n, channels, 1, 1];
        self.push("GlobalAveragePool", name, &[x], &[], &[], &shape)
    }

    /// `Flatten` from axis 1: `[N, …]` to `[N, product of the others]`.
    pub fn flatten(&mut self, name: &str, x: Handle) -> Handle {
        let shape = self.shape(x);
        let rest = shape.get(1..).unwrap_or(&[]).iter();
        let rest = rest.fold(1, |product: usize, &axis| product.saturating_mul(axis));
        let shape = [shape.first().copied().unwrap_or(1), rest];
        let attributes = [("axis", Attribute::Int(1))];
        self.push("Flatten", name, &[x], &[], &attributes, &shape)
    }

    /// `Add` of two activations of one shape.
    pub fn add(&mut self, name: &str, a: Handle, b: Handle) -> Handle {
        let shape = self.shape(a).to_vec();
        if shape != self.shape(b) {
            let message = format!("cannot add {:?} to {shape:?}", self.shape(b));
            self.fail(name, &message);
        }
        self.push("Add", name, &[a, b], &[], &[], &shape)
    }

    /// `Concat` along the channels (axis 1).
    pub fn concat(&mut self, name: &str, parts: &[Handle]) -> Handle {
        let shapes: Vec<Vec<usize>> = parts.iter().map(|&x| self.shape(x).to_vec()).collect();
        let without_channels = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            (shape.len() > 1).then(|| shape.remove(1)).map(|_| shape)
        };
        let Some(first) = shapes.first().filter(|shape| shape.len() > 1) else {
            self.fail(name, "needs inputs [N, C, …]");
            return parts.first().copied().unwrap_or(Handle(0));
        };
        let mut shape = first.clone();
        let rest = without_channels(first);
        if let Some(other) = shapes.iter().find(|s| without_channels(s) != rest) {
            let message = format!("cannot put {other:?} behind {first:?}");
            self.fail(name, &message);
            return parts[0];
        }
        shape[1] = shapes
            .iter()
            .fold(0, |sum: usize, shape| sum.saturating_add(shape[1]));
        self.push(
            "Concat",
            name,
            parts,
            &[],
            &[("axis", Attribute::Int(1))],
            &shape,
        )
    }

    /// `Relu`.
    pub fn relu(&mut self, name: &str, x: Handle) -> Handle {
        self.unary("Relu", name, x, &[])
    }

    /// `Sigmoid`.
    pub fn sigmoid(&mut self, name: &str, x: Handle) -> Handle {
        self.unary("Sigmoid", name, x, &[])
    }

    /// `Tanh`.
    pub fn tanh(&mut self, name: &str, x: Handle) -> Handle {
        self.unary("Tanh", name, x, &[])
    }

    /// `LeakyRelu`: negative elements times `alpha`.
    pub fn leaky_relu(&mut self, name: &str, x: Handle, alpha: f32) -> Handle {
        self.unary("LeakyRelu", name, x, &[("alpha", float(alpha))])
    }

    /// `Clip` to `low..=high`; (0, 6) is ReLU6. The bounds are constants `<name>.min` and `.max`.
    pub fn clip(&mut self, name: &str, x: Handle, low: f32, high: f32) -> Handle {
        let shape = self.shape(x).to_vec();
        let (low, high) = (Value::from_f32(&[], &[low]), Value::from_f32(&[], &[high]));
        self.custom(
            "Clip",
            name,
            &[x],
            &[("min", &low), ("max", &high)],
            &[],
            &shape,
        )
    }

    /// `Dropout` at inference: the identity.
    pub fn dropout(&mut self, name: &str, x: Handle) -> Handle {
        self.unary("Dropout", name, x, &[])
    }

    /// `Softmax` over the axis, from 0.
    pub fn softmax(&mut self, name: &str, x: Handle, axis: usize) -> Handle {
        if axis >= self.shape(x).len() {
            let message = format!("{:?} has no axis {axis}", self.shape(x));
            self.fail(name, &message);
        }
        self.unary("Softmax", name, x, &[("axis", Attribute::Int(axis as i64))])
    }

    /// `LRN` over `size` neighbouring channels: x / (bias + alpha / size · Σ x²)^beta.
    pub fn lrn(
        &mut self,
        name: &str,
        x: Handle,
        size: usize,
        [alpha, beta, bias]: [f32; 3],
    ) -> Handle {
        let attributes = [
            ("size", Attribute::Int(size as i64)),
            ("alpha", float(alpha)),
            ("beta", float(beta)),
            ("bias", float(bias)),
        ];
        self.unary("LRN", name, x, &attributes)
    }

    fn unary(
        &mut self,
        op_type: &str,
        name: &str,
        x: Handle,
        attributes: &[(&str, Attribute)],
    ) -> Handle {
        let shape = self.shape(x).to_vec();
        self.push(op_type, name, &[x], &[], attributes, &shape)
    }

    fn image(&mut self, name: &str, x: Handle) -> [usize; 4] {
        match *self.shape(x) {
            [n, c, h, w] => [n, c, h, w],
            ref other => {
                let message = format!("needs an input [N, C, H, W], found {other:?}");
                self.fail(name, &message);
                [1; 4]
            }
        }
    }

    fn slide(&mut self, name: &str, slide: Slide, input: [usize; 2], ceil: bool) -> [usize; 2] {
        let output = [
            slide.output(0, input[0], ceil),
            slide.output(1, input[1], ceil),
        ];
        if let [Some(height), Some(width)] = output {
            return [height, width];
        }
        let ([kh, kw], [h, w]) = (slide.kernel, input);
        self.fail(
            name,
            &format!("the input is too small: a {kh}x{kw} window does not fit on {h}x{w}"),
        );
        [1, 1]
    }

    fn count(&mut self, name: &str, macs: u64) {
        self.node_macs.push((name.into(), macs));
    }
}

fn divides(groups: usize, channels: usize) -> bool {
    groups > 0 && channels.is_multiple_of(groups)
}

fn conv_attributes(conv: Conv) -> Vec<(&'static str, Attribute)> {
    vec![
        ("kernel_shape", pair(conv.slide.kernel)),
        ("strides", pair(conv.slide.stride)),
        ("pads", ints(&conv.slide.pads)),
        ("dilations", pair(conv.slide.dilation)),
        ("group", Attribute::Int(conv.groups as i64)),
    ]
}

fn pair(values: [usize; 2]) -> Attribute {
    ints(&values)
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}

fn float(value: f32) -> Attribute {
    Attribute::Float(value.to_bits())
}
