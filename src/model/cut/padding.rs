//! Zeros around a tensor: the operator itself, and rows that another operator needs.

use anyhow::{ensure, Result};

use super::nodes::Job;
use crate::geometry::Window;
use crate::graph::Attribute;

/// Adds a padding of the spatial axes with zeros: that of the model at its borders, nothing at
/// inner ones.
pub(super) fn emit(job: &mut Job<'_, '_>, windows: &[Window]) -> Result<()> {
    let (input, pads) = job.windowed(windows)?;
    let output = job.output();
    if pads.iter().all(|&own| own == (0, 0)) {
        job.push("Identity", &[&input], &[]);
        return Ok(());
    }
    let (list, attributes) = pads_of(job, &output, &pads)?;
    let inputs: Vec<&str> = std::iter::once(&input[..]).chain(list.as_deref()).collect();
    job.push("Pad", &inputs, &attributes);
    Ok(())
}

/// The tensor with this padding of zeros for each spatial axis, itself where there is none.
pub(super) fn zeros_around(
    job: &mut Job<'_, '_>,
    input: &str,
    pads: &[(usize, usize)],
) -> Result<String> {
    if pads.iter().all(|&own| own == (0, 0)) {
        return Ok(input.to_string());
    }
    let output = job.tensors.fresh(&format!("{}/padded", job.output()));
    let (list, attributes) = pads_of(job, &output, pads)?;
    let inputs: Vec<&str> = std::iter::once(input).chain(list.as_deref()).collect();
    job.tensors.helper("Pad", &inputs, &output, &attributes);
    Ok(output)
}

/// A Pad's padding: the name of an input or, before opset 11, attributes.
type Pads = (Option<String>, Vec<(&'static str, Attribute)>);

fn pads_of(job: &mut Job<'_, '_>, output: &str, pads: &[(usize, usize)]) -> Result<Pads> {
    // The first two axes are the frame and the channels.
    let before = [0, 0].into_iter().chain(pads.iter().map(|p| p.0));
    let after = [0, 0].into_iter().chain(pads.iter().map(|p| p.1));
    let all: Vec<i64> = before.chain(after).map(|pad| pad as i64).collect();
    let opset = job.tensors.graph.opset;
    ensure!(
        opset >= 2,
        "opset {opset} has no Pad with this padding; 7 or later is needed"
    );
    // Pad takes its padding as an input from opset 11 on.
    if opset < 11 {
        return Ok((None, vec![("pads", Attribute::Ints(all))]));
    }
    let list = job.tensors.integers(&format!("{output}/pads"), &all);
    Ok((Some(list), vec![]))
}
