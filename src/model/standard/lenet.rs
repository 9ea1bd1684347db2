//! LeNet-5 (LeCun et al. 1998) as commonly rebuilt: 28×28, plain average pools, no RBF layer.

use super::{Conv, Handle, Net, Pool};

pub(super) fn lenet5(net: &mut Net, x: Handle) -> Handle {
    let (c1, c2) = (net.channels(6), net.channels(16));
    let (f1, f2) = (net.channels(120), net.channels(84));
    let b = &mut net.b;
    let x = b.conv("conv1", x, Conv::new(c1, 5).pad(2));
    let x = b.tanh("tanh1", x);
    let x = b.average_pool("pool1", x, Pool::new(2).stride(2));
    let x = b.conv("conv2", x, Conv::new(c2, 5));
    let x = b.tanh("tanh2", x);
    let x = b.average_pool("pool2", x, Pool::new(2).stride(2));
    let x = b.flatten("flatten", x);
    let x = b.gemm("fc3", x, f1);
    let x = b.tanh("tanh3", x);
    let x = b.gemm("fc4", x, f2);
    let x = b.tanh("tanh4", x);
    b.gemm("fc5", x, 10)
}
