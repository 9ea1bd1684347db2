//! Weights for measuring: made up on every rank, so that none have to travel.
//!
//! How long a product takes does not depend on its numbers, as long as none are denormal: so the
//! weights of convolutions, products and normalisations are made from a seed, of a size that
//! keeps activations near one through a whole model. A 500 MB model over 100 Mbit/s would
//! otherwise spend most of the time allowed on its way. Other constants may say *what* is computed
//! (an index, a shape, a bound); they are small, and travel as they are.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::geometry::{copy_box, Region};
use crate::graph::{Dtype, Graph, Op, Value};
use crate::ids::WeightId;
use crate::model::Weights;

/// So many numbers of a weight are different: no multiple of a row's length.
const DIFFERENT: usize = 65_521;
/// Constants of more bytes are made up, whatever they are for.
const TRAVELS: usize = 1 << 20;

/// The real constants of a model, as they travel.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Travelling(Vec<(WeightId, Vec<u8>)>);

impl Travelling {
    /// Rank 0 reads them.
    ///
    /// # Errors
    /// As `Weights::slice`.
    pub fn read(graph: &Graph, weights: &dyn Weights) -> Result<Self> {
        let ids = (0..graph.weights.len()).map(WeightId::new);
        let read = |id: WeightId| {
            let whole = Region::whole(&graph.weight(id).shape);
            Ok((id, weights.slice(id, &whole)?.bytes))
        };
        let real = ids.filter(|&id| travels(graph, id));
        Ok(Self(real.map(read).collect::<Result<_>>()?))
    }
}

fn travels(graph: &Graph, id: WeightId) -> bool {
    let weight = graph.weight(id);
    let multiplied = |op: &Op| {
        matches!(
            op,
            Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Gemm { .. } | Op::PerChannel
        )
    };
    let mut users = graph
        .nodes
        .iter()
        .filter(|node| node.weights().any(|w| w == id));
    let made_up = weight.dtype == Dtype::F32 && users.all(|node| multiplied(&node.op));
    weight.bytes() <= TRAVELS && !made_up
}

/// The constants of a model on one rank.
pub struct Constants<'a> {
    graph: &'a Graph,
    real: BTreeMap<WeightId, Vec<u8>>,
}

impl<'a> Constants<'a> {
    /// What travelled, and made-up numbers for the rest.
    ///
    /// # Errors
    /// One line, where something else travelled than this rank knows of.
    pub fn new(graph: &'a Graph, travelled: Travelling) -> Result<Self> {
        let real: BTreeMap<_, _> = travelled.0.into_iter().collect();
        for (id, bytes) in &real {
            let weight = graph.weights.get(id.index());
            let fits = weight.is_some_and(|weight| weight.bytes() == bytes.len());
            anyhow::ensure!(fits, "constant {id}: {} bytes came", bytes.len());
        }
        Ok(Self { graph, real })
    }
}

impl Weights for Constants<'_> {
    fn slice(&self, id: WeightId, region: &Region) -> Result<Value> {
        let weight = self.graph.weights.get(id.index());
        let weight = weight.with_context(|| format!("no weight {id}"))?;
        let item = weight.dtype.size();
        let bytes = match self.real.get(&id) {
            Some(whole) => {
                let mut bytes = vec![0; region.volume() * item];
                let from = (&whole[..], &Region::whole(&weight.shape));
                copy_box(from, (&mut bytes, region), region, item);
                bytes
            }
            None if weight.dtype == Dtype::F32 => made_up(&weight.shape, region.volume(), id),
            None => vec![0; region.volume() * item],
        };
        Ok(Value {
            dtype: weight.dtype,
            shape: region.shape(),
            bytes,
        })
    }
}

/// Elements of a weight of this shape: a kernel's are around zero, with the variance that keeps
/// activations' scale through layers (He et al. 2015); those for each channel are between a half
/// and one and a half, so that a variance among them is none below zero.
fn made_up(shape: &[usize], count: usize, id: WeightId) -> Vec<u8> {
    let terms: usize = shape.iter().skip(1).product();
    let (shift, scale) = match shape.len() {
        0 | 1 => (1.0, 0.5),
        _ => (0.0, (6.0 / terms.max(1) as f32).sqrt()),
    };
    // Of a large weight the same numbers come again and again: made one by one they would cost a
    // slow host more time than its measurements.
    let some = numbers(id.index() as u64, count.min(DIFFERENT));
    let some: Vec<u8> = some
        .flat_map(|x| (shift + scale * x).to_le_bytes())
        .collect();
    let mut bytes = Vec::with_capacity(count * 4);
    while bytes.len() < count * 4 {
        let left = count * 4 - bytes.len();
        bytes.extend_from_slice(&some[..left.min(some.len())]);
    }
    bytes
}

/// So many numbers in -1..1 that are the same for the same seed.
pub fn numbers(seed: u64, count: usize) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count).map(move |_| {
        // A linear congruential generator: only its upper bits are used.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_over_their_range() {
        let all: Vec<f32> = numbers(7, 10_000).collect();
        let mean = all.iter().sum::<f32>() / 1e4;
        let square = all.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.05 && (square - 1.0 / 3.0).abs() < 0.02);
        assert!(all.iter().all(|x| (-1.0..1.0).contains(x)));
        assert!(all.iter().all(|x| *x == 0.0 || x.is_normal()));
    }
}
