//! MobileNet v1 (Howard et al. 2017) and v2 (Sandler et al. 2018).

use super::resnet::BRANCH_GAIN;
use super::{Conv, Handle, Net};

/// Channels and stride of v1's 13 pairs of a depthwise and a pointwise convolution.
const V1: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

pub(super) fn v1(net: &mut Net, x: Handle) -> Handle {
    let stem = Conv::new(net.channels(32), 3).stride(2).pad(1);
    let mut x = conv_bn_relu6(net, "conv1", x, stem);
    for (i, (channels, stride)) in V1.into_iter().enumerate() {
        x = depthwise(net, &format!("conv{}.dw", i + 2), x, stride);
        let pointwise = Conv::new(net.channels(channels), 1);
        x = conv_bn_relu6(net, &format!("conv{}.pw", i + 2), x, pointwise);
    }
    net.classify(x, "fc")
}

/// Expansion, channels, repetitions and first stride of v2's stages (table 2 of the paper).
const V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) fn v2(net: &mut Net, x: Handle) -> Handle {
    let stem = Conv::new(net.channels(32), 3).stride(2).pad(1);
    let mut x = conv_bn_relu6(net, "conv1", x, stem);
    let mut block = 0;
    for (expansion, channels, count, first_stride) in V2 {
        for i in 0..count {
            block += 1;
            let name = format!("block{block}");
            let stride = if i == 0 { first_stride } else { 1 };
            let channels = net.channels(channels);
            x = inverted_residual(net, &name, x, expansion, channels, stride);
        }
    }
    // The paper does not make the last layer narrower than 1280.
    let last = if net.width > 1.0 {
        net.channels(1280)
    } else {
        1280
    };
    let x = conv_bn_relu6(net, "conv_last", x, Conv::new(last, 1));
    net.classify(x, "fc")
}

fn inverted_residual(
    net: &mut Net,
    name: &str,
    x: Handle,
    expansion: usize,
    channels: usize,
    stride: usize,
) -> Handle {
    let input = net.b.shape(x)[1];
    let mut y = x;
    if expansion > 1 {
        let expand = Conv::new(expansion * input, 1);
        y = conv_bn_relu6(net, &format!("{name}.expand"), y, expand);
    }
    y = depthwise(net, &format!("{name}.dw"), y, stride);
    let residual = stride == 1 && input == channels;
    // No ReLU follows: 0.7 undoes the factor √2 that He scaling holds ready for one.
    let gain = if residual { BRANCH_GAIN } else { 0.7 };
    let names = [format!("{name}.project"), format!("{name}.project.bn")];
    y = net.conv_bn([&names[0], &names[1]], y, Conv::new(channels, 1), gain);
    if residual {
        net.b.add(&format!("{name}.add"), x, y)
    } else {
        y
    }
}

fn depthwise(net: &mut Net, name: &str, x: Handle, stride: usize) -> Handle {
    let channels = net.b.shape(x)[1];
    let conv = Conv::new(channels, 3).stride(stride).pad(1);
    conv_bn_relu6(net, name, x, conv.groups(channels))
}

fn conv_bn_relu6(net: &mut Net, name: &str, x: Handle, conv: Conv) -> Handle {
    let x = net.conv_bn([name, &format!("{name}.bn")], x, conv, 1.0);
    net.b.clip(&format!("{name}.relu6"), x, 0.0, 6.0)
}
