//! Adding parts up, element by element, in the order listed.

use anyhow::{bail, Result};

use crate::engine::Tensor;
use crate::graph::Dtype;

/// Adds `from` to `into`; both have the same type and shape.
///
/// # Errors
/// Where the type is one that no sum is shared in.
pub fn add(into: &mut Tensor, from: &Tensor) -> Result<()> {
    assert_eq!(into.shape(), from.shape(), "addends of one shape");
    match into.dtype() {
        Dtype::F32 => each(into, from, |a, b| {
            (f32::from_le_bytes(a) + f32::from_le_bytes(b)).to_le_bytes()
        }),
        Dtype::F64 => each(into, from, |a, b| {
            (f64::from_le_bytes(a) + f64::from_le_bytes(b)).to_le_bytes()
        }),
        Dtype::I32 => each(into, from, |a, b| {
            i32::from_le_bytes(a)
                .wrapping_add(i32::from_le_bytes(b))
                .to_le_bytes()
        }),
        Dtype::I64 => each(into, from, |a, b| {
            i64::from_le_bytes(a)
                .wrapping_add(i64::from_le_bytes(b))
                .to_le_bytes()
        }),
        other => bail!("partial sums of type {other} cannot be added"),
    }
    Ok(())
}

fn each<const N: usize>(
    into: &mut Tensor,
    from: &Tensor,
    sum: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    let (targets, _) = into.bytes_mut().as_chunks_mut::<N>();
    let (sources, _) = from.bytes().as_chunks::<N>();
    for (target, source) in targets.iter_mut().zip(sources) {
        *target = sum(*target, *source);
    }
}
