//! One packing for one weight: pieces of other heights take kernels that read it as it is.
//!
//! tract chooses the kernel of a matrix product by its shape, and each family of kernels wants
//! the weight in panels of another width. Two pieces over the same weight would then hold it
//! twice. So the packings that were chosen for a sub-model are noted under its weights' names,
//! and a later sub-model with one of them chooses among the kernels of the same packings only, by
//! the same cost model; where none of those is fit (a packing for a single column read by many),
//! it chooses freely and the weight is held twice. Either way one kernel is left out that the
//! model thinks too well of (`without_slow`). All kernels give the same bits; a wrong note costs
//! time or memory, never an element.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tract_linalg::isa::IsaSet;
use tract_linalg::mmm::{suitable_named, Query, Suitable};
use tract_linalg::mmm_tiers::MmmTier;
use tract_linalg::MmmDispatch;
use tract_onnx::prelude::DatumType;
use tract_onnx::tract_core::internal::inventory;

const NAME: &str = "one packing for one weight";

/// For the rows and the depth of a product: the packings chosen, in the order of asking.
type Packings = HashMap<(usize, usize), Vec<String>>;

/// The packings of every weight, by its name and shape.
#[derive(Default)]
pub(super) struct Notes {
    of_weights: Mutex<HashMap<String, Packings>>,
}

impl Notes {
    /// Runs `work`, which optimises a sub-model with these weights.
    pub fn follow<R>(&self, weights: &[String], work: impl FnOnce() -> R) -> R {
        let noted = self.of(weights);
        let before = CHOICE.replace(Some(Choice {
            noted,
            ..Choice::default()
        }));
        // Also where `work` panics, the next model on this thread chooses freely again.
        let restore = Restore(before);
        let outcome = work();
        let made = CHOICE.take().map(|choice| choice.made);
        drop(restore);
        self.note(weights, &made.unwrap_or_default());
        outcome
    }

    fn of(&self, weights: &[String]) -> Packings {
        let known = self.of_weights.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let mut noted = Packings::new();
        for packings in weights.iter().filter_map(|name| known.get(name)) {
            for (shape, formats) in packings {
                noted.entry(*shape).or_insert_with(|| formats.clone());
            }
        }
        noted
    }

    fn note(&self, weights: &[String], made: &Packings) {
        let known = self.of_weights.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        for name in weights {
            known.entry(name.clone()).or_insert_with(|| made.clone());
        }
    }
}

#[derive(Default)]
struct Choice {
    noted: Packings,
    made: Packings,
}

thread_local! {
    static CHOICE: RefCell<Option<Choice>> = const { RefCell::new(None) };
}

struct Restore(Option<Choice>);

impl Drop for Restore {
    fn drop(&mut self) {
        CHOICE.set(self.0.take());
    }
}

inventory::submit! {
    MmmTier {
        arch: None,
        precedence: u8::MAX,
        name: NAME,
        applies: |_| true,
        preferred: choose,
    }
}

/// Chooses as the tiers below would among the kernels of the packing that was noted; leaves the
/// choice to them outside of `Notes::follow`.
fn choose(
    isa: &IsaSet,
    accumulator: DatumType,
    query: &Query,
    suitable: &[Suitable],
) -> Option<&'static str> {
    let (m, k, _) = (query.m?, query.k?, query.n?);
    let suitable = &without_slow(m, suitable)[..];
    let ask = |query: &Query, suitable: &[Suitable]| -> Option<(&'static str, String)> {
        let below = MmmDispatch::native().tiers().iter();
        below.filter(|tier| tier.name != NAME).find_map(|tier| {
            let name = (tier.preferred)(isa, accumulator, query, suitable)?;
            let index = suitable_named(suitable, name)?;
            Some((name, packing(&suitable[index])))
        })
    };
    CHOICE.with_borrow_mut(|choice| {
        let choice = choice.as_mut()?;
        let made = choice.made.entry((m, k)).or_default();
        let noted = choice.noted.get(&(m, k));
        let noted = noted.and_then(|noted| noted.get(made.len()).or(noted.last()));
        let among: Vec<Suitable> = match noted {
            Some(noted) => suitable
                .iter()
                .filter(|kernel| packing(kernel) == *noted)
                .cloned()
                .collect(),
            None => vec![],
        };
        // Kernels for one column have packings of their own, and others do it as well.
        let wider = Query {
            n: query.n.map(|n| n.max(2)),
            ..query.clone()
        };
        let chosen = ask(query, &among).or_else(|| ask(&wider, &among));
        let (name, packing) = chosen.or_else(|| ask(query, suitable))?;
        made.push(packing);
        Some(name)
    })
}

