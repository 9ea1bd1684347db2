//! The canonical text of a unit's work: equal where an engine does the same.

use super::{Attribute, Graph, Node, Op, Operand};
use crate::geometry::Window;
use crate::ids::NodeId;

/// What the windows of an operator say, whatever attributes they were written with.
const WINDOWED: [&str; 8] = [
    "kernel_shape",
    "strides",
    "dilations",
    "pads",
    "auto_pad",
    "ceil_mode",
    "group",
    "output_padding",
];

/// The work of the unit that `leader` leads, e.g.
/// `Conv k3x3 s1x1 d1x1 p1+1x1+1 1x64x56x56 w64x64x3x3 w64 > 1x64x56x56 + Relu`: operator,
/// attributes that matter, inputs (`w`: constants), outputs, and what is fused behind it.
///
/// `unit` is the leader and its followers ([`super::units`]). No name is in it, so that layers of
/// equal work share it, and models too.
pub fn work(graph: &Graph, unit: &[NodeId]) -> String {
    let Some((&leader, fused)) = unit.split_first() else {
        return String::new();
    };
    let node = graph.node(leader);
    let mut words = operator(node);
    words.extend(node.inputs.iter().map(|operand| match *operand {
        Operand::Activation(id) => {
            let activation = graph.activation(id);
            shape(&activation.shape) + &kind(activation.dtype)
        }
        Operand::Weight(id) => {
            let weight = graph.weight(id);
            format!("w{}{}", shape(&weight.shape), kind(weight.dtype))
        }
        Operand::Absent => "-".into(),
    }));
    words.push(">".into());
    words.extend(
        node.outputs
            .iter()
            .map(|&id| shape(&graph.activation(id).shape)),
    );
    for &id in fused {
        words.push("+".into());
        words.extend(operator(graph.node(id)));
    }
    words.join(" ")
}

/// The operator, its windows and the rest of its attributes, by name.
fn operator(node: &Node) -> Vec<String> {
    let mut words = vec![match node.domain.as_str() {
        "" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }];
    let (windows, groups): (&[Window], usize) = match &node.op {
        Op::Conv { windows, groups } | Op::ConvTranspose { windows, groups } => (windows, *groups),
        Op::Pool { windows, .. } => (windows, 1),
        _ => (&[], 1),
    };
    let each = |letter: &str, text: &dyn Fn(&Window) -> String| {
        let texts: Vec<String> = windows.iter().map(text).collect();
        format!("{letter}{}", texts.join("x"))
    };
    if !windows.is_empty() {
        words.push(each("k", &|w| w.kernel.to_string()));
        words.push(each("s", &|w| w.stride.to_string()));
        words.push(each("d", &|w| w.dilation.to_string()));
        words.push(each("p", &|w| format!("{}+{}", w.pad_before, w.pad_after)));
    }
    if windows.iter().any(|w| w.ceil) {
        words.push("ceil".into());
    }
    if groups != 1 {
        words.push(format!("g{groups}"));
    }
    let covered = |name: &str| !windows.is_empty() && WINDOWED.contains(&name);
    let rest = node.attributes.iter().filter(|(name, _)| !covered(name));
    let mut rest: Vec<String> = rest
        .map(|(name, value)| format!("{name}={}", attribute(value)))
        .collect();
    rest.sort();
    words.extend(rest);
    words
}

fn attribute(value: &Attribute) -> String {
    let float = |bits: &u32| format!("{:?}", f32::from_bits(*bits));
    let list = |items: Vec<String>| items.join(",");
    match value {
        Attribute::Int(n) => n.to_string(),
        Attribute::Ints(items) => list(items.iter().map(i64::to_string).collect()),
        Attribute::Float(bits) => float(bits),
        Attribute::Floats(items) => list(items.iter().map(float).collect()),
        Attribute::Text(text) => short(text),
        Attribute::Texts(items) => list(items.iter().map(|text| short(text)).collect()),
        Attribute::Encoded(bytes) => format!("#{}", hash(bytes)),
    }
}

/// A word as it stands, anything else by its hash.
fn short(text: &[u8]) -> String {
    match text.len() <= 32 && text.iter().all(u8::is_ascii_alphanumeric) {
        true => String::from_utf8_lossy(text).into_owned(),
        false => format!("#{}", hash(text)),
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..12].into()
}

fn shape(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    axes.join("x")
}

fn kind(dtype: super::Dtype) -> String {
    match dtype {
        super::Dtype::F32 => String::new(),
        other => format!(":{other}"),
    }
}
