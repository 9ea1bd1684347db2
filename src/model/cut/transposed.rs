//! A transposed convolution over part of its output: the inverse of the window rule.

use anyhow::{ensure, Result};

use super::nodes::{ints, window_attributes, Job};
use super::padding::zeros_around;
use crate::geometry::{TransposedNeed, Window};
use crate::graph::Attribute;

/// Adds a transposed convolution whose padding crops what lies outside of the region; where no
/// input index reaches the region's first or last index, zeros do.
pub(super) fn emit(job: &mut Job<'_, '_>, windows: &[Window], groups: usize) -> Result<()> {
    let own_groups = job.own_groups(groups)?;
    let needs: Vec<TransposedNeed> = windows
        .iter()
        .enumerate()
        .map(|(axis, window)| {
            window.transposed_need(job.made.0[axis + 2], job.axis_length(axis + 2))
        })
        .collect();
    let input = input(job, &needs)?;
    let Some((kernel, _)) = job.weight(1) else {
        anyhow::bail!("its kernel must be a constant");
    };
    let bias = job.weight(2).map(|(bias, _)| bias);
    let crops: Vec<_> = needs
        .iter()
        .map(|need| (need.crop_before, need.crop_after))
        .collect();
    let mut attributes = window_attributes(windows, &crops);
    attributes.push(("dilations", ints(windows.iter().map(|w| w.dilation))));
    attributes.push(("group", Attribute::Int(own_groups as i64)));
    let mut inputs = vec![&input[..], &kernel];
    inputs.extend(bias.as_deref());
    job.push("ConvTranspose", &inputs, &attributes);
    Ok(())
}

/// The input with its zeros; zeros alone where the region needs nothing of the input.
fn input(job: &mut Job<'_, '_>, needs: &[TransposedNeed]) -> Result<String> {
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
