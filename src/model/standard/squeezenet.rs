//! SqueezeNet (Iandola et al. 2016), versions 1.0 and 1.1, as torchvision has them.

use super::{pool_3_2, Conv, Handle, Net};

pub(super) fn v1_0(net: &mut Net, x: Handle) -> Handle {
    let stem = Conv::new(net.channels(96), 7).stride(2);
    squeezenet(net, x, stem, [4, 8])
}

pub(super) fn v1_1(net: &mut Net, x: Handle) -> Handle {
    let stem = Conv::new(net.channels(64), 3).stride(2);
    squeezenet(net, x, stem, [3, 5])
}

/// `pools`: the fire modules that a pool follows, beside the one behind the stem.
fn squeezenet(net: &mut Net, x: Handle, stem: Conv, pools: [usize; 2]) -> Handle {
    let x = net.conv_relu(["conv1", "relu1"], x, stem);
    let mut x = net.b.max_pool("pool1", x, pool_3_2().ceil());
    for (i, squeeze) in [16, 16, 32, 32, 48, 48, 64, 64].into_iter().enumerate() {
        let number = i + 2;
        x = fire(net, &format!("fire{number}"), x, squeeze);
        if pools.contains(&number) {
            x = net
                .b
                .max_pool(&format!("pool{number}"), x, pool_3_2().ceil());
        }
    }
    let x = net.conv_relu(["conv10", "relu10"], x, Conv::new(1000, 1));
    let x = net.b.global_average_pool("avgpool", x);
    net.b.flatten("flatten", x)
}

/// 1×1 convolutions down to `squeeze` channels, then 1×1 and 3×3 ones up to four times as many.
fn fire(net: &mut Net, name: &str, x: Handle, squeeze: usize) -> Handle {
    let (narrow, wide) = (net.channels(squeeze), net.channels(4 * squeeze));
    let mut conv = |part: &str, x, conv| {
        let names = [format!("{name}.{part}"), format!("{name}.{part}.relu")];
        net.conv_relu([&names[0], &names[1]], x, conv)
    };
    let x = conv("squeeze", x, Conv::new(narrow, 1));
    let a = conv("expand1x1", x, Conv::new(wide, 1));
    let b = conv("expand3x3", x, Conv::new(wide, 3).pad(1));
    net.b.concat(&format!("{name}.concat"), &[a, b])
}
