//! FCN-8s on VGG-16 (Long, Shelhamer and Darrell 2015): segmentation into 21 classes.
//!
//! Padded by 3 before `fc6` instead of by 100 at the input, so that nothing needs cropping where
//! height and width are multiples of 32.

use anyhow::{bail, Result};

use super::{vgg, Conv, Handle, Net};

const CLASSES: usize = 21;

pub(super) fn fcn_8s(net: &mut Net, x: Handle) -> Result<Handle> {
    let (height, width) = net.size;
    if height % 32 != 0 || width % 32 != 0 {
        bail!("fcn at {height}x{width}: height and width must be multiples of 32");
    }
    let [_, _, pool3, pool4, pool5] = vgg::body(net, x, [2, 2, 3, 3, 3]);
    let hidden = net.channels(4096);
    let x = net.conv_relu(["fc6", "relu6"], pool5, Conv::new(hidden, 7).pad(3));
    let x = net.conv_relu(["fc7", "relu7"], x, Conv::new(hidden, 1));
    let b = &mut net.b;
    let score = Conv::new(CLASSES, 1).gain(0.7);
    let twice = Conv::new(CLASSES, 4).stride(2).pad(1).no_bias().gain(0.7);
    let x = b.conv("score_fr", x, score);
    let x = b.conv_transpose("upscore2", x, twice);
    let y = b.conv("score_pool4", pool4, score);
    let x = b.add("fuse_pool4", x, y);
    let x = b.conv_transpose("upscore_pool4", x, twice);
    let y = b.conv("score_pool3", pool3, score);
    let x = b.add("fuse_pool3", x, y);
    let eightfold = Conv::new(CLASSES, 16).stride(8).pad(4).no_bias().gain(0.7);
    Ok(b.conv_transpose("upscore8", x, eightfold))
}
