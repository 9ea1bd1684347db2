//! GoogLeNet (Inception v1, Szegedy et al. 2015) as torchvision has it: batch normalisation, and
//! 3×3 instead of 5×5 convolutions in the third branch.

use super::{pool_3_2, Conv, Handle, Net, Pool};

/// A module's name, then its channels: 1×1; 3×3 before and after; third branch before and after;
/// behind the pool.
type Module = (&'static str, [usize; 6]);

const STAGE_3: [Module; 2] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
];
const STAGE_4: [Module; 5] = [
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
];
const STAGE_5: [Module; 2] = [
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

pub(super) fn googlenet(net: &mut Net, x: Handle) -> Handle {
    let (c1, c3) = (net.channels(64), net.channels(192));
    let x = conv_bn_relu(net, "conv1", x, Conv::new(c1, 7).stride(2).pad(3));
    let x = net.b.max_pool("maxpool1", x, pool_3_2().ceil());
    let x = conv_bn_relu(net, "conv2", x, Conv::new(c1, 1));
    let x = conv_bn_relu(net, "conv3", x, Conv::new(c3, 3).pad(1));
    let x = net.b.max_pool("maxpool2", x, pool_3_2().ceil());
    let x = STAGE_3
        .iter()
        .fold(x, |x, module| inception(net, x, module));
    let x = net.b.max_pool("maxpool3", x, pool_3_2().ceil());
    let x = STAGE_4
        .iter()
        .fold(x, |x, module| inception(net, x, module));
    let x = net.b.max_pool("maxpool4", x, Pool::new(2).stride(2).ceil());
    let x = STAGE_5
        .iter()
        .fold(x, |x, module| inception(net, x, module));
    net.classify(x, "fc")
}

fn inception(net: &mut Net, x: Handle, (name, channels): &Module) -> Handle {
    let [c1, c3_in, c3, c5_in, c5, pool] = channels.map(|c| net.channels(c));
    let n = |branch: &str| format!("{name}.{branch}");
    let a = conv_bn_relu(net, &n("branch1"), x, Conv::new(c1, 1));
    let b = conv_bn_relu(net, &n("branch2.0"), x, Conv::new(c3_in, 1));
    let b = conv_bn_relu(net, &n("branch2.1"), b, Conv::new(c3, 3).pad(1));
    let c = conv_bn_relu(net, &n("branch3.0"), x, Conv::new(c5_in, 1));
    let c = conv_bn_relu(net, &n("branch3.1"), c, Conv::new(c5, 3).pad(1));
    let d = net
        .b
        .max_pool(&n("branch4.0"), x, Pool::new(3).pad(1).ceil());
    let d = conv_bn_relu(net, &n("branch4.1"), d, Conv::new(pool, 1));
    net.b.concat(&n("concat"), &[a, b, c, d])
}

fn conv_bn_relu(net: &mut Net, name: &str, x: Handle, conv: Conv) -> Handle {
    let names = [format!("{name}.conv"), format!("{name}.bn")];
    let x = net.conv_bn([&names[0], &names[1]], x, conv, 1.0);
    net.b.relu(&format!("{name}.relu"), x)
}
