//! Pooling over part of its output: which padding counts, and which does not.

use anyhow::{ensure, Result};

use super::nodes::{ints, window_attributes, Job};
use super::padding::zeros_around;
use crate::geometry::Window;
use crate::graph::{Attribute, PoolKind};

/// Adds a pool with explicit padding: that of the model at its borders, nothing at inner ones,
/// and behind the last row what `ceil` adds.
pub(super) fn emit(job: &mut Job<'_, '_>, windows: &[Window], kind: PoolKind) -> Result<()> {
    let mut counts = matches!(
        kind,
        PoolKind::Average {
            count_padding: true
        }
    );
    ensure!(
        counts || job.need(0).0[2..].iter().all(|axis| !axis.is_empty()),
        "some of its windows lie wholly in padding"
    );
    let (mut input, mut pads) = job.windowed(windows)?;
    let beyond = overhang(job, windows);
    if counts && beyond.iter().any(|&indices| indices > 0) {
        // Padding that only `ceil` adds never counts, the model's own does: as the operator takes
        // all padding alike, the model's becomes zeros of the input.
        let own = pads.iter().zip(&beyond);
        let own: Vec<_> = own.map(|(&(a, b), &over)| (a, b - over.min(b))).collect();
        input = zeros_around(job, &input, &own)?;
        pads = beyond.iter().map(|&over| (0, over)).collect();
        counts = false;
    }
    let mut attributes = window_attributes(windows, &pads);
    if windows.iter().any(|window| window.dilation > 1) {
        attributes.push(("dilations", ints(windows.iter().map(|w| w.dilation))));
    }
    if counts {
        attributes.push(("count_include_pad", Attribute::Int(1)));
    }
    let op_type = match kind {
        PoolKind::Max => "MaxPool",
        PoolKind::Average { .. } => "AveragePool",
    };
    job.push(op_type, &[&input], &attributes);
    Ok(())
}

/// For each axis the indices that the last window reaches beyond the model's own padding.
fn overhang(job: &Job<'_, '_>, windows: &[Window]) -> Vec<usize> {
    let reach = |(axis, window): (usize, &Window)| {
        let last = job.made.0[axis + 2].end - 1;
        let end = last * window.stride + window.extent();
        let padded = window.pad_before + job.axis_length(axis + 2) + window.pad_after;
        end.saturating_sub(padded)
    };
    windows.iter().enumerate().map(reach).collect()
}
