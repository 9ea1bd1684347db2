//! Copying a box from one row-major buffer into another.

use super::Region;

/// One run of elements that is contiguous in both buffers, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the run starts in the source.
    pub source: usize,
    /// Where the run starts in the target.
    pub target: usize,
    /// How many elements it has.
    pub length: usize,
}

/// The runs that make up `region` in a row-major source that holds `source` and a row-major
/// target that holds `target`, in the order of the region's elements.
///
/// # Panics
/// Where `region` is not inside of both.
pub fn runs(source: &Region, target: &Region, region: &Region) -> Vec<Run> {
    assert!(
        source.contains(region),
        "{region} is not inside of the source {source}"
    );
    assert!(
        target.contains(region),
        "{region} is not inside of the target {target}"
    );
    if region.is_empty() {
        return vec![];
    }
    // Axes from `inner` on are whole in both buffers, so that one run spans them.
    let mut inner = region.rank();
    let mut length = 1;
    while inner > 0 {
        inner -= 1;
        length *= region.0[inner].len();
        let whole = region.0[inner] == source.0[inner] && region.0[inner] == target.0[inner];
        if !whole {
            break;
        }
    }
    let count: usize = region.0[..inner].iter().map(|axis| axis.len()).product();
    let (from, to) = (Walk::new(source, region), Walk::new(target, region));
    let mut index = vec![0; inner];
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(Run {
            source: from.at(&index),
            target: to.at(&index),
            length,
        });
        for axis in (0..inner).rev() {
            index[axis] += 1;
            if index[axis] < region.0[axis].len() {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// Copies `region` of `source` (which holds the box `source_region`) into `target` (which holds
/// `target_region`); both are row-major with `item` bytes for each element.
///
/// # Panics
/// Where `region` is not inside of both, or a buffer is shorter than its box.
pub fn copy_box(
    (source, source_region): (&[u8], &Region),
    (target, target_region): (&mut [u8], &Region),
    region: &Region,
    item: usize,
) {
    for run in runs(source_region, target_region, region) {
        let bytes = run.length * item;
        let (from, to) = (run.source * item, run.target * item);
        target[to..to + bytes].copy_from_slice(&source[from..from + bytes]);
    }
}

/// Offsets of the elements of a box inside of a larger row-major one.
struct Walk {
    origin: usize,
    strides: Vec<usize>,
}

impl Walk {
    fn new(outer: &Region, region: &Region) -> Self {
        let mut strides = vec![1; outer.rank()];
        for axis in (1..outer.rank()).rev() {
            strides[axis - 1] = strides[axis] * outer.0[axis].len();
        }
        let relative = region.relative_to(outer);
        let origin = relative
            .0
            .iter()
            .zip(&strides)
            .map(|(axis, s)| axis.start * s)
            .sum();
        Self { origin, strides }
    }

    fn at(&self, index: &[usize]) -> usize {
        self.origin
            + index
                .iter()
                .zip(&self.strides)
                .map(|(i, s)| i * s)
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Interval;

    #[test]
    fn a_box_of_whole_rows_is_one_run_per_outer_index() {
        let whole = Region::whole(&[2, 4, 3]);
        let rows = whole.with_axis(1, Interval::new(1, 3));
        let found = runs(&whole, &rows, &rows);
        assert_eq!(
            found,
            [
                Run {
                    source: 3,
                    target: 0,
                    length: 6
                },
                Run {
                    source: 15,
                    target: 6,
                    length: 6
                }
            ]
        );
        assert_eq!(runs(&whole, &whole, &whole).len(), 1);
    }
}
