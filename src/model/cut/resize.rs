//! Enlarging to the nearest by whole factors, over blocks of the output.

use anyhow::Result;

use super::nodes::Job;
use crate::graph::{Attribute, Value};

/// Adds a Resize that repeats every element of the input `factors` times along each spatial axis,
/// whatever coordinates the model's own node is written with.
pub(super) fn emit(job: &mut Job<'_, '_>, factors: &[usize]) -> Result<()> {
    let input = job.input(0)?;
    let scales: Vec<f32> = [1, 1].iter().chain(factors).map(|&f| f as f32).collect();
    let scales = Value::from_f32(&[scales.len()], &scales);
    let output = job.output();
    let scales = job.tensors.constant(&format!("{output}/scales"), &scales);
    let text = |text: &str| Attribute::Text(text.into());
    let mode = ("mode", text("nearest"));
    let opset = job.tensors.graph.opset;
    if opset < 11 {
        job.push("Resize", &[&input, &scales], &[mode]);
        return Ok(());
    }
    // The region of interest, which does not count here, may be left out from opset 13 on.
    let roi = match opset < 13 {
        true => {
            let nothing = Value::from_f32(&[0], &[]);
            job.tensors.constant(&format!("{output}/roi"), &nothing)
        }
        false => String::new(),
    };
    let attributes = [
        mode,
        ("coordinate_transformation_mode", text("asymmetric")),
        ("nearest_mode", text("floor")),
    ];
    job.push("Resize", &[&input, &roi, &scales], &attributes);
    Ok(())
}
