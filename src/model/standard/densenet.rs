//! DenseNet-BC (Huang et al. 2017), growth 32.

use super::{pool_3_2, Conv, Handle, Net, Pool};

/// `depths`: layers of each dense block.
pub(super) fn densenet(net: &mut Net, x: Handle, depths: [usize; 4]) -> Handle {
    let stem = Conv::new(net.channels(64), 7).stride(2).pad(3);
    let x = net.conv_bn(["conv0", "norm0"], x, stem, 1.0);
    let x = net.b.relu("relu0", x);
    let mut x = net.b.max_pool("pool0", x, pool_3_2().pad(1));
    for (i, depth) in depths.into_iter().enumerate() {
        for layer in 1..=depth {
            let name = format!("denseblock{}.denselayer{layer}", i + 1);
            x = dense_layer(net, &name, x);
        }
        if i < 3 {
            let name = format!("transition{}", i + 1);
            let channels = net.b.shape(x)[1] / 2;
            x = norm_relu_conv(net, [&name, ""], x, Conv::new(channels, 1));
            let pool = Pool::new(2).stride(2);
            x = net.b.average_pool(&format!("{name}.pool"), x, pool);
        }
    }
    let x = net.b.batch_norm("norm5", x);
    let x = net.b.relu("relu5", x);
    net.classify(x, "classifier")
}

fn dense_layer(net: &mut Net, name: &str, x: Handle) -> Handle {
    let growth = net.channels(32);
    let y = norm_relu_conv(net, [name, "1"], x, Conv::new(4 * growth, 1));
    let y = norm_relu_conv(net, [name, "2"], y, Conv::new(growth, 3).pad(1));
    net.b.concat(&format!("{name}.concat"), &[x, y])
}

fn norm_relu_conv(net: &mut Net, [name, number]: [&str; 2], x: Handle, conv: Conv) -> Handle {
    let x = net.b.batch_norm(&format!("{name}.norm{number}"), x);
    let x = net.b.relu(&format!("{name}.relu{number}"), x);
    net.b
        .conv(&format!("{name}.conv{number}"), x, conv.no_bias())
}
