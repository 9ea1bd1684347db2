//! Tiny YOLO v2 (Redmon and Farhadi 2017) for VOC: 5 anchors × (20 classes + 5).

use super::{Conv, Handle, Net, Pool};

pub(super) fn tiny_v2(net: &mut Net, mut x: Handle) -> Handle {
    for (i, channels) in [16, 32, 64, 128, 256, 512, 1024, 1024]
        .into_iter()
        .enumerate()
    {
        let number = i + 1;
        let names = [format!("conv{number}"), format!("bn{number}")];
        let conv = Conv::new(net.channels(channels), 3).pad(1);
        x = net.conv_bn([&names[0], &names[1]], x, conv, 1.0);
        x = net.b.leaky_relu(&format!("leaky{number}"), x, 0.1);
        let pool = match number {
            1..=5 => Pool::new(2).stride(2),
            // Of stride 1, padded behind, so that the size stays.
            6 => Pool::new(2).pads([0, 0, 1, 1]),
            _ => continue,
        };
        x = net.b.max_pool(&format!("pool{number}"), x, pool);
    }
    net.b.conv("conv9", x, Conv::new(125, 1))
}
