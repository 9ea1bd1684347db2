//! The standard architectures, with seeded weights.
//!
//! Layers, names and counts follow torchvision where it has the architecture, as exported for
//! inference: no dropout, no auxiliary classifiers, no softmax. At another size than the
//! published one, a fully connected layer takes whatever the convolutions leave.

use anyhow::{bail, Result};

use super::builder::{Conv, Handle, ModelBuilder, Pool, Weights};

mod alexnet;
mod densenet;
mod fcn;
mod googlenet;
mod lenet;
mod mobilenet;
mod resnet;
mod squeezenet;
mod vgg;
mod yolo;

/// What [`build`] knows.
pub const NAMES: &[&str] = &[
    "lenet5",
    "alexnet",
    "vgg11",
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "squeezenet",
    "squeezenet1_1",
    "googlenet",
    "tiny_yolo_v2",
    "fcn",
];

/// How to build a standard architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Of the weights: the same seed gives the same bytes on every machine.
    pub seed: u64,
    /// Height and width of the input; the published size where none.
    pub size: Option<(usize, usize)>,
    /// Multiplies the channels of every layer but the last, rounded to multiples of 8 as
    /// MobileNetV2 does (at least 8, never below 90 %); 1 where none.
    pub width: Option<f32>,
    /// Weights are integers `-max..=max`, for tests of exactness; He-scaled where none.
    pub integers: Option<u8>,
}

/// A standard architecture, ready to be written. Its input is `input`, `[1, C, H, W]`.
///
/// # Errors
/// One line: an unknown name, with the names; a width that is no scale; a size that the
/// architecture does not take, with the node where nothing is left.
pub fn build(name: &str, options: &Options) -> Result<ModelBuilder> {
    let width = options.width.unwrap_or(1.0);
    if !(0.001..=16.0).contains(&width) {
        bail!("{name}: the width is {width}, must be between 0.001 and 16");
    }
    let seed = options.seed;
    let weights = match options.integers {
        Some(max) => Weights::Integers { seed, max },
        None => Weights::He { seed },
    };
    let published = published_size(name);
    let (height, last) = options.size.unwrap_or((published, published));
    let mut net = Net {
        b: ModelBuilder::with_weights(name, weights),
        width: f64::from(width),
        size: (height, last),
    };
    let channels = if name == "lenet5" { 1 } else { 3 };
    let x = net.b.input("input", &[1, channels, height, last]);
    let y = match name {
        "lenet5" => lenet::lenet5(&mut net, x),
        "alexnet" => alexnet::alexnet(&mut net, x),
        "vgg11" => vgg::vgg(&mut net, x, [1, 1, 2, 2, 2]),
        "vgg16" => vgg::vgg(&mut net, x, [2, 2, 3, 3, 3]),
        "vgg19" => vgg::vgg(&mut net, x, [2, 2, 4, 4, 4]),
        "resnet18" => resnet::basic(&mut net, x, [2, 2, 2, 2]),
        "resnet34" => resnet::basic(&mut net, x, [3, 4, 6, 3]),
        "resnet50" => resnet::bottleneck(&mut net, x, [3, 4, 6, 3]),
        "resnet101" => resnet::bottleneck(&mut net, x, [3, 4, 23, 3]),
        "densenet121" => densenet::densenet(&mut net, x, [6, 12, 24, 16]),
        "mobilenet_v1" => mobilenet::v1(&mut net, x),
        "mobilenet_v2" => mobilenet::v2(&mut net, x),
        "squeezenet" => squeezenet::v1_0(&mut net, x),
        "squeezenet1_1" => squeezenet::v1_1(&mut net, x),
        "googlenet" => googlenet::googlenet(&mut net, x),
        "tiny_yolo_v2" => yolo::tiny_v2(&mut net, x),
        "fcn" => fcn::fcn_8s(&mut net, x)?,
        _ => bail!("no architecture {name:?}; there are {}", NAMES.join(", ")),
    };
    net.b.output(y);
    // The size names the fault; the builder's own line begins with the model's name.
    if let Some(fault) = net.b.fault() {
        bail!("{name} at {height}x{last}: {fault}");
    }
    Ok(net.b)
}

/// Height and width that the publication counts at.
fn published_size(name: &str) -> usize {
    match name {
        "lenet5" => 28,
        "tiny_yolo_v2" => 416,
        _ => 224,
    }
}

/// A builder with the width of its layers, and what several families repeat.
struct Net {
    b: ModelBuilder,
    width: f64,
    size: (usize, usize),
}

impl Net {
    /// Channels of a layer that has `channels` at width 1.
    fn channels(&self, channels: usize) -> usize {
        if self.width == 1.0 {
            return channels;
        }
        let scaled = channels as f64 * self.width;
        let nearest = 8 * ((scaled + 4.0) as usize / 8).max(1);
        if (nearest as f64) < 0.9 * scaled {
            nearest + 8
        } else {
            nearest
        }
    }

    /// Convolution and ReLU: `conv` and `relu` are the nodes' names.
    fn conv_relu(&mut self, [name, relu]: [&str; 2], x: Handle, conv: Conv) -> Handle {
        let x = self.b.conv(name, x, conv);
        self.b.relu(relu, x)
    }

    /// Convolution without bias, then batch normalisation.
    fn conv_bn(&mut self, [name, bn]: [&str; 2], x: Handle, conv: Conv, gain: f32) -> Handle {
        let x = self.b.conv(name, x, conv.no_bias());
        self.b.batch_norm_gain(bn, x, gain)
    }

    /// Global average, flatten, and a matrix of 1000 classes.
    fn classify(&mut self, x: Handle, matrix: &str) -> Handle {
        let x = self.b.global_average_pool("avgpool", x);
        let x = self.b.flatten("flatten", x);
        self.b.gemm(matrix, x, 1000)
    }
}

/// The 3×3 pool of stride 2 that many families begin with.
fn pool_3_2() -> Pool {
    Pool::new(3).stride(2)
}
