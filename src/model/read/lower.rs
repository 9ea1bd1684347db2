//! Global average pooling as a sum and a division, so that ranks can share the sum.

use anyhow::Result;

use super::attributes::Attributes;
use super::classify::{is_spatial, Seen};
use super::draft::Draft;
use super::store::Constant;
use crate::graph::{Attribute, Dtype, Node, Op, Operand, Value};

/// First opset whose ReduceSum takes its axes as an input.
const AXES_AS_INPUT: i64 = 13;
/// The same for all other reductions.
const AXES_OF_MEAN: i64 = 18;

/// The nodes that stand for `node`: itself, or for a mean over all spatial axes a sum, a
/// division of the same name, and where the axes are dropped a Flatten.
pub fn lower(mut node: Node, seen: &[Seen], draft: &mut Draft) -> Result<Vec<Node>> {
    let unlowered = |node| Ok(vec![node]);
    let (Some(Operand::Activation(input)), [output]) = (node.inputs.first(), &node.outputs[..])
    else {
        return unlowered(node);
    };
    let (input, output) = (*input, *output);
    let (_, dtype, shape) = draft.activations[input.index()].clone();
    let made = draft.activations[output.index()].2.clone();
    if !node.domain.is_empty() || shape.len() < 3 {
        return unlowered(node);
    }
    let mut kept = shape[..2].to_vec();
    kept.resize(shape.len(), 1);
    if node.op_type == "ReduceSum" && node.op != Op::GlobalSum {
        // The same sum with its axes as an input.
        let axes = axes(&mut node, draft, AXES_AS_INPUT)?;
        if node.inputs.len() == 2 && is_spatial(&axes, &shape, &made)? {
            node.op = Op::GlobalSum;
        }
        return unlowered(node);
    }
    let mean = match &node.op_type[..] {
        "GlobalAveragePool" => made == kept,
        "ReduceMean" => {
            let axes = axes(&mut node, draft, AXES_OF_MEAN)?;
            (made == kept || made == kept[..2]) && is_spatial(&axes, &shape, &kept)?
        }
        _ => false,
    };
    if !mean || dtype != Dtype::F32 || seen.is_empty() {
        return unlowered(node);
    }
    let count: usize = shape[2..].iter().product();
    let mut nodes = vec![];
    let name = draft.name(&format!("{}/sum", node.name));
    let sum = draft.activation(&name, dtype, &kept);
    nodes.push(global_sum(&node, name, (input, sum), shape.len(), draft));
    let divisor = draft.name(&format!("{}/count", node.name));
    let divisor = draft.constant(
        &divisor,
        Constant::from_value(Value::from_f32(&[], &[count as f32])),
    );
    let divide = |name: String, output| Node {
        name,
        op_type: "Div".into(),
        attributes: vec![],
        op: Op::Elementwise,
        inputs: vec![Operand::Activation(sum), Operand::Weight(divisor)],
        outputs: vec![output],
        ..node.clone()
    };
    if made == kept {
        nodes.push(divide(node.name.clone(), output));
        return Ok(nodes);
    }
    let name = draft.name(&format!("{}/mean", node.name));
    let mean = draft.activation(&name, dtype, &kept);
    nodes.push(divide(name, mean));
    nodes.push(Node {
        op_type: "Flatten".into(),
        attributes: vec![("axis".into(), Attribute::Int(1))],
        op: Op::Flatten { axis: 1 },
        inputs: vec![Operand::Activation(mean)],
        ..node
    });
    Ok(nodes)
}

fn global_sum(
    node: &Node,
    name: String,
    (input, output): (crate::ids::ActivationId, crate::ids::ActivationId),
    rank: usize,
    draft: &mut Draft,
) -> Node {
    let axes: Vec<i64> = (2..rank as i64).collect();
    let mut attributes = vec![("keepdims".to_string(), Attribute::Int(1))];
    let mut inputs = vec![Operand::Activation(input)];
    if draft.opset >= AXES_AS_INPUT {
        let weight = draft.name(&format!("{}/axes", node.name));
        let value = Value {
            dtype: Dtype::I64,
            shape: vec![axes.len()],
            bytes: axes.iter().flat_map(|axis| axis.to_le_bytes()).collect(),
        };
        let weight = draft.constant(&weight, Constant::from_value(value));
        inputs.push(Operand::Weight(weight));
    } else {
        attributes.insert(0, ("axes".to_string(), Attribute::Ints(axes)));
    }
    Node {
        name,
        op_type: "ReduceSum".into(),
        attributes,
        op: Op::GlobalSum,
        inputs,
        outputs: vec![output],
        ..node.clone()
    }
}

/// The axes of a reduction, from its attribute or, from opset `as_input` on, from a constant
/// input; empty where they are neither.
fn axes(node: &mut Node, draft: &Draft, as_input: i64) -> Result<Vec<i64>> {
    if draft.opset < as_input {
        let axes = Attributes(&mut node.attributes).ints("axes")?;
        return Ok(axes.unwrap_or_default());
    }
    let Some(Operand::Weight(id)) = node.inputs.get(1) else {
        return Ok(vec![]);
    };
    let constant = &draft.constants[id.index()].1;
    if constant.dtype != Dtype::I64 || constant.bytes() > 256 {
        return Ok(vec![]);
    }
    let value = constant.value()?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0i64, |n, &b| n << 8 | i64::from(b));
    Ok(value.bytes.chunks_exact(8).map(number).collect())
}
