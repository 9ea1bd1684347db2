//! Convolutions over part of their output, and transposed ones by the inverse of the window rule.

use anyhow::{bail, ensure, Result};

use super::nodes::{ints, window_attributes, Job};
use super::padding::zeros_around;
use crate::geometry::{TransposedNeed, Window};
use crate::graph::Attribute;

/// Adds a convolution with the model's padding at its borders and none at inner ones.
pub(super) fn emit(job: &mut Job<'_, '_>, windows: &[Window], groups: usize) -> Result<()> {
    let own_groups = own_groups(job, groups)?;
    let (input, pads) = job.windowed(windows)?;
    push(job, "Conv", (&input, &pads), windows, own_groups)
}

/// Adds a transposed convolution whose padding crops what lies outside of the region; where no
/// input index reaches the region's first or last index, zeros do.
pub(super) fn emit_transposed(
    job: &mut Job<'_, '_>,
    windows: &[Window],
    groups: usize,
) -> Result<()> {
    let own_groups = own_groups(job, groups)?;
    let needs: Vec<TransposedNeed> = windows
        .iter()
        .enumerate()
        .map(|(axis, window)| {
            window.transposed_need(job.made.0[axis + 2], job.axis_length(axis + 2))
        })
        .collect();
    let input = spread(job, &needs)?;
    let crops = needs.iter().map(|need| (need.crop_before, need.crop_after));
    push(
        job,
        "ConvTranspose",
        (&input, &crops.collect::<Vec<_>>()),
        windows,
        own_groups,
    )
}

/// Adds the node with its kernel and, where it counts, its bias.
fn push(
    job: &mut Job<'_, '_>,
    op_type: &str,
    (input, pads): (&str, &[(usize, usize)]),
    windows: &[Window],
    groups: usize,
) -> Result<()> {
    let Some((kernel, _)) = job.weight(1) else {
        bail!("its kernel must be a constant");
    };
    let bias = job.weight(2).map(|(bias, _)| bias);
    let mut attributes = window_attributes(windows, pads);
    attributes.push(("dilations", ints(windows.iter().map(|w| w.dilation))));
    attributes.push(("group", Attribute::Int(groups as i64)));
    let mut inputs = vec![input, &kernel];
    inputs.extend(bias.as_deref());
    job.push(op_type, &inputs, &attributes);
    Ok(())
}

/// How many of a convolution's groups the region has.
fn own_groups(job: &Job<'_, '_>, groups: usize) -> Result<usize> {
    if groups == 1 {
        return Ok(1);
    }
    let output = job.tensors.graph.activation(job.node.outputs[0]);
    let own = job.made.0[1].len() / (output.shape[1] / groups);
    let read_channels = job.axis_length(1) / groups;
    ensure!(
        job.need(0).0[1].len() == own * read_channels,
        "a sum over part of its groups' channels cannot be shared"
    );
    Ok(own)
}

/// The input with its zeros; zeros alone where the region needs nothing of the input.
fn spread(job: &mut Job<'_, '_>, needs: &[TransposedNeed]) -> Result<String> {
    let region = job.need(0);
    for (axis, need) in needs.iter().enumerate() {
        ensure!(
            region.0[axis + 2] == need.interval || region.is_empty(),
            "its sum can be shared over channels only"
        );
    }
    let zeros: Vec<_> = needs
        .iter()
        .map(|need| (need.zeros_before, need.zeros_after))
        .collect();
    if needs.iter().all(|need| !need.interval.is_empty()) {
        let input = job.input(0)?;
        return zeros_around(job, &input, &zeros);
    }
    let mut shape = region.shape();
    for (axis, need) in needs.iter().enumerate() {
        shape[axis + 2] = need.zeros_before + need.interval.len() + need.zeros_after;
    }
    Ok(job.zeros(&shape))
}
