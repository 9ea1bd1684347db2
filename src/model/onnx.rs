//! Building ONNX protobuf values: the primitives of everything that writes a model.

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{dimension, Dimension};

use crate::graph::{Attribute, Dtype, Value};

/// An initialiser with its data inside.
pub fn tensor(name: &str, value: &Value) -> pb::TensorProto {
    pb::TensorProto {
        raw_data: value.bytes.clone(),
        ..header(name, value.dtype, &value.shape)
    }
}

/// An initialiser whose data is `length` bytes at `offset` of the file `location`.
pub fn external_tensor(
    name: &str,
    (dtype, shape): (Dtype, &[usize]),
    location: &str,
    place: (u64, u64),
) -> pb::TensorProto {
    pb::TensorProto {
        data_location: Some(pb::tensor_proto::DataLocation::External as i32),
        external_data: external_data(location, place),
        ..header(name, dtype, shape)
    }
}

/// Where an initialiser's data is: `length` bytes at `offset` of the file `location`.
pub fn external_data(
    location: &str,
    (offset, length): (u64, u64),
) -> Vec<pb::StringStringEntryProto> {
    let entry = |key: &str, value: String| pb::StringStringEntryProto {
        key: key.into(),
        value,
    };
    vec![
        entry("location", location.into()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ]
}

fn header(name: &str, dtype: Dtype, shape: &[usize]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        dims: shape.iter().map(|&axis| axis as i64).collect(),
        data_type: dtype.onnx(),
        ..Default::default()
    }
}

/// The name, type and shape of a model's input or output.
pub fn value_info(name: &str, dtype: Dtype, shape: &[usize]) -> pb::ValueInfoProto {
    let dim = |&axis: &usize| Dimension {
        value: Some(dimension::Value::DimValue(axis as i64)),
        ..Default::default()
    };
    let shape = pb::TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    };
    let tensor = pb::type_proto::Tensor {
        elem_type: dtype.onnx(),
        shape: Some(shape),
    };
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// An operator of the default domain.
pub fn node(
    op_type: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[(&str, Attribute)],
) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op_type.into(),
        name: name.into(),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        attribute: attributes
            .iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
        ..Default::default()
    }
}

/// An attribute as protobuf.
pub fn attribute(name: &str, value: &Attribute) -> pb::AttributeProto {
    let mut proto = pb::AttributeProto {
        name: name.into(),
        ..Default::default()
    };
    let kind = match value {
        Attribute::Int(x) => {
            proto.i = *x;
            AttributeType::Int
        }
        Attribute::Ints(x) => {
            proto.ints = x.clone();
            AttributeType::Ints
        }
        Attribute::Float(x) => {
            proto.f = f32::from_bits(*x);
            AttributeType::Float
        }
        Attribute::Floats(x) => {
            proto.floats = x.iter().map(|&bits| f32::from_bits(bits)).collect();
            AttributeType::Floats
        }
        Attribute::Text(x) => {
            proto.s = x.clone();
            AttributeType::String
        }
        Attribute::Texts(x) => {
            proto.strings = x.clone();
            AttributeType::Strings
        }
        Attribute::Encoded(bytes) => {
            // The bytes come from `attribute_value` on this or another rank of the same version.
            return pb::AttributeProto::decode(&bytes[..]).unwrap_or(proto);
        }
    };
    proto.r#type = kind as i32;
    proto
}

/// A protobuf attribute as plain values.
pub fn attribute_value(proto: &pb::AttributeProto) -> Attribute {
    match AttributeType::try_from(proto.r#type).ok() {
        Some(AttributeType::Int) => Attribute::Int(proto.i),
        Some(AttributeType::Ints) => Attribute::Ints(proto.ints.clone()),
        Some(AttributeType::Float) => Attribute::Float(proto.f.to_bits()),
        Some(AttributeType::Floats) => {
            Attribute::Floats(proto.floats.iter().map(|x| x.to_bits()).collect())
        }
        Some(AttributeType::String) => Attribute::Text(proto.s.clone()),
        Some(AttributeType::Strings) => Attribute::Texts(proto.strings.clone()),
        _ => Attribute::Encoded(proto.encode_to_vec()),
    }
}

/// A model of one graph for one opset of the default domain.
pub fn model(graph: pb::GraphProto, opset: i64) -> pb::ModelProto {
    pb::ModelProto {
        ir_version: 8,
        producer_name: "autodice".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![pb::OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(graph),
        ..Default::default()
    }
}
