//! AlexNet in the sizes of Krizhevsky 2014 ("One weird trick"), as torchvision has it.

use super::{pool_3_2, Conv, Handle, Net};

pub(super) fn alexnet(net: &mut Net, x: Handle) -> Handle {
    let [c1, c2, c3, c4, fc] = [64, 192, 384, 256, 4096].map(|c| net.channels(c));
    let x = net.conv_relu(["conv1", "relu1"], x, Conv::new(c1, 11).stride(4).pad(2));
    let x = net.b.max_pool("pool1", x, pool_3_2());
    let x = net.conv_relu(["conv2", "relu2"], x, Conv::new(c2, 5).pad(2));
    let x = net.b.max_pool("pool2", x, pool_3_2());
    let x = net.conv_relu(["conv3", "relu3"], x, Conv::new(c3, 3).pad(1));
    let x = net.conv_relu(["conv4", "relu4"], x, Conv::new(c4, 3).pad(1));
    let x = net.conv_relu(["conv5", "relu5"], x, Conv::new(c4, 3).pad(1));
    let x = net.b.max_pool("pool5", x, pool_3_2());
    three_matrices(net, x, fc)
}

/// The classifier of AlexNet and VGG: two hidden layers of `hidden`, 1000 classes.
pub(super) fn three_matrices(net: &mut Net, x: Handle, hidden: usize) -> Handle {
    let b = &mut net.b;
    let x = b.flatten("flatten", x);
    let x = b.gemm("fc6", x, hidden);
    let x = b.relu("relu6", x);
    let x = b.gemm("fc7", x, hidden);
    let x = b.relu("relu7", x);
    b.gemm("fc8", x, 1000)
}
