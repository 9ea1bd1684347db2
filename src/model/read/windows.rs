//! Windows of convolutions and pools from attributes, with automatic padding made explicit.

use anyhow::{bail, ensure, Context, Result};

use super::attributes::Attributes;
use crate::geometry::Window;
use crate::graph::Attribute;

/// The windows of a convolution over spatial axes of these lengths; `kernel_shape`, `strides`,
/// `pads` and `dilations` are written into the attributes, `auto_pad` is removed.
pub fn conv_windows(
    attributes: &mut Attributes<'_>,
    kernel: &[usize],
    input: &[usize],
) -> Result<Vec<Window>> {
    check_kernel(attributes, kernel)?;
    let windows = resolve(attributes, kernel, input, false)?;
    write(attributes, &windows, true);
    Ok(windows)
}

fn check_kernel(attributes: &Attributes<'_>, kernel: &[usize]) -> Result<()> {
    if let Some(stated) = attributes.ints("kernel_shape")? {
        let same = stated.iter().map(|&k| usize::try_from(k).ok());
        ensure!(
            same.eq(kernel.iter().map(|&k| Some(k))),
            "attribute kernel_shape is {stated:?}, the kernel's is {kernel:?}"
        );
    }
    Ok(())
}

/// The windows of a pool, likewise.
pub fn pool_windows(attributes: &mut Attributes<'_>, input: &[usize]) -> Result<Vec<Window>> {
    let kernel = attributes
        .ints("kernel_shape")?
        .context("attribute kernel_shape is missing")?;
    let kernel = positive("kernel_shape", &kernel, input.len())?;
    let ceil = attributes.int("ceil_mode", 0)? != 0;
    let windows = resolve(attributes, &kernel, input, ceil)?;
    write(attributes, &windows, false);
    Ok(windows)
}

/// The windows of a transposed convolution, likewise, and for each axis the indices that its
/// output has behind them (`output_padding`). None where automatic padding means one thing to
/// ONNX and another to tract, which runs the uncut model; the attributes then stay as they are.
pub fn transposed_windows(
    attributes: &mut Attributes<'_>,
    kernel: &[usize],
    input: &[usize],
) -> Result<Option<(Vec<Window>, Vec<usize>)>> {
    check_kernel(attributes, kernel)?;
    let axes = input.len();
    let stated = attributes.ints("output_padding")?;
    let stated = stated.unwrap_or(vec![0; axes]);
    ensure!(
        stated.len() == axes && stated.iter().all(|&extra| extra >= 0),
        "attribute output_padding is {stated:?}, {axes} numbers from 0 are needed"
    );
    let extra: Vec<usize> = stated.iter().map(|&extra| extra as usize).collect();
    let mut windows = resolve(attributes, kernel, input, false)?;
    if let Some(shape) = attributes.ints("output_shape")? {
        // ONNX crops at both ends what is too long, tract at the end alone.
        let full = windows.iter().zip(input);
        let full = full.map(|(window, &length)| window.transposed_output(length, 0));
        let asked = shape.iter().map(|&length| usize::try_from(length).ok());
        let padded = windows.iter().any(|w| w.pad_before + w.pad_after > 0);
        if padded || extra.iter().any(|&extra| extra > 0) || !full.eq(asked) {
            return Ok(None);
        }
    } else if attributes.ints("pads")?.is_none() {
        let upper = match attributes.text("auto_pad")?.as_deref() {
            Some("SAME_UPPER") => Some(true),
            Some("SAME_LOWER") => Some(false),
            _ => None,
        };
        if upper.is_some() && extra.iter().any(|&extra| extra > 0) {
            return Ok(None);
        }
        for window in windows.iter_mut().filter(|_| upper.is_some()) {
            // out = in * stride; the odd one goes behind (upper) or before (lower).
            let padding = window.extent().saturating_sub(window.stride);
            let (small, large) = (padding / 2, padding.div_ceil(2));
            (window.pad_before, window.pad_after) = match upper {
                Some(true) => (small, large),
                _ => (large, small),
            };
        }
    }
    write(attributes, &windows, true);
    attributes.remove(&["output_shape"]);
    Ok(Some((windows, extra)))
}

