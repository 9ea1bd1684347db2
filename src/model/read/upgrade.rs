//! Upsample as Resize: a model of an older opset with an Upsample is brought to opset 11, the
//! first whose Resize can do the same.
//!
//! Between opsets 7 and 11 a few operators changed their form; those are rewritten too.

use anyhow::{bail, ensure, Context, Result};
use tract_onnx::pb;

use super::attributes::Attributes;
use super::order::Names;
use super::scan::Skeleton;
use super::store::Constant;
use super::walk::attributes;
use crate::graph::{Attribute, Dtype, Value};
use crate::model::onnx;

/// Opset after the upgrade.
const OPSET: i64 = 11;

/// Rewrites the skeleton where it has an Upsample of opset 7 to 9; leaves any other as it is.
///
/// # Errors
/// The node that cannot be rewritten.
pub fn upgrade(skeleton: &mut Skeleton) -> Result<()> {
    let has = skeleton
        .nodes
        .iter()
        .any(|node| node.proto.op_type == "Upsample");
    if !has || skeleton.opset >= 10 {
        return Ok(());
    }
    let mut nodes = std::mem::take(&mut skeleton.nodes);
    let mut taken = Names::default();
    let outputs = nodes.iter().flat_map(|node| &node.proto.output);
    let inputs = skeleton.inputs.iter().map(|input| &input.name);
    for name in skeleton.tensors.keys().chain(inputs).chain(outputs) {
        taken.take(name);
    }
    let mut upgrade = Upgrade {
        from: skeleton.opset,
        skeleton,
        taken,
    };
    for node in &mut nodes {
        let place = format!("node {} ({})", node.proto.name, node.proto.op_type);
        upgrade.node(&mut node.proto).context(place)?;
    }
    skeleton.nodes = nodes;
    skeleton.opset = OPSET;
    Ok(())
}

struct Upgrade<'a> {
    from: i64,
    skeleton: &'a mut Skeleton,
    taken: Names,
}

impl Upgrade<'_> {
    fn node(&mut self, node: &mut pb::NodeProto) -> Result<()> {
        let mut list = attributes(node);
        let mut attributes = Attributes(&mut list);
        match &node.op_type[..] {
            "Upsample" => self.upsample(node, &mut attributes)?,
            "Clip" => {
                for (index, name, default) in [(1, "min", f32::MIN), (2, "max", f32::MAX)] {
                    let bound = attributes.float(name, default)?;
                    self.input(node, index, name, Value::from_f32(&[], &[bound]));
                }
                attributes.remove(&["min", "max"]);
            }
            "Pad" => {
                let pads = attributes
                    .ints("pads")?
                    .context("attribute pads is missing")?;
                let value = attributes.float("value", 0.0)?;
                self.input(node, 1, "pads", integers(&pads));
                self.input(node, 2, "value", Value::from_f32(&[], &[value]));
                attributes.remove(&["pads", "value"]);
            }
            "Slice" if self.from < 10 => {
                for (index, name) in ["starts", "ends", "axes"].into_iter().enumerate() {
                    if let Some(values) = attributes.ints(name)? {
                        self.input(node, index + 1, name, integers(&values));
                    }
                }
                attributes.remove(&["starts", "ends", "axes"]);
            }
            "TopK" if self.from < 10 => {
                let k = attributes.int("k", 1)?;
                self.input(node, 1, "k", integers(&[k]));
                attributes.remove(&["k"]);
            }
            "BatchNormalization" => {
                ensure!(
                    attributes.int("spatial", 1)? == 1,
                    "beside an Upsample, attribute spatial must be 1"
                );
                attributes.remove(&["spatial"]);
            }
            _ => return Ok(()),
        }
        node.attribute = list
            .iter()
            .map(|(name, value)| onnx::attribute(name, value))
            .collect();
        Ok(())
    }

    /// Upsample takes the element at floor(index / scale).
    fn upsample(
        &mut self,
        node: &mut pb::NodeProto,
        attributes: &mut Attributes<'_>,
    ) -> Result<()> {
        let scales = match (attributes.floats("scales")?, node.input.get(1)) {
            (Some(scales), None) => {
                let value = Value::from_f32(&[scales.len()], &scales);
                self.tensor(&node.output, "scales", value)
            }
            (None, Some(input)) => input.clone(),
            _ => bail!("scales are needed, once"),
        };
        let mode = attributes.text("mode")?.unwrap_or("nearest".into());
        let mode = match &mode[..] {
            "nearest" => "nearest",
            "linear" | "bilinear" => "linear",
            other => bail!("attribute mode is {other:?}; nearest and linear are supported"),
        };
        // tract counts inputs, so that the region of interest cannot be left out.
        let roi = self.tensor(&node.output, "roi", Value::from_f32(&[0], &[]));
        node.op_type = "Resize".into();
        node.input.truncate(1);
        node.input.extend([roi, scales]);
        attributes.remove(&["scales"]);
        attributes.set("mode", Attribute::Text(mode.into()));
        let asymmetric = Attribute::Text("asymmetric".into());
        attributes.set("coordinate_transformation_mode", asymmetric);
        attributes.set("nearest_mode", Attribute::Text("floor".into()));
        Ok(())
    }

    fn input(&mut self, node: &mut pb::NodeProto, index: usize, name: &str, value: Value) {
        let tensor = self.tensor(&node.output, name, value);
        node.input
            .resize(index.max(node.input.len()), String::new());
        node.input.truncate(index);
        node.input.push(tensor);
    }

    fn tensor(&mut self, outputs: &[String], name: &str, value: Value) -> String {
        let base = outputs.first().map_or("", |output| &output[..]);
        let name = self.taken.unique(&format!("{base}/{name}"));
        let constant = Constant::from_value(value);
        self.skeleton.tensors.insert(name.clone(), Ok(constant));
        name
    }
}

fn integers(values: &[i64]) -> Value {
    Value {
        dtype: Dtype::I64,
        shape: vec![values.len()],
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}
