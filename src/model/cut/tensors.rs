//! The tensors of a sub-model: unique names, slices, constants.

use std::collections::HashSet;

use anyhow::{bail, Result};
use tract_onnx::pb;

use crate::geometry::{Interval, Region};
use crate::graph::{Attribute, Dtype, Graph, Value};
use crate::ids::{ActivationId, WeightId};
use crate::model::onnx;

/// A weight's slice that a sub-model uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The initialiser's name in the sub-model.
    pub name: String,
    /// Of which weight.
    pub weight: WeightId,
    /// Which box of it.
    pub region: Region,
}

/// A tensor of the sub-model that holds a box of an activation.
struct Held {
    activation: ActivationId,
    region: Region,
    name: String,
}

/// The ONNX graph of a sub-model while it grows.
pub(super) struct Tensors<'a> {
    pub graph: &'a Graph,
    pub proto: pb::GraphProto,
    pub slices: Vec<Slice>,
    held: Vec<Held>,
    names: HashSet<String>,
}

impl<'a> Tensors<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        Self {
            graph,
            proto: pb::GraphProto::default(),
            slices: vec![],
            held: vec![],
            names: HashSet::new(),
        }
    }

    /// `name`, or `name` with a number behind it where a tensor has that name already.
    pub fn fresh(&mut self, name: &str) -> String {
        let numbered = (2usize..).map(|n| format!("{name}_{n}"));
        let free = std::iter::once(name.to_string())
            .chain(numbered)
            .find(|name| !self.names.contains(name))
            .expect("some number is free");
        self.names.insert(free.clone());
        free
    }

    /// A tensor called `name` now holds `region` of the activation.
    pub fn hold(&mut self, activation: ActivationId, region: &Region, name: &str) {
        self.held.push(Held {
            activation,
            region: region.clone(),
            name: name.into(),
        });
    }

    /// Adds an operator of the default domain.
    pub fn push(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) {
        let node = onnx::node(op_type, name, inputs, &[output], attributes);
        self.proto.node.push(node);
    }

    /// Adds an operator that only moves elements, named after its output.
    pub fn helper(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) {
        self.push(
            op_type,
            &format!("{output}/{op_type}"),
            inputs,
            output,
            attributes,
        );
    }

    /// A small constant inside of the model.
    pub fn constant(&mut self, name: &str, value: &Value) -> String {
        let name = self.fresh(name);
        self.proto.initializer.push(onnx::tensor(&name, value));
        name
    }

    /// A constant list of 64-bit integers.
    pub fn integers(&mut self, name: &str, items: &[i64]) -> String {
        let value = Value {
            dtype: Dtype::I64,
            shape: vec![items.len()],
            bytes: items.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        self.constant(name, &value)
    }

    /// A constant of zeros.
    pub fn zeros(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> String {
        self.constant(name, &Value::zeros(dtype, shape))
    }

    /// The initialiser for a weight's slice; the same one for the same slice.
    pub fn weight(&mut self, weight: WeightId, region: &Region) -> String {
        let known = self.slices.iter();
        let known = known.filter(|slice| slice.weight == weight && slice.region == *region);
        if let Some(slice) = known.into_iter().next() {
            return slice.name.clone();
        }
        let (graph, info) = (self.graph, self.graph.weight(weight));
        let whole = Region::whole(&graph.weight(weight).shape);
        let name = match *region == whole {
            true => self.fresh(&info.name),
            false => self.fresh(&format!("{}{}", info.name, plain(region))),
        };
        let length = (region.volume() * info.dtype.size()) as u64;
        let kind = (info.dtype, &region.shape()[..]);
        let tensor = onnx::external_tensor(&name, kind, &name, (0, length));
        self.proto.initializer.push(tensor);
        self.slices.push(Slice {
            name: name.clone(),
            weight,
            region: region.clone(),
        });
        name
    }

    /// The tensor that holds exactly `region` of the activation, sliced or concatenated from what
    /// the sub-model holds.
    pub fn exactly(&mut self, activation: ActivationId, region: &Region) -> Result<String> {
        let of = |held: &&Held| held.activation == activation;
        let known: Vec<&Held> = self.held.iter().filter(of).collect();
        if let Some(held) = known.iter().find(|held| held.region == *region) {
            return Ok(held.name.clone());
        }
        let source = known.iter().find(|held| held.region.contains(region));
        if let Some((from, name)) = source.map(|held| (held.region.clone(), held.name.clone())) {
            let output = self.slice(&name, &from, region);
            self.hold(activation, region, &output);
            return Ok(output);
        }
        let boxes: Vec<_> = known.iter().map(|held| held.region.clone()).collect();
        let title = self.graph.activation(activation).name.clone();
        if boxes.is_empty() {
            bail!("{title} {region} is needed, and the piece neither reads nor makes it");
        }
        let Some((axis, tiles)) = tiles(&boxes, region) else {
            let listed: Vec<_> = boxes.iter().map(Region::to_string).collect();
            let listed = listed.join(" and ");
            bail!("{title} {region} is needed, and {listed} do not tile it along one axis");
        };
        let mut parts = Vec::with_capacity(tiles.len());
        for tile in &tiles {
            parts.push(self.exactly(activation, tile)?);
        }
        let output = self.fresh(&format!("{title}{}", plain(region)));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let along = [("axis", Attribute::Int(axis as i64))];
        self.helper("Concat", &parts, &output, &along);
        self.hold(activation, region, &output);
        Ok(output)
    }

    /// Slices `region` out of a tensor that holds `from`.
    pub fn slice(&mut self, name: &str, from: &Region, region: &Region) -> String {
        let output = self.fresh(&format!("{name}{}", plain(region)));
        self.slice_into(name, from, region, &output);
        output
    }

    /// Slices `region` out of a tensor that holds `from`, into a tensor whose name is taken.
    pub fn slice_into(&mut self, name: &str, from: &Region, region: &Region, output: &str) {
        let inner = region.relative_to(from);
        let cut = (0..region.rank()).filter(|&axis| region.0[axis] != from.0[axis]);
        let axes: Vec<i64> = cut.clone().map(|axis| axis as i64).collect();
        let starts: Vec<i64> = cut.clone().map(|axis| inner.0[axis].start as i64).collect();
        let ends: Vec<i64> = cut.map(|axis| inner.0[axis].end as i64).collect();
        if axes.is_empty() {
            return self.helper("Identity", &[name], output, &[]);
        }
        // Slice takes its bounds as inputs from opset 10 on.
        if self.graph.opset < 10 {
            let attributes = [
                ("starts", Attribute::Ints(starts)),
                ("ends", Attribute::Ints(ends)),
                ("axes", Attribute::Ints(axes)),
            ];
            return self.helper("Slice", &[name], output, &attributes);
        }
        let starts = self.integers(&format!("{output}/starts"), &starts);
        let ends = self.integers(&format!("{output}/ends"), &ends);
        let axes = self.integers(&format!("{output}/axes"), &axes);
        self.helper("Slice", &[name, &starts, &ends, &axes], output, &[]);
    }
}

/// A region in a tensor's name: an ONNX name may hold anything, a file's name may not.
fn plain(region: &Region) -> String {
    let axes = region
        .0
        .iter()
        .map(|axis| format!("{}-{}", axis.start, axis.end));
    format!(".{}", axes.collect::<Vec<_>>().join("."))
}

/// Disjoint slabs of `boxes` that make up `region` along one axis, in order, with that axis.
fn tiles(boxes: &[Region], region: &Region) -> Option<(usize, Vec<Region>)> {
    (0..region.rank()).find_map(|axis| {
        let mut slabs: Vec<Interval> = boxes
            .iter()
            .filter(|held| held.contains(&region.with_axis(axis, held.0[axis])))
            .map(|held| held.0[axis].intersect(region.0[axis]))
            .filter(|slab| !slab.is_empty())
            .collect();
        slabs.sort();
        let mut reached = region.0[axis].start;
        let mut tiles = vec![];
        while reached < region.0[axis].end {
            let ends = slabs.iter().filter(|slab| slab.start <= reached);
            let end = ends
                .map(|slab| slab.end)
                .max()
                .filter(|&end| end > reached)?;
            tiles.push(region.with_axis(axis, Interval::new(reached, end)));
            reached = end;
        }
        Some((axis, tiles))
    })
}