fn positive(name: &str, values: &[i64], axes: usize) -> Result<Vec<usize>> {
    ensure!(
        values.len() == axes && values.iter().all(|&value| value > 0),
        "attribute {name} is {values:?}, {axes} positive numbers are needed"
    );
    Ok(values.iter().map(|&value| value as usize).collect())
}

fn resolve(
    attributes: &Attributes<'_>,
    kernel: &[usize],
    input: &[usize],
    ceil: bool,
) -> Result<Vec<Window>> {
    let axes = input.len();
    let list = |name: &str| -> Result<Vec<usize>> {
        match attributes.ints(name)? {
            Some(values) => positive(name, &values, axes),
            None => Ok(vec![1; axes]),
        }
    };
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    let mut windows: Vec<Window> = (0..axes)
        .map(|axis| Window {
            kernel: kernel[axis],
            stride: strides[axis],
            dilation: dilations[axis],
            ceil,
            ..Window::POINT
        })
        .collect();
    if let Some(pads) = attributes.ints("pads")? {
        ensure!(
            pads.len() == 2 * axes && pads.iter().all(|&pad| pad >= 0),
            "attribute pads is {pads:?}, {} numbers from 0 are needed",
            2 * axes
        );
        for (axis, window) in windows.iter_mut().enumerate() {
            window.pad_before = pads[axis] as usize;
            window.pad_after = pads[axis + axes] as usize;
        }
        return Ok(windows);
    }
    let upper = match attributes.text("auto_pad")?.as_deref() {
        None | Some("NOTSET") => return Ok(windows),
        Some("VALID") => {
            // tract does not round up where padding is automatic.
            windows.iter_mut().for_each(|window| window.ceil = false);
            return Ok(windows);
        }
        Some("SAME_UPPER") => true,
        Some("SAME_LOWER") => false,
        Some(other) => bail!(
            "attribute auto_pad is {other:?}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are known"
        ),
    };
    for (window, &length) in windows.iter_mut().zip(input) {
        // out = ceil(in / stride), and as much padding as the last window then needs; the odd
        // one goes behind (upper) or before (lower).
        let output = length.div_ceil(window.stride).max(1);
        let padding = ((output - 1) * window.stride + window.extent()).saturating_sub(length);
        let (small, large) = (padding / 2, padding.div_ceil(2));
        (window.pad_before, window.pad_after) = if upper {
            (small, large)
        } else {
            (large, small)
        };
        window.ceil = false;
    }
    Ok(windows)
}

/// Writes the windows into the attributes. A pool's dilation and ceil mode came with later
/// opsets and are left out where they change nothing.
fn write(attributes: &mut Attributes<'_>, windows: &[Window], all: bool) {
    let list = |of: fn(&Window) -> usize| -> Vec<i64> {
        windows.iter().map(|window| of(window) as i64).collect()
    };
    attributes.remove(&["auto_pad"]);
    attributes.set("kernel_shape", Attribute::Ints(list(|w| w.kernel)));
    attributes.set("strides", Attribute::Ints(list(|w| w.stride)));
    let mut pads = list(|w| w.pad_before);
    pads.extend(list(|w| w.pad_after));
    attributes.set("pads", Attribute::Ints(pads));
    if all || windows.iter().any(|window| window.dilation != 1) {
        attributes.set("dilations", Attribute::Ints(list(|w| w.dilation)));
    } else {
        attributes.remove(&["dilations"]);
    }
    if windows.iter().any(|window| window.ceil) {
        attributes.set("ceil_mode", Attribute::Int(1));
    } else {
        attributes.remove(&["ceil_mode"]);
    }
}
