//! Constants of several sub-models, held once.
//!
//! tract packs a weight for every sub-model anew. Two constants become one where tract's type,
//! shape and layout, and every byte that counts, are the same: names play no part, so that equal
//! names over other contents are never confused. The bytes that do not count are the ends of
//! panels, which packing leaves as they were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Result;
use tract_linalg::mmm::{EagerPackedInput, MMMInputValue, PackedMatrixStorage};
use tract_linalg::pack::PackedFormat;
use tract_onnx::prelude::{Blob, Tensor, TypedModel};
use tract_onnx::tract_core::dyn_clone::clone_box;
use tract_onnx::tract_core::internal::TypedOp;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::matmul::optimized::{MatMulOperand, OptMatMul, ProtoFusedSpec};

/// The constants of every sub-model that an engine has loaded, for as long as a sub-model holds
/// them.
#[derive(Default)]
pub(super) struct Constants {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By type and shape.
    plain: HashMap<String, Vec<Weak<Tensor>>>,
    /// By layout.
    packed: HashMap<String, Vec<Weak<Blob>>>,
}

impl Constants {
    /// Lets an optimised model use the constants of those before it where they are the same.
    pub fn share(&self, model: &mut TypedModel) -> Result<()> {
        let mut known = self.lock();
        let mut seen = HashMap::new();
        let mut once = |tensor: &Arc<Tensor>| {
            let kept = seen
                .entry(Arc::as_ptr(tensor) as usize)
                // The model's own tensor is kept alive here too: its address stays its own.
                .or_insert_with(|| (Arc::clone(tensor), known.tensor(tensor)));
            Arc::clone(&kept.1)
        };
        for node in &mut model.nodes {
            if let Some(constant) = node.op_as::<Const>() {
                let exotic = constant.output_facts(&[])?.remove(0).exotic_fact;
                let shared = once(constant.val());
                node.op = Box::new(Const::new_with_opt_exotic_fact(shared, exotic)?);
            }
            for output in &mut node.outputs {
                output.fact.konst = output.fact.konst.take().map(|tensor| once(&tensor));
            }
        }
        drop(seen);
        for node in &mut model.nodes {
            let Some(product) = node.op_as_mut::<OptMatMul>() else {
                continue;
            };
            for operation in &mut product.micro_ops {
                if let ProtoFusedSpec::AddMatMul { a, b, .. } = operation {
                    for operand in [a, b] {
                        if let MatMulOperand::Const(value) = operand {
                            *value = known.value(&**value);
                        }
                    }
                }
            }
        }
        known.forget();
        Ok(())
    }

    /// Bytes of all constants that are held, each once.
    pub fn bytes(&self) -> usize {
        let known = self.lock();
        let plain = known.plain.values().flatten().filter_map(Weak::upgrade);
        let plain: usize = plain.map(|tensor| tensor.as_bytes().len()).sum();
        let packed = known.packed.values().flatten().filter_map(Weak::upgrade);
        plain + packed.map(|blob| blob.len()).sum::<usize>()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What a panic left half done is a list of constants like any other.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn tensor(&mut self, tensor: &Arc<Tensor>) -> Arc<Tensor> {
        let dtype = tensor.datum_type();
        if let Ok(packed) = tensor.try_storage_as::<PackedMatrixStorage>() {
            let values = packed.values().iter().map(|value| self.value(&**value));
            let values = values.collect();
            let shared = PackedMatrixStorage::new_batched(packed.batch_shape(), values);
            return Arc::new(shared.into_tensor(dtype));
        }
        if !tensor.is_plain_ram() || !dtype.is_copy() {
            return Arc::clone(tensor);
        }
        let kind = format!("{dtype:?} {:?}", tensor.shape());
        let alike = self.plain.entry(kind).or_default();
        let same = |other: &Arc<Tensor>| other.as_bytes() == tensor.as_bytes();
        if let Some(found) = alike.iter().filter_map(Weak::upgrade).find(same) {
            return found;
        }
        alike.push(Arc::downgrade(tensor));
        Arc::clone(tensor)
    }

    fn value(&mut self, value: &dyn MMMInputValue) -> Box<dyn MMMInputValue> {
        let Some(own) = value.downcast_ref::<EagerPackedInput>() else {
            return clone_box(value);
        };
        let mut own = own.clone();
        let kind = format!(
            "{:?} {} {} {} {}",
            own.fact,
            own.mn,
            own.panel_bytes,
            own.packed.len(),
            own.packed.layout().align()
        );
        let alike = self.packed.entry(kind).or_default();
        let same = |other: &Arc<Blob>| Arc::ptr_eq(other, &own.packed) || same_content(&own, other);
        match alike.iter().filter_map(Weak::upgrade).find(same) {
            Some(found) => own.packed = found,
            None => alike.push(Arc::downgrade(&own.packed)),
        }
        Box::new(own)
    }

    /// Forgets what no sub-model holds any more.
    fn forget(&mut self) {
        for alike in self.plain.values_mut() {
            alike.retain(|tensor| tensor.strong_count() > 0);
        }
        for alike in self.packed.values_mut() {
            alike.retain(|blob| blob.strong_count() > 0);
        }
    }
}

/// Whether a packed weight's elements are those of another of the same layout.
fn same_content(own: &EagerPackedInput, other: &Blob) -> bool {
    let (own_bytes, other_bytes) = (own.packed.as_bytes(), other.as_bytes());
    let Some(format) = own.fact.format.downcast_ref::<PackedFormat>() else {
        return own_bytes == other_bytes;
    };
    // A panel is `k` rows of `r` elements; what comes behind them is read ahead and never used.
    let row = format.r * format.dt.size_of();
    let used = own.fact.k * row;
    if own.panel_bytes == 0 || used > own.panel_bytes {
        return own_bytes == other_bytes;
    }
    let panels = |bytes| <[u8]>::chunks(bytes, own.panel_bytes);
    own_bytes.len() == other_bytes.len()
        && panels(own_bytes)
            .zip(panels(other_bytes))
            .all(|(a, b)| a[..used.min(a.len())] == b[..used.min(b.len())])
}
