//! VGG (Simonyan and Zisserman 2015), configurations A, D and E, without batch normalisation.

use super::{alexnet::three_matrices, Conv, Handle, Net, Pool};

/// `depths`: convolutions before each of the five pools.
pub(super) fn vgg(net: &mut Net, x: Handle, depths: [usize; 5]) -> Handle {
    let [.., x] = body(net, x, depths);
    let hidden = net.channels(4096);
    three_matrices(net, x, hidden)
}

/// The convolution part: what its five pools give.
pub(super) fn body(net: &mut Net, mut x: Handle, depths: [usize; 5]) -> [Handle; 5] {
    let mut stage = 0;
    depths.map(|depth| {
        stage += 1;
        let channels = net.channels(512.min(32 << stage));
        for i in 1..=depth {
            let names = [&format!("conv{stage}_{i}")[..], &format!("relu{stage}_{i}")];
            x = net.conv_relu(names, x, Conv::new(channels, 3).pad(1));
        }
        let name = format!("pool{stage}");
        x = net.b.max_pool(&name, x, Pool::new(2).stride(2));
        x
    })
}
