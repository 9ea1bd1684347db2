//! What a rank makes of a node in one cell: `0:56`, `c0:32`, `all`, `sum c0:32` or `-`.

use crate::geometry::{Interval, Region};
use crate::graph::{Graph, Operand};
use crate::ids::NodeId;
use crate::plan::Made;

/// What one rank makes of node `id` in one turn, in all its pieces together.
pub fn cell(graph: &Graph, id: NodeId, made: &[&Made]) -> String {
    let node = graph.node(id);
    let summands: Option<Vec<Region>> = made.iter().map(|m| m.summand.clone()).collect();
    match (summands, node.inputs.first()) {
        _ if made.is_empty() => "-".into(),
        (Some(summands), Some(&Operand::Activation(input))) => {
            format!("sum {}", boxes(&summands, &graph.whole(input)))
        }
        _ => {
            let regions: Vec<Region> = made.iter().map(|m| m.region.clone()).collect();
            boxes(&regions, &graph.whole(node.outputs[0]))
        }
    }
}

/// Boxes as the one that they fill, else each.
fn boxes(regions: &[Region], whole: &Region) -> String {
    let hull = regions.iter().cloned().reduce(|a, b| a.hull(&b));
    if let Some(hull) = hull.filter(|hull| hull.minus_all(regions).is_empty()) {
        return one_box(&hull, whole);
    }
    let mut regions = regions.to_vec();
    regions.sort();
    regions.dedup();
    let texts: Vec<String> = regions
        .iter()
        .map(|region| one_box(region, whole))
        .collect();
    texts.join("+")
}

/// The axes along which a box is cut: frames of a batch `n0:1`, channels `c0:32`, rows `0:56`, rows
/// and columns `0:56,0:28`; an axis before them that is whole is `:`.
fn one_box(region: &Region, whole: &Region) -> String {
    let axes = || region.0.iter().zip(&whole.0).enumerate();
    let is_cut = |(_, (own, all)): &(usize, (&Interval, &Interval))| own != all;
    let Some((last, _)) = axes().rfind(is_cut) else {
        return "all".into();
    };
    let text = |(axis, (own, all)): (usize, (&Interval, &Interval))| match (axis, own == all) {
        (0 | 1, true) => None,
        (0, false) => Some(format!("n{own}")),
        (1, false) => Some(format!("c{own}")),
        (_, true) => Some(":".into()),
        (_, false) => Some(own.to_string()),
    };
    axes()
        .take(last + 1)
        .filter_map(text)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(axes: &[(usize, usize)]) -> Region {
        Region(axes.iter().map(|&(a, b)| Interval::new(a, b)).collect())
    }

    #[test]
    fn a_box_names_the_axes_that_are_cut() {
        let whole = Region::whole(&[1, 64, 56, 28]);
        let text = |axes: &[(usize, usize)]| one_box(&region(axes), &whole);
        assert_eq!(text(&[(0, 1), (0, 64), (0, 56), (0, 28)]), "all");
        assert_eq!(text(&[(0, 1), (0, 64), (0, 19), (0, 28)]), "0:19");
        assert_eq!(text(&[(0, 1), (0, 64), (0, 19), (14, 28)]), "0:19,14:28");
        assert_eq!(text(&[(0, 1), (0, 64), (0, 56), (14, 28)]), ":,14:28");
        assert_eq!(text(&[(0, 1), (0, 32), (0, 56), (0, 28)]), "c0:32");
        assert_eq!(text(&[(0, 1), (0, 32), (1, 56), (0, 28)]), "c0:32,1:56");
        assert_eq!(
            one_box(&region(&[(0, 1), (4, 8)]), &Region::whole(&[1, 8])),
            "c4:8"
        );
        assert_eq!(one_box(&region(&[(1, 2)]), &Region::whole(&[2])), "n1:2");
    }

    #[test]
    fn boxes_that_fill_one_are_one() {
        let whole = Region::whole(&[1, 2, 9]);
        let rows = |a, b| region(&[(0, 1), (0, 2), (a, b)]);
        assert_eq!(boxes(&[rows(3, 4), rows(0, 3), rows(3, 5)], &whole), "0:5");
        assert_eq!(
            boxes(&[rows(7, 9), rows(0, 3), rows(0, 3)], &whole),
            "0:3+7:9"
        );
    }
}