/// Two kernels of AVX-512 with twelve accumulators each, as rows by columns of a tile. For the
/// twelve products of a step the first loads 13 vectors, the second 8.
const SLOW: &str = "avx512_mmm_f32_16x12";
const QUICK: &str = "avx512_mmm_f32_32x6";

/// The kernels without `SLOW` where `QUICK` has no more rows to fill up than it has (of columns it
/// never has). tract's cost model has the two within 1 % of each other, so that which one is taken
/// changes with the number of columns; on a Zen 4 `SLOW` takes a third longer (BENCHMARKS.md).
fn without_slow(m: usize, suitable: &[Suitable]) -> Vec<Suitable> {
    let is_quick = |(kernel, ..): &Suitable| kernel.name() == QUICK;
    let drops = suitable.iter().any(is_quick) && m.next_multiple_of(32) == m.next_multiple_of(16);
    let stays = |(kernel, ..): &&Suitable| !(drops && kernel.name() == SLOW);
    suitable.iter().filter(stays).cloned().collect()
}

/// How a kernel wants the weight.
fn packing((kernel, index, _): &Suitable) -> String {
    format!("{:?}", kernel.packings()[*index].0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::Datum;

    fn picked(m: usize, k: usize, n: usize) -> String {
        let query = Query::plain(f32::datum_type(), Some(m), Some(k), Some(n));
        packing(&MmmDispatch::native().pick(&query).unwrap())
    }

    #[test]
    fn a_later_sub_model_takes_the_packing_of_the_first() {
        let name = vec!["w".to_string()];
        let free: Vec<String> = (1..200).map(|n| picked(512, 4608, n)).collect();
        for first in [14, 196, 3136] {
            let notes = Notes::default();
            let wanted = notes.follow(&name, || picked(512, 4608, first));
            for n in 1..200 {
                let follows = notes.follow(&name, || picked(512, 4608, n));
                assert_eq!(follows, wanted, "{n} columns after {first}");
                assert_eq!(picked(512, 4608, n), free[n - 1], "nobody is followed");
            }
        }
    }

    /// Says little on a processor without AVX-512, which has neither.
    #[test]
    fn the_slow_kernel_is_taken_only_where_the_quick_one_would_fill_up_rows() {
        let all = |m, n| {
            let query = Query::plain(f32::datum_type(), Some(m), Some(4608), Some(n));
            MmmDispatch::native().suitable(&query)
        };
        let has = |kernels: &[Suitable], name: &str| suitable_named(kernels, name).is_some();
        for n in [6, 98, 392, 588] {
            let kernels = all(512, n);
            let left = without_slow(512, &kernels);
            let both = has(&kernels, SLOW) && has(&kernels, QUICK);
            assert_eq!(
                left.len(),
                kernels.len() - usize::from(both) * dropped(&kernels)
            );
            assert_eq!(has(&left, SLOW), has(&kernels, SLOW) && !both);
            let kernels = all(48, n);
            let left = without_slow(48, &kernels);
            assert_eq!(left.len(), kernels.len(), "48 rows would become 64");
        }
    }

    /// Entries of `SLOW`: one for each packing that it reads.
    fn dropped(kernels: &[Suitable]) -> usize {
        kernels.iter().filter(|(k, ..)| k.name() == SLOW).count()
    }

    #[test]
    fn a_panic_leaves_the_choice_free() {
        let notes = Notes::default();
        let name = vec!["w".to_string()];
        notes.follow(&name, || picked(512, 4608, 3136));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            notes.follow(&name, || panic!("planted"))
        }));
        assert!(panicked.is_err());
        CHOICE.with_borrow(|choice| assert!(choice.is_none()));
    }
}
