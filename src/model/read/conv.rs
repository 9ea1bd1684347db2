//! Convolutions, plain and transposed, from attributes and shapes.

use anyhow::{ensure, Result};

use super::attributes::Attributes;
use super::classify::Seen;
use super::windows::{conv_windows, transposed_windows};
use crate::graph::Op;

/// A Conv by a constant kernel; its attributes are completed.
///
/// # Errors
/// Shapes or attributes that do not fit each other.
pub fn conv(attributes: &mut Attributes<'_>, inputs: &[Seen], output: &[usize]) -> Result<Op> {
    let Some((input, kernel, groups)) = convolved(attributes, inputs, output)? else {
        return Ok(Op::Opaque);
    };
    let fits = kernel[1].checked_mul(groups) == Some(input[1])
        && kernel[0] == output[1]
        && kernel[0].is_multiple_of(groups);
    ensure!(
        fits,
        "kernel {kernel:?} in {groups} groups does not fit input {input:?} and output {output:?}"
    );
    let windows = conv_windows(attributes, &kernel[2..], &input[2..])?;
    let lengths = windows.iter().zip(&input[2..]).map(|(w, &i)| w.output(i));
    if !lengths.eq(output[2..].iter().copied()) {
        return Ok(Op::Opaque);
    }
    Ok(Op::Conv { windows, groups })
}

/// A ConvTranspose by a constant kernel, likewise.
///
/// # Errors
/// As for a convolution.
pub fn conv_transpose(
    attributes: &mut Attributes<'_>,
    inputs: &[Seen],
    output: &[usize],
) -> Result<Op> {
    let Some((input, kernel, groups)) = convolved(attributes, inputs, output)? else {
        return Ok(Op::Opaque);
    };
    let fits = kernel[0] == input[1]
        && kernel[1].checked_mul(groups) == Some(output[1])
        && kernel[0].is_multiple_of(groups);
    ensure!(
        fits,
        "kernel {kernel:?} in {groups} groups does not fit input {input:?} and output {output:?}"
    );
    let mut completed = attributes.0.clone();
    let windows = transposed_windows(&mut Attributes(&mut completed), &kernel[2..], &input[2..])?;
    let Some((windows, extra)) = windows else {
        return Ok(Op::Opaque);
    };
    let lengths = windows.iter().zip(&input[2..]).zip(extra);
    let lengths = lengths.map(|((w, &i), extra)| w.transposed_output(i, extra));
    if !lengths.eq(output[2..].iter().map(|&length| Some(length))) {
        return Ok(Op::Opaque);
    }
    *attributes.0 = completed;
    Ok(Op::ConvTranspose { windows, groups })
}

/// The shapes of a convolution's input and kernel, and its groups.
type Convolved<'a> = (&'a [usize], &'a [usize], usize);

/// What a convolution works on; none where its kernel or bias is no constant.
fn convolved<'a>(
    attributes: &Attributes<'_>,
    inputs: &'a [Seen],
    output: &[usize],
) -> Result<Option<Convolved<'a>>> {
    let (Some(Seen::Activation(input)), Some(Seen::Constant(kernel))) =
        (inputs.first(), inputs.get(1))
    else {
        return Ok(None);
    };
    let bias = inputs.get(2).unwrap_or(&Seen::Absent);
    if bias.is_activation() {
        return Ok(None);
    }
    let groups = attributes.int("group", 1)?;
    let groups = usize::try_from(groups).unwrap_or(0);
    ensure!(groups > 0, "attribute group is not positive");
    ensure!(
        input.len() >= 3
            && kernel.len() == input.len()
            && output.len() == input.len()
            && output[0] == input[0]
            && !kernel.contains(&0),
        "input {input:?}, kernel {kernel:?} and output {output:?} do not fit"
    );
    ensure!(
        *bias == Seen::Absent || bias.shape() == [output[1]],
        "bias {:?} does not fit kernel {kernel:?}",
        bias.shape()
    );
    Ok(Some((input, kernel, groups)))
}
