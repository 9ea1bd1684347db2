//! ResNet (He et al. 2016), with the stride in a bottleneck's 3×3 convolution as torchvision.

use super::{pool_3_2, Conv, Handle, Net};

/// On a branch that is added to a shortcut: a sum of 33 blocks stays in scale.
pub(super) const BRANCH_GAIN: f32 = 0.3;

/// Blocks of two 3×3 convolutions; `depths`: blocks of each stage.
pub(super) fn basic(net: &mut Net, x: Handle, depths: [usize; 4]) -> Handle {
    resnet(net, x, depths, 1, |net, name, x, channels, stride| {
        let n = |part: &str| format!("{name}.{part}");
        let first = Conv::new(channels, 3).stride(stride).pad(1);
        let y = net.conv_bn([&n("conv1"), &n("bn1")], x, first, 1.0);
        let y = net.b.relu(&n("relu1"), y);
        let second = Conv::new(channels, 3).pad(1);
        net.conv_bn([&n("conv2"), &n("bn2")], y, second, BRANCH_GAIN)
    })
}

/// Blocks of 1×1, 3×3 and 1×1 convolutions; `depths`: blocks of each stage.
pub(super) fn bottleneck(net: &mut Net, x: Handle, depths: [usize; 4]) -> Handle {
    resnet(net, x, depths, 4, |net, name, x, channels, stride| {
        let n = |part: &str| format!("{name}.{part}");
        let y = net.conv_bn([&n("conv1"), &n("bn1")], x, Conv::new(channels, 1), 1.0);
        let y = net.b.relu(&n("relu1"), y);
        let second = Conv::new(channels, 3).stride(stride).pad(1);
        let y = net.conv_bn([&n("conv2"), &n("bn2")], y, second, 1.0);
        let y = net.b.relu(&n("relu2"), y);
        let third = Conv::new(4 * channels, 1);
        net.conv_bn([&n("conv3"), &n("bn3")], y, third, BRANCH_GAIN)
    })
}

/// `branch(net, name, x, channels, stride)` gives `channels · expansion` channels.
fn resnet(
    net: &mut Net,
    x: Handle,
    depths: [usize; 4],
    expansion: usize,
    branch: impl Fn(&mut Net, &str, Handle, usize, usize) -> Handle,
) -> Handle {
    let stem = Conv::new(net.channels(64), 7).stride(2).pad(3);
    let x = net.conv_bn(["conv1", "bn1"], x, stem, 1.0);
    let x = net.b.relu("relu", x);
    let mut x = net.b.max_pool("maxpool", x, pool_3_2().pad(1));
    for (stage, depth) in depths.into_iter().enumerate() {
        let channels = net.channels(64 << stage);
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            let y = branch(net, &name, x, channels, stride);
            let wide = channels * expansion;
            let shortcut = if stride == 1 && net.b.shape(x)[1] == wide {
                x
            } else {
                let names = [".downsample.conv", ".downsample.bn"].map(|part| name.clone() + part);
                let conv = Conv::new(wide, 1).stride(stride);
                net.conv_bn([&names[0], &names[1]], x, conv, 0.7)
            };
            let sum = net.b.add(&format!("{name}.add"), y, shortcut);
            x = net.b.relu(&format!("{name}.relu"), sum);
        }
    }
    net.classify(x, "fc")
}
