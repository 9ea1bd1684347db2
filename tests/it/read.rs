//! Reading ONNX files: real shapes, folding, lowering, and files that are not to be trusted.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use autodice::geometry::{copy_box, Interval, Region, Window};
use autodice::graph::{
    check_graph, computable, input_needs, macs, Attribute, Dtype, Graph, Op, Operand, Value,
};
use autodice::ids::{ActivationId, WeightId};
use autodice::model::onnx::{external_tensor, model, node, tensor, value_info};
use autodice::model::read::{read, Source};
use autodice::model::Weights;
use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::*;

/// A folder with a model in it.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), bytes).unwrap();
        Self { folder }
    }

    fn of(proto: &pb::ModelProto) -> Self {
        Self::new(&proto.encode_to_vec())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn read(&self) -> anyhow::Result<Source> {
        read(&self.path(), &[])
    }

    /// Reads a model that is right; the open file outlives its folder.
    fn read_kept(self) -> Source {
        self.read().unwrap()
    }

    /// The line that reading ends with.
    fn refusal(&self) -> String {
        let line = self.read().unwrap_err().to_string();
        assert!(!line.contains('\n'), "one line: {line}");
        assert!(
            line.starts_with(&self.path().display().to_string()),
            "{line}"
        );
        line
    }
}

/// Numbers that differ from one another and are small integers.
fn counting(shape: &[usize]) -> Value {
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count).map(|i| (i % 251) as f32 - 100.0).collect();
    Value::from_f32(shape, &elements)
}

fn integers(values: &[i64]) -> Value {
    Value {
        dtype: Dtype::I64,
        shape: vec![values.len()],
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// conv 3×3 → relu → global average pool → flatten → gemm, as an exporter writes it.
fn small_graph() -> pb::GraphProto {
    pb::GraphProto {
        name: "small".into(),
        input: vec![value_info("x", Dtype::F32, &[1, 3, 8, 6])],
        output: vec![value_info("y", Dtype::F32, &[1, 5])],
        initializer: vec![
            tensor("conv.w", &counting(&[4, 3, 3, 3])),
            tensor("conv.b", &counting(&[4])),
            tensor("fc.w", &counting(&[5, 4])),
            tensor("fc.b", &counting(&[5])),
        ],
        node: vec![
            node(
                "Conv",
                "conv",
                &["x", "conv.w", "conv.b"],
                &["c"],
                &[("pads", ints(&[1, 1, 1, 1])), ("strides", ints(&[2, 1]))],
            ),
            node("Relu", "relu", &["c"], &["r"], &[]),
            node("GlobalAveragePool", "gap", &["r"], &["g"], &[]),
            node("Flatten", "flat", &["g"], &["f"], &[]),
            node(
                "Gemm",
                "fc",
                &["f", "fc.w", "fc.b"],
                &["y"],
                &[("transB", Attribute::Int(1))],
            ),
        ],
        ..Default::default()
    }
}

/// The whole graph as ONNX again: what the reader keeps of a node must be enough for that.
fn emit(source: &Source) -> pb::ModelProto {
    let graph = &source.graph;
    let name = |operand: &Operand| match operand {
        Operand::Activation(id) => &graph.activation(*id).name[..],
        Operand::Weight(id) => &graph.weight(*id).name[..],
        Operand::Absent => "",
    };
    let nodes = graph.nodes.iter().map(|n| {
        let inputs: Vec<&str> = n.inputs.iter().map(name).collect();
        let outputs: Vec<&str> = n
            .outputs
            .iter()
            .map(|&o| name(&Operand::Activation(o)))
            .collect();
        let attributes: Vec<_> = n
            .attributes
            .iter()
            .map(|(k, v)| (&k[..], v.clone()))
            .collect();
        let mut proto = node(&n.op_type, &n.name, &inputs, &outputs, &attributes);
        proto.domain = n.domain.clone();
        proto
    });
    let info = |&id: &ActivationId| {
        let activation = graph.activation(id);
        value_info(&activation.name, activation.dtype, &activation.shape)
    };
    let initializer = graph.weights.iter().enumerate().map(|(index, weight)| {
        let region = Region::whole(&weight.shape);
        tensor(
            &weight.name,
            &source.slice(WeightId::new(index), &region).unwrap(),
        )
    });
    let proto = pb::GraphProto {
        name: graph.name.clone(),
        node: nodes.collect(),
        input: graph.inputs.iter().map(info).collect(),
        output: graph.outputs.iter().map(info).collect(),
        initializer: initializer.collect(),
        ..Default::default()
    };
    model(proto, graph.opset)
}

/// Floats that no short sum represents exactly.
fn noise(shape: &[usize], seed: u64) -> Value {
    let mut random = Random(seed);
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count)
        .map(|_| (random.next() >> 40) as f32 / 8e6 - 1.0)
        .collect();
    Value::from_f32(shape, &elements)
}

/// A small generator (xorshift64*), the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Runs a model in tract, optimised, on one value for each input.
fn run(proto: &pb::ModelProto, inputs: &[Value]) -> Vec<Vec<u8>> {
    let mut model = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .parse(proto, None)
        .unwrap()
        .model;
    for (index, value) in inputs.iter().enumerate() {
        let fact = InferenceFact::dt_shape(f32::datum_type(), &value.shape);
        model.set_input_fact(index, fact).unwrap();
    }
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let inputs = inputs.iter().map(|value| {
        let mut tensor = Tensor::zero_dt(f32::datum_type(), &value.shape).unwrap();
        tensor.as_bytes_mut().copy_from_slice(&value.bytes);
        tensor.into_tvalue()
    });
    let outputs = plan.run(inputs.collect()).unwrap();
    outputs
        .iter()
        .map(|output| output.as_bytes().to_vec())
        .collect()
}

/// Reads a model and checks that the graph, emitted whole, computes the same bits in tract.
fn read_same(proto: &pb::ModelProto) -> Source {
    let source = Fixture::of(proto).read_kept();
    let graph = &source.graph;
    check_graph(graph).unwrap();
    let inputs: Vec<Value> = graph
        .inputs
        .iter()
        .map(|&id| noise(&graph.activation(id).shape, 7 + u64::from(id.0)))
        .collect();
    assert_eq!(
        run(proto, &inputs),
        run(&emit(&source), &inputs),
        "{graph:#?}"
    );
    source
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| &node.name[..]).collect()
}

#[test]
fn an_export_is_read_as_a_graph() {
    let source = Fixture::of(&model(small_graph(), 13)).read().unwrap();
    let graph = &source.graph;
    check_graph(graph).unwrap();
    assert_eq!(
        names(graph),
        ["conv", "relu", "gap/sum", "gap", "flat", "fc"]
    );
    assert_eq!(graph.nodes[2].origin, "gap");
    assert_eq!(graph.nodes[2].op, Op::GlobalSum);
    assert_eq!(graph.nodes[3].op, Op::Elementwise);
    assert_eq!(graph.nodes[4].op, Op::Flatten { axis: 1 });
    assert_eq!(graph.nodes[5].op, Op::Gemm { transposed: true });
    let window = |stride| Window {
        kernel: 3,
        stride,
        dilation: 1,
        pad_before: 1,
        pad_after: 1,
        ceil: false,
    };
    let windows = vec![window(2), window(1)];
    assert_eq!(graph.nodes[0].op, Op::Conv { windows, groups: 1 });
    let conv = graph.activation(graph.nodes[0].outputs[0]);
    assert_eq!((&conv.name[..], &conv.shape[..]), ("c", &[1, 4, 4, 6][..]));
    let weight = source
        .slice(WeightId(0), &Region::whole(&[4, 3, 3, 3]))
        .unwrap();
    assert_eq!(weight, counting(&[4, 3, 3, 3]));
    let hash = *blake3::hash(&weight.bytes).as_bytes();
    assert_eq!(graph.weights[0].hash, hash);
}

fn graph_of(
    nodes: Vec<pb::NodeProto>,
    inputs: &[(&str, &[usize])],
    outputs: &[&str],
    initializer: Vec<pb::TensorProto>,
) -> pb::GraphProto {
    let info = |(name, shape): &(&str, &[usize])| value_info(name, Dtype::F32, shape);
    pb::GraphProto {
        name: "test".into(),
        input: inputs.iter().map(info).collect(),
        output: outputs
            .iter()
            .map(|name| value_info(name, Dtype::F32, &[]))
            .collect(),
        initializer,
        node: nodes,
        ..Default::default()
    }
}

#[test]
fn global_pools_become_a_sum_and_a_division_with_the_bits_of_tract() {
    let axes = tensor("axes", &integers(&[3, -2]));
    for (height, width) in [(7, 7), (5, 3), (1, 1), (13, 11), (64, 33)] {
        for opset in [9, 11, 13, 18] {
            let gap = node("GlobalAveragePool", "pool", &["x"], &["y"], &[]);
            let keep = ("keepdims", Attribute::Int(1));
            let drop = ("keepdims", Attribute::Int(0));
            let (mean, short) = if opset < 18 {
                let axes = ("axes", ints(&[-1, 2]));
                (
                    node("ReduceMean", "pool", &["x"], &["y"], &[axes.clone(), keep]),
                    node("ReduceMean", "pool", &["x"], &["y"], &[axes, drop]),
                )
            } else {
                (
                    node("ReduceMean", "pool", &["x", "axes"], &["y"], &[keep]),
                    node("ReduceMean", "pool", &["x", "axes"], &["y"], &[drop]),
                )
            };
            let wanted = [
                (gap, &["pool/sum", "pool"][..]),
                (mean, &["pool/sum", "pool"][..]),
                (short, &["pool/sum", "pool/mean", "pool"][..]),
            ];
            for (pool, lowered) in wanted {
                let shape = [1, 5, height, width];
                let graph = graph_of(vec![pool], &[("x", &shape)], &["y"], vec![axes.clone()]);
                let source = read_same(&model(graph, opset));
                assert_eq!(names(&source.graph), lowered);
                assert_eq!(source.graph.nodes[0].op, Op::GlobalSum);
                assert!(source.graph.nodes.iter().all(|node| node.origin == "pool"));
            }
        }
    }
}

#[test]
fn both_conventions_for_initialisers_give_the_same_graph() {
    let graph = small_graph();
    let mut listed = graph.clone();
    for (name, shape) in [
        ("conv.w", &[4, 3, 3, 3][..]),
        ("conv.b", &[4]),
        ("fc.w", &[5, 4]),
        ("fc.b", &[5]),
    ] {
        listed.input.insert(0, value_info(name, Dtype::F32, shape));
    }
    let plain = read_same(&model(graph, 9)).graph;
    assert_eq!(read_same(&model(listed, 9)).graph, plain);
}

#[test]
fn external_data_is_read_where_it_lies() {
    let weight = counting(&[64, 3, 11, 11]);
    let mut bytes = vec![9; 100];
    bytes.extend(&weight.bytes);
    let proto = |location: &str, offset: u64, length: u64| {
        let external =
            external_tensor("w", (Dtype::F32, &weight.shape), location, (offset, length));
        let conv = node("Conv", "conv", &["x", "w"], &["y"], &[]);
        let graph = graph_of(
            vec![conv],
            &[("x", &[1, 3, 20, 16])],
            &["y"],
            vec![external],
        );
        Fixture::of(&model(graph, 13))
    };
    let length = weight.bytes.len() as u64;
    let fixture = proto("data/w.bin", 100, length);
    std::fs::create_dir(fixture.folder.path().join("data")).unwrap();
    std::fs::write(fixture.folder.path().join("data/w.bin"), &bytes).unwrap();
    let source = fixture.read().unwrap();
    assert_eq!(
        source.graph.weights[0].hash,
        *blake3::hash(&weight.bytes).as_bytes()
    );
    assert_boxes(&source, WeightId(0), &weight);

    std::fs::write(fixture.folder.path().join("data/w.bin"), &bytes[..500]).unwrap();
    assert!(fixture
        .refusal()
        .contains("node conv (Conv): initialiser w: external data of 92928 bytes"));
    for (location, offset, length, reason) in [
        (
            "../w.bin",
            0,
            length,
            "not a path inside of the model's folder",
        ),
        (
            "/etc/passwd",
            0,
            length,
            "not a path inside of the model's folder",
        ),
        ("", 0, length, "not a path inside of the model's folder"),
        ("missing.bin", 0, length, "missing.bin"),
        (".", 0, length, "not a regular file"),
        ("model.onnx", 0, length, "from byte 0"),
        (
            "model.onnx",
            u64::MAX,
            length,
            "from byte 18446744073709551615",
        ),
        ("model.onnx", 0, 7, "external data of 7 bytes"),
    ] {
        let line = proto(location, offset, length).refusal();
        assert!(line.contains(reason), "{location}: {line}");
    }
    let fixture = proto("link.bin", 0, length);
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), &bytes).unwrap();
    std::os::unix::fs::symlink(outside.path(), fixture.folder.path().join("link.bin")).unwrap();
    assert!(fixture
        .refusal()
        .contains("a link that leaves the model's folder"));
}

/// Every way of cutting a few axes of a weight gives the elements that are there.
fn assert_boxes(source: &Source, id: WeightId, whole: &Value) {
    let shape = &whole.shape;
    assert_eq!(&source.slice(id, &Region::whole(shape)).unwrap(), whole);
    let mut random = Random(5);
    for _ in 0..50 {
        let axes = shape.iter().map(|&length| {
            let start = random.below(length);
            Interval::new(start, start + 1 + random.below(length - start))
        });
        let region = Region(axes.collect());
        let mut expected = Value::zeros(whole.dtype, &region.shape());
        copy_box(
            (&whole.bytes, &Region::whole(shape)),
            (&mut expected.bytes, &region),
            &region,
            whole.dtype.size(),
        );
        assert_eq!(source.slice(id, &region).unwrap(), expected, "{region}");
    }
    let outside = Region::whole(shape).with_axis(0, Interval::new(0, shape[0] + 1));
    assert!(source.slice(id, &outside).is_err());
    assert!(source.slice(id, &Region::whole(&shape[1..])).is_err());
}

#[test]
fn weights_in_typed_fields_are_the_same_bytes() {
    for shape in [vec![2, 3, 3, 3], vec![100, 3, 11, 11]] {
        let weight = counting(&shape);
        let elements = weight.to_f32();
        let mut typed = tensor("w", &weight);
        typed.raw_data = vec![];
        typed.float_data = elements.clone();
        let conv = node("Conv", "conv", &["x", "w"], &["y"], &[]);
        let graph = graph_of(vec![conv], &[("x", &[1, 3, 20, 16])], &["y"], vec![typed]);
        let source = read_same(&model(graph, 13));
        assert_boxes(&source, WeightId(0), &weight);
    }
    // Integers are varints and are decoded.
    let mut table = tensor("table", &integers(&[]));
    table.dims = vec![3];
    table.int64_data = vec![1, -1, 28];
    let reshape = node("Reshape", "reshape", &["x", "table"], &["y"], &[]);
    let graph = graph_of(vec![reshape], &[("x", &[1, 2, 2, 28])], &["y"], vec![table]);
    let source = read_same(&model(graph, 13));
    assert_eq!(source.graph.activation(ActivationId(1)).shape, [1, 4, 28]);
}

#[test]
fn elements_may_come_one_by_one_and_in_several_chunks() {
    // Slopes 1.0, -2.0 and 0.5 as a float of its own and a packed pair.
    let mut slope = tensor("slope", &Value::from_f32(&[3, 1, 1], &[0.0; 3]));
    slope.raw_data = vec![];
    let mut encoded = slope.encode_to_vec();
    encoded.push(4 << 3 | 5);
    encoded.extend(1.0f32.to_le_bytes());
    encoded.extend([4 << 3 | 2, 8]);
    encoded.extend([-2.0f32, 0.5].iter().flat_map(|x| x.to_le_bytes()));
    let prelu = node("PRelu", "prelu", &["x", "slope"], &["y"], &[]);
    let graph = graph_of(vec![prelu], &[("x", &[1, 3, 2, 2])], &["y"], vec![]);
    let mut graph = graph.encode_to_vec();
    graph.push(5 << 3 | 2);
    prost::encoding::encode_varint(encoded.len() as u64, &mut graph);
    graph.extend(encoded);
    let mut bytes = model(pb::GraphProto::default(), 13);
    bytes.graph = None;
    let mut bytes = bytes.encode_to_vec();
    bytes.push(7 << 3 | 2);
    prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
    bytes.extend(graph);
    let source = Fixture::new(&bytes).read().unwrap();
    let value = Value::from_f32(&[3, 1, 1], &[1.0, -2.0, 0.5]);
    assert_eq!(
        source
            .slice(WeightId(0), &Region::whole(&[3, 1, 1]))
            .unwrap(),
        value
    );
}

#[test]
fn shape_arithmetic_folds_and_a_reshape_becomes_a_flatten() {
    let nodes = vec![
        node("Shape", "shape", &["x"], &["s"], &[]),
        node(
            "Constant",
            "zero",
            &[],
            &["z"],
            &[("value_int", Attribute::Int(0))],
        ),
        node("Gather", "gather", &["s", "z"], &["n"], &[]),
        node("Unsqueeze", "unsqueeze", &["n", "axis"], &["n1"], &[]),
        node(
            "Concat",
            "concat",
            &["n1", "rest"],
            &["target"],
            &[("axis", Attribute::Int(0))],
        ),
        node("Reshape", "reshape", &["x", "target"], &["f"], &[]),
        node("Identity", "same", &["f"], &["g"], &[]),
        node("Dropout", "dropout", &["g"], &["h", "mask"], &[]),
        node("MatMul", "product", &["h", "w"], &["y"], &[]),
        node("Relu", "unused", &["x"], &["u"], &[]),
    ];
    let tensors = vec![
        tensor("axis", &integers(&[0])),
        tensor("rest", &integers(&[-1])),
        tensor("w", &counting(&[24, 3])),
    ];
    let graph = graph_of(nodes, &[("x", &[1, 2, 4, 3])], &["y"], tensors);
    let source = read_same(&model(graph, 13));
    let graph = &source.graph;
    assert_eq!(names(graph), ["reshape", "product"]);
    assert_eq!(graph.nodes[0].op, Op::Flatten { axis: 1 });
    assert_eq!(graph.nodes[0].op_type, "Flatten");
    assert_eq!(graph.nodes[0].inputs.len(), 1);
    assert_eq!(graph.nodes[1].op, Op::Gemm { transposed: false });
    let mut folded = graph.folded.clone();
    folded.sort();
    let expected = [
        "concat",
        "dropout",
        "gather",
        "same",
        "shape",
        "unsqueeze",
        "unused",
        "zero",
    ];
    assert_eq!(folded, expected);
}

#[test]
fn weights_made_by_nodes_are_constants() {
    let one = pb::AttributeProto {
        name: "value".into(),
        t: Some(tensor("", &Value::from_f32(&[1], &[1.5]))),
        r#type: pb::attribute_proto::AttributeType::Tensor as i32,
        ..Default::default()
    };
    let mut filled = node("ConstantOfShape", "filled", &["shape"], &["ones"], &[]);
    filled.attribute.push(one);
    let mut table = node("Constant", "table", &[], &["t"], &[]);
    table.attribute.push(pb::AttributeProto {
        name: "value".into(),
        t: Some(tensor("", &counting(&[300, 100]))),
        r#type: pb::attribute_proto::AttributeType::Tensor as i32,
        ..Default::default()
    });
    let nodes = vec![
        filled,
        table,
        node(
            "Transpose",
            "turn",
            &["t"],
            &["t2"],
            &[("perm", ints(&[1, 0]))],
        ),
        node("Reshape", "fold", &["t2", "target"], &["t3"], &[]),
        node("Add", "add", &["x", "t3"], &["a"], &[]),
        node("Mul", "mul", &["a", "ones"], &["y"], &[]),
    ];
    let tensors = vec![
        tensor("shape", &integers(&[1, 100, 300])),
        tensor("target", &integers(&[1, 100, 300])),
    ];
    let graph = graph_of(nodes, &[("x", &[1, 100, 300])], &["y"], tensors);
    let source = read_same(&model(graph, 13));
    assert_eq!(names(&source.graph), ["add", "mul"]);
    let ones = source
        .slice(WeightId(1), &Region::whole(&[1, 100, 300]))
        .unwrap();
    assert!(ones.to_f32().iter().all(|&x| x == 1.5));
    assert_boxes(&source, WeightId(1), &ones);
}

#[test]
fn a_large_weight_reshaped_stays_in_the_file() {
    let weight = counting(&[40, 3 * 11 * 11]);
    let reshape = node("Reshape", "shape_w", &["w", "target"], &["k"], &[]);
    let conv = node("Conv", "conv", &["x", "k"], &["y"], &[]);
    let tensors = vec![
        tensor("w", &weight),
        tensor("target", &integers(&[40, 3, 11, 11])),
    ];
    let graph = graph_of(
        vec![reshape, conv],
        &[("x", &[1, 3, 20, 16])],
        &["y"],
        tensors,
    );
    let source = read_same(&model(graph, 13));
    let whole = Value {
        shape: vec![40, 3, 11, 11],
        ..weight
    };
    assert_eq!(source.graph.weights[0].name, "k");
    assert_boxes(&source, WeightId(0), &whole);
}

fn symbolic(names: &[&str]) -> pb::ModelProto {
    use pb::tensor_shape_proto::{dimension, Dimension};
    let mut graph = graph_of(
        vec![node("Relu", "relu", &["x"], &["y"], &[])],
        &[("x", &[1, 3, 5, 7])],
        &["y"],
        vec![],
    );
    let kind = graph.input[0]
        .r#type
        .as_mut()
        .unwrap()
        .value
        .as_mut()
        .unwrap();
    let pb::type_proto::Value::TensorType(kind) = kind;
    for (dim, name) in kind.shape.as_mut().unwrap().dim.iter_mut().zip(names) {
        let value = match *name {
            "" => None,
            name => match name.parse() {
                Ok(length) => Some(dimension::Value::DimValue(length)),
                Err(_) => Some(dimension::Value::DimParam(name.to_string())),
            },
        };
        *dim = Dimension {
            value,
            ..Default::default()
        };
    }
    model(graph, 13)
}

#[test]
fn symbolic_dimensions_are_given_by_name_and_the_batch_is_one() {
    let shape = |names: &[&str], given: &[(&str, usize)]| {
        let fixture = Fixture::of(&symbolic(names));
        let given: Vec<_> = given.iter().map(|&(n, l)| (n.to_string(), l)).collect();
        read(&fixture.path(), &given)
            .map(|source| source.graph.activations[0].shape.clone())
            .map_err(|e| e.to_string())
    };
    assert_eq!(
        shape(&["anything", "3", "5", "7"], &[]),
        Ok(vec![1, 3, 5, 7])
    );
    assert_eq!(shape(&["", "3", "5", "7"], &[]), Ok(vec![1, 3, 5, 7]));
    assert_eq!(shape(&["2", "3", "5", "7"], &[]), Ok(vec![2, 3, 5, 7]));
    assert_eq!(shape(&["3", "N", "5", "7"], &[]), Ok(vec![3, 1, 5, 7]));
    assert_eq!(
        shape(&["N", "3", "H", "W"], &[("H", 9), ("W", 4)]),
        Ok(vec![1, 3, 9, 4])
    );
    assert_eq!(
        shape(&["N", "3", "5", ""], &[("x.3", 4)]),
        Ok(vec![1, 3, 5, 4])
    );
    let line = shape(&["N", "3", "H", "W"], &[("H", 9)]).unwrap_err();
    assert!(
        line.ends_with("input x: axis 3 has no fixed length; give one with --shape W=…"),
        "{line}"
    );
    let line = shape(&["N", "3", "H", "7"], &[("H", 9), ("height", 9)]).unwrap_err();
    assert!(
        line.ends_with("--shape height=…: no dimension is named so; symbolic are: H, N"),
        "{line}"
    );
    let line = shape(&["N", "3", "H", "7"], &[("H", 0)]).unwrap_err();
    assert!(line.contains("has no element"), "{line}");
    let line = shape(&["N", "3", "H", "7"], &[("H", usize::MAX / 4)]).unwrap_err();
    assert!(line.contains("too large"), "{line}");
}

#[test]
fn automatic_padding_is_made_explicit() {
    let windows = |op: &Op| match op {
        Op::Conv { windows, .. } | Op::Pool { windows, .. } => windows.clone(),
        other => panic!("{other:?}"),
    };
    let text = |text: &str| Attribute::Text(text.into());
    for (auto, pads) in [
        ("SAME_UPPER", [(0, 1), (1, 1)]),
        ("SAME_LOWER", [(1, 0), (1, 1)]),
        ("VALID", [(0, 0), (0, 0)]),
        ("NOTSET", [(0, 0), (0, 0)]),
    ] {
        let attributes = [
            ("auto_pad", text(auto)),
            ("strides", ints(&[2, 2])),
            ("kernel_shape", ints(&[3, 3])),
        ];
        let nodes = vec![
            node("Conv", "conv", &["x", "w"], &["c"], &attributes),
            node("MaxPool", "max", &["x"], &["m"], &attributes),
            node("AveragePool", "mean", &["x"], &["a"], &attributes),
        ];
        let tensors = vec![tensor("w", &counting(&[2, 3, 3, 3]))];
        let graph = graph_of(nodes, &[("x", &[1, 3, 8, 7])], &["c", "m", "a"], tensors);
        let source = read_same(&model(graph, 11));
        for node in &source.graph.nodes {
            let found: Vec<_> = windows(&node.op)
                .iter()
                .map(|w| (w.pad_before, w.pad_after))
                .collect();
            assert_eq!(found, pads, "{auto} {}", node.name);
            assert!(node.attributes.iter().all(|a| a.0 != "auto_pad"));
        }
    }
}

#[test]
fn operators_are_classified_by_how_they_depend() {
    let bn = ["b", "b", "b", "b"];
    let x: &[usize] = &[1, 4, 6, 5];
    let pool = |extra: &[(&'static str, Attribute)]| {
        let mut all = vec![("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
        all.extend(extra.iter().cloned());
        all
    };
    let int = Attribute::Int;
    let text = |text: &str| Attribute::Text(text.into());
    let same = text("SAME_UPPER");
    let up = |extra: &[(&'static str, Attribute)]| {
        let mut all = vec![("strides", ints(&[2, 2])), ("group", Attribute::Int(2))];
        all.extend(extra.iter().cloned());
        node("ConvTranspose", "n", &["x", "up"], &["y"], &all)
    };
    let nearest = [
        ("coordinate_transformation_mode", text("asymmetric")),
        ("nearest_mode", text("floor")),
        ("mode", text("nearest")),
    ];
    let cases: Vec<(pb::NodeProto, &str)> = vec![
        (node("Relu", "n", &["x"], &["y"], &[]), "Elementwise"),
        (node("LeakyRelu", "n", &["x"], &["y"], &[]), "Elementwise"),
        (
            node("Clip", "n", &["x", "", "one"], &["y"], &[]),
            "Elementwise",
        ),
        (
            node("PRelu", "n", &["x", "slope"], &["y"], &[]),
            "Elementwise",
        ),
        (node("Add", "n", &["x", "x"], &["y"], &[]), "Elementwise"),
        (
            node("Mul", "n", &["x", "slope"], &["y"], &[]),
            "Elementwise",
        ),
        (node("Pow", "n", &["x", "one"], &["y"], &[]), "Elementwise"),
        (node("HardSwish", "n", &["x"], &["y"], &[]), "Elementwise"),
        (
            node("Sum", "n", &["x", "x", "x"], &["y"], &[]),
            "Elementwise",
        ),
        (
            node(
                "BatchNormalization",
                "n",
                &["x", bn[0], bn[1], bn[2], bn[3]],
                &["y"],
                &[],
            ),
            "PerChannel",
        ),
        (
            node("Concat", "n", &["x", "x"], &["y"], &[("axis", int(-3))]),
            "Concat { axis: 1 }",
        ),
        (
            node("Softmax", "n", &["x"], &["y"], &[("axis", int(-3))]),
            "Across { axes: [1] }",
        ),
        (
            node("LRN", "n", &["x"], &["y"], &[("size", int(3))]),
            "Across { axes: [1] }",
        ),
        (up(&[("auto_pad", same.clone())]), "ConvTranspose"),
        (
            up(&[
                ("pads", ints(&[1, 0, 0, 2])),
                ("output_padding", ints(&[1, 0])),
            ]),
            "ConvTranspose",
        ),
        (up(&[("output_shape", ints(&[13, 11]))]), "ConvTranspose"),
        // ONNX crops these at both ends, tract at one.
        (up(&[("output_shape", ints(&[12, 10]))]), "Opaque"),
        (
            node("Pad", "n", &["x", "pads"], &["y"], &[]),
            "Pad { windows",
        ),
        (
            node("Resize", "n", &["x", "", "scales"], &["y"], &nearest),
            "Resize { factors: [2, 3] }",
        ),
        (
            node("Resize", "n", &["x", "", "scales"], &["y"], &nearest[1..]),
            "Opaque",
        ),
        (
            node("ReduceMean", "n", &["x"], &["y"], &[("axes", ints(&[-3]))]),
            "Across { axes: [1] }",
        ),
        (
            node("ArgMax", "n", &["x"], &["y"], &[("axis", int(1))]),
            "Across { axes: [1] }",
        ),
        (
            node(
                "Transpose",
                "n",
                &["x"],
                &["y"],
                &[("perm", ints(&[0, 2, 3, 1]))],
            ),
            "Opaque",
        ),
        (
            node("Flatten", "n", &["x"], &["y"], &[("axis", int(-2))]),
            "Flatten { axis: 2 }",
        ),
        (
            node(
                "ReduceSum",
                "n",
                &["x", "hw"],
                &["y"],
                &[("keepdims", int(1))],
            ),
            "GlobalSum",
        ),
        (
            node(
                "ReduceSum",
                "n",
                &["x", "hw"],
                &["y"],
                &[("keepdims", int(0))],
            ),
            "Opaque",
        ),
        (node("MaxPool", "n", &["x"], &["y"], &pool(&[])), "Pool"),
        (
            node(
                "MaxPool",
                "n",
                &["x"],
                &["y"],
                &pool(&[("ceil_mode", int(1))]),
            ),
            "Pool",
        ),
        (
            node(
                "MaxPool",
                "n",
                &["x"],
                &["y"],
                &pool(&[("storage_order", int(1))]),
            ),
            "Opaque",
        ),
        (
            node(
                "AveragePool",
                "n",
                &["x"],
                &["y"],
                &pool(&[("count_include_pad", int(1)), ("pads", ints(&[1, 0, 0, 1]))]),
            ),
            "Pool",
        ),
        (
            node(
                "Conv",
                "n",
                &["x", "depthwise"],
                &["y"],
                &[("group", int(4))],
            ),
            "Conv",
        ),
        (
            node(
                "Conv",
                "n",
                &["x", "depthwise", "b8"],
                &["y"],
                &[("group", int(4)), ("dilations", ints(&[2, 1]))],
            ),
            "Conv",
        ),
    ];
    for (node, expected) in cases {
        let what = format!("{node:?}");
        let tensors = vec![
            tensor("one", &Value::from_f32(&[], &[0.5])),
            tensor("slope", &counting(&[4, 1, 1])),
            tensor("b", &Value::from_f32(&[4], &[1.0, 2.0, 3.0, 4.0])),
            tensor("b8", &counting(&[8])),
            tensor("hw", &integers(&[-1, 2])),
            tensor("depthwise", &counting(&[8, 1, 3, 3])),
            tensor("up", &counting(&[4, 3, 3, 3])),
            tensor("pads", &integers(&[0, 0, 1, 2, 0, 0, 0, 1])),
            tensor("scales", &Value::from_f32(&[4], &[1.0, 1.0, 2.0, 3.0])),
        ];
        let opset = if what.contains("HardSwish") { 14 } else { 13 };
        let graph = graph_of(vec![node], &[("x", x)], &["y"], tensors);
        let source = read_same(&model(graph, opset));
        let found = format!("{:?}", source.graph.nodes[0].op);
        assert!(found.starts_with(expected), "{what}: {found}");
    }
}

#[test]
fn gemms_that_are_not_one_row_by_a_constant_are_opaque() {
    let float = |x: f32| Attribute::Float(x.to_bits());
    let transposed = |b: i64| ("transB", Attribute::Int(b));
    type Case<'a> = (&'a [usize], &'a [&'a str], Vec<(&'a str, Attribute)>, Op);
    let cases: Vec<Case<'_>> = vec![
        (
            &[1, 4],
            &["x", "w45"],
            vec![],
            Op::Gemm { transposed: false },
        ),
        (
            &[1, 5],
            &["x", "w45", "b"],
            vec![transposed(1)],
            Op::Gemm { transposed: true },
        ),
        (&[2, 4], &["x", "w45"], vec![], Op::Opaque),
        (
            &[1, 4],
            &["x", "w45"],
            vec![("alpha", float(2.0))],
            Op::Opaque,
        ),
        (
            &[1, 5],
            &["x", "w45", "b"],
            vec![transposed(1), ("beta", float(0.5))],
            Op::Opaque,
        ),
        (
            &[4, 1],
            &["x", "w45"],
            vec![("transA", Attribute::Int(1))],
            Op::Opaque,
        ),
    ];
    for (shape, inputs, attributes, expected) in cases {
        let tensors = vec![
            tensor("w45", &counting(&[4, 5])),
            tensor("b", &counting(&[4])),
        ];
        let gemm = node("Gemm", "gemm", inputs, &["y"], &attributes);
        let graph = graph_of(vec![gemm], &[("x", shape)], &["y"], tensors);
        assert_eq!(
            read_same(&model(graph, 13)).graph.nodes[0].op,
            expected,
            "{attributes:?}"
        );
    }
}

#[test]
fn an_upsample_is_a_resize_of_opset_11() {
    let scales = Attribute::Floats([1.0f32, 1.0, 2.0, 3.0].map(f32::to_bits).to_vec());
    let input = tensor("scales", &Value::from_f32(&[4], &[1.0, 1.0, 2.0, 3.0]));
    for (opset, inputs, attributes) in [
        (7, vec!["p"], vec![("scales", scales)]),
        (9, vec!["p", "scales"], vec![]),
    ] {
        let pads = [("pads", ints(&[0, 0, 1, 0, 0, 0, 0, 0]))];
        let bounds = [("min", Attribute::Float(0f32.to_bits()))];
        let nodes = vec![
            node("Pad", "pad", &["x"], &["q"], &pads),
            node("Clip", "clip", &["q"], &["p"], &bounds),
            node("Upsample", "up", &inputs, &["y"], &attributes),
        ];
        let graph = graph_of(nodes, &[("x", &[1, 2, 2, 3])], &["y"], vec![input.clone()]);
        let fixture = Fixture::of(&model(graph, opset));
        let source = fixture.read().unwrap();
        assert_eq!(source.graph.opset, 11);
        assert_eq!(source.graph.nodes[2].op_type, "Resize");
        let factors = vec![2, 3];
        assert_eq!(source.graph.nodes[2].op, Op::Resize { factors });
        assert!(matches!(source.graph.nodes[0].op, Op::Pad { .. }));
        let x = noise(&[1, 2, 2, 3], 3);
        let found = run(&emit(&source), std::slice::from_ref(&x)).remove(0);
        let x = x.to_f32();
        let mut expected = vec![];
        for channel in 0..2 {
            for row in 0..6 {
                for column in 0..9 {
                    let value = match row / 2 {
                        0 => 0.0,
                        row => x[channel * 6 + (row - 1) * 3 + column / 3].max(0.0),
                    };
                    expected.push(value);
                }
            }
        }
        assert_eq!(found, Value::from_f32(&[108], &expected).bytes);
    }
}

#[test]
fn names_are_unique_and_nodes_are_sorted() {
    let nodes = vec![
        node("Relu", "twice", &["b"], &["c"], &[]),
        node("Abs", "", &["a"], &["b"], &[]),
        node("Neg", "twice", &["x"], &["a"], &[]),
        node("Identity", "last", &["c"], &["y"], &[]),
    ];
    let graph = graph_of(nodes, &[("x", &[1, 2])], &["y", "b", "x"], vec![]);
    let source = Fixture::of(&model(graph, 13)).read().unwrap();
    let graph = &source.graph;
    assert_eq!(names(graph), ["a", "b", "c", "last"]);
    assert_eq!(graph.nodes[3].op_type, "Identity");
    let outputs: Vec<_> = graph
        .outputs
        .iter()
        .map(|&id| &graph.activation(id).name[..])
        .collect();
    assert_eq!(outputs, ["y", "b", "x"]);
}

#[test]
fn an_output_in_the_middle_that_nothing_reads_keeps_its_place() {
    let nodes = vec![
        node(
            "Split",
            "split",
            &["x"],
            &["a", "", "c"],
            &[("axis", Attribute::Int(1))],
        ),
        node("Add", "add", &["a", "c"], &["y"], &[]),
    ];
    let graph = graph_of(nodes, &[("x", &[1, 6, 2])], &["y"], vec![]);
    let source = Fixture::of(&model(graph, 11)).read().unwrap();
    assert_eq!(source.graph.nodes[0].outputs.len(), 3);
    let pool = [("kernel_shape", ints(&[2, 2]))];
    for (outputs, count, op_is_opaque) in [(&["y"][..], 1, false), (&["y", "i"], 2, true)] {
        let nodes = vec![node("MaxPool", "pool", &["x"], &["y", "i"], &pool)];
        let graph = graph_of(nodes, &[("x", &[1, 2, 4, 4])], outputs, vec![]);
        let source = Fixture::of(&model(graph, 11)).read().unwrap();
        assert_eq!(source.graph.nodes[0].outputs.len(), count);
        assert_eq!(source.graph.nodes[0].op == Op::Opaque, op_is_opaque);
    }
}

/// Reads bytes as a model: a graph that holds together or one line, never a panic.
fn read_any(fixture: &Fixture, bytes: &[u8]) -> bool {
    std::fs::write(fixture.path(), bytes).unwrap();
    match fixture.read() {
        Ok(source) => {
            check_graph(&source.graph).unwrap();
            for node in source.graph.node_ids() {
                // What the splits ask of a graph must hold for any graph that was read.
                let whole = source.graph.whole(source.graph.node(node).outputs[0]);
                let made = computable(&source.graph, node, &whole);
                input_needs(&source.graph, node, &made);
                macs(&source.graph, node);
            }
            true
        }
        Err(_) => {
            fixture.refusal();
            false
        }
    }
}

/// A model with most of what the reader treats by itself.
fn varied_graph() -> pb::GraphProto {
    let pool = [
        ("kernel_shape", ints(&[3, 3])),
        ("strides", ints(&[2, 2])),
        ("auto_pad", Attribute::Text("SAME_UPPER".into())),
    ];
    let back = [
        ("strides", ints(&[2, 2])),
        ("pads", ints(&[3, 3, 3, 3])),
        ("output_padding", ints(&[1, 1])),
    ];
    let nodes = vec![
        node(
            "BatchNormalization",
            "bn",
            &["x", "c", "c", "c", "c"],
            &["b"],
            &[],
        ),
        node("MaxPool", "pool", &["b"], &["p"], &pool),
        node("Upsample", "up", &["p", "scales"], &["u"], &[]),
        node("ConvTranspose", "back", &["u", "t"], &["v"], &back),
        node("Pad", "pad", &["v"], &["e"], &[("pads", ints(&[0; 8]))]),
        node("Softmax", "soft", &["e"], &["n"], &[]),
        node(
            "Concat",
            "cat",
            &["u", "n"],
            &["k"],
            &[("axis", Attribute::Int(1))],
        ),
        node("Shape", "shape", &["k"], &["s"], &[]),
        node("ConstantOfShape", "zeros", &["s"], &["z"], &[]),
        node("Expand", "wide", &["one", "s"], &["o"], &[]),
        node("Add", "add", &["k", "z"], &["a"], &[]),
        node("Mul", "mul", &["a", "o"], &["m"], &[]),
        node("Reshape", "flat", &["m", "target"], &["f"], &[]),
        node("MatMul", "product", &["f", "w"], &["y"], &[]),
    ];
    let mut typed = tensor("c", &counting(&[2]));
    typed.raw_data = vec![];
    typed.float_data = vec![1.0, 2.0];
    let mut target = tensor("target", &integers(&[]));
    target.dims = vec![2];
    target.int64_data = vec![1, -1];
    let tensors = vec![
        typed,
        target,
        tensor("one", &counting(&[1])),
        tensor("t", &counting(&[2, 2, 3, 3])),
        tensor("w", &counting(&[64, 3])),
        tensor("scales", &Value::from_f32(&[4], &[1.0, 1.0, 2.0, 2.0])),
    ];
    graph_of(nodes, &[("x", &[1, 2, 4, 4])], &["y"], tensors)
}

#[test]
fn a_file_cut_anywhere_ends_in_one_line() {
    for (graph, opset) in [(small_graph(), 13), (varied_graph(), 9)] {
        let bytes = model(graph, opset).encode_to_vec();
        let fixture = Fixture::new(&bytes);
        assert!(read_any(&fixture, &bytes));
        let whole = (0..bytes.len()).filter(|&length| read_any(&fixture, &bytes[..length]));
        // Only a cut between the graph and what follows it leaves a model.
        assert!(whole.count() <= 2);
    }
}

#[test]
fn a_file_with_damaged_bytes_ends_in_one_line() {
    let mut random = Random(20);
    for (graph, opset) in [(small_graph(), 13), (varied_graph(), 9)] {
        let bytes = model(graph, opset).encode_to_vec();
        let fixture = Fixture::new(&bytes);
        let mut read = 0;
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                damaged[at] = random.next() as u8;
            }
            read += usize::from(read_any(&fixture, &damaged));
        }
        assert!(
            read > 100,
            "{read} of 3000: the damage is not only at the door"
        );
    }
}

#[test]
fn damaged_numbers_and_names_end_in_one_line() {
    // Damage that keeps the protobuf whole gets further in than random bytes do.
    let mut random = Random(77);
    let numbers = [
        0,
        1,
        -1,
        2,
        7,
        255,
        1 << 20,
        1 << 31,
        1 << 40,
        i64::MAX,
        i64::MIN,
    ];
    for (graph, opset) in [(small_graph(), 13), (varied_graph(), 9)] {
        let fixture = Fixture::new(&[]);
        for _ in 0..1500 {
            let mut graph = graph.clone();
            let number = numbers[random.below(numbers.len())];
            let at = random.below(graph.node.len());
            match random.below(8) {
                0 => {
                    let to = random.below(graph.initializer.len());
                    let dims = &mut graph.initializer[to].dims;
                    let axis = random.below(dims.len());
                    dims[axis] = number;
                }
                1 => {
                    let to = random.below(graph.initializer.len());
                    graph.initializer[to].data_type = number as i32;
                }
                2 => {
                    let node = &mut graph.node[at];
                    if let Some(attribute) = node.attribute.first_mut() {
                        attribute.i = number;
                        attribute.ints.iter_mut().for_each(|i| *i = number);
                    }
                }
                3 => {
                    let to = random.below(graph.node.len());
                    graph.node[at].op_type = graph.node[to].op_type.clone();
                }
                4 => {
                    let to = random.below(graph.node.len());
                    let name = graph.node[to].output[0].clone();
                    graph.node[at].input[0] = name;
                }
                5 => {
                    graph.node[at].input.pop();
                }
                6 => graph.node[at].input.push("x".into()),
                _ => {
                    let to = random.below(graph.initializer.len());
                    let mut dims = integers(&[number; 4]);
                    dims.shape = vec![random.below(5)];
                    dims.bytes.truncate(dims.shape[0] * 8);
                    let name = graph.initializer[to].name.clone();
                    graph.initializer[to] = tensor(&name, &dims);
                }
            }
            read_any(&fixture, &model(graph, opset).encode_to_vec());
        }
    }
}

#[test]
fn what_is_no_model_is_refused_by_name() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0";
    for bytes in [
        &b""[..],
        png,
        b"stages:\n- ranks: [0]\n",
        &[0xff; 400],
        &[0; 400],
    ] {
        let line = Fixture::new(bytes).refusal();
        assert!(line.contains("not a readable ONNX model"), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let line = read(folder.path(), &[]).unwrap_err().to_string();
    assert!(line.contains("not a regular file"), "{line}");
    let missing = folder.path().join("missing.onnx");
    let line = read(&missing, &[]).unwrap_err().to_string();
    assert!(line.contains("missing.onnx: No such file"), "{line}");
    assert_eq!(line.matches("missing.onnx").count(), 1, "{line}");
}

#[test]
fn what_is_not_supported_is_one_line_with_node_and_operator() {
    let one = |node: pb::NodeProto| {
        let tensors = vec![
            tensor("big", &integers(&[1 << 20, 1 << 20])),
            tensor("two", &integers(&[2, -1, 3, 3])),
        ];
        Fixture::of(&model(
            graph_of(vec![node], &[("x", &[1, 2, 4, 4])], &["y"], tensors),
            13,
        ))
        .refusal()
    };
    let mut foreign = node("Relu", "mine", &["x"], &["y"], &[]);
    foreign.domain = "example.org".into();
    let mut branch = node("If", "branch", &["x"], &["y"], &[]);
    branch.attribute.push(pb::AttributeProto {
        name: "then_branch".into(),
        g: Some(small_graph()),
        r#type: pb::attribute_proto::AttributeType::Graph as i32,
        ..Default::default()
    });
    let cases = [
        (
            node("Foo", "n", &["x"], &["y"], &[]),
            "node n (Foo): operator Foo is not supported",
        ),
        (
            node("Foo\nBar", "n\u{7}", &["x"], &["y"], &[]),
            "Foo Bar is not supported",
        ),
        (foreign, "node mine (Relu): operators of domain example.org"),
        (branch, "node branch (If): "),
        (
            node("Relu", "n", &["z"], &["y"], &[]),
            "node n (Relu): reads tensor z, which nothing makes",
        ),
        (
            node("Relu", "n", &["y"], &["y"], &[]),
            "node n (Relu): needs its own output (a circle)",
        ),
        (
            node("Relu", "n", &["x"], &["x"], &[]),
            "node n (Relu): makes tensor x, which is made elsewhere too",
        ),
        (
            node("Relu", "n", &["x"], &["u"], &[]),
            "output y: no node makes it",
        ),
        (
            node("RandomNormalLike", "n", &["x"], &["y"], &[]),
            "random numbers",
        ),
        (
            node("Expand", "n", &["x", "x"], &["y"], &[]),
            "node n (Expand): ",
        ),
        (
            node("ConstantOfShape", "n", &["big"], &["y"], &[]),
            "a constant of 4398046511104 bytes, at most 1073741824",
        ),
        (node("Relu", "n", &[], &["y"], &[]), "node n (Relu): "),
        (
            node(
                "Conv",
                "n",
                &["x", "x"],
                &["y"],
                &[("pads", ints(&[1 << 40, 0, 0, 0]))],
            ),
            "attribute pads is 1099511627776",
        ),
        (
            node("Expand", "n", &["x", "big"], &["y"], &[]),
            "node n (Expand): ",
        ),
        (
            node("Tile", "n", &["x", "big"], &["y"], &[]),
            "node n (Tile): ",
        ),
    ];
    for (node, reason) in cases {
        let what = format!("{node:?}");
        let line = one(node);
        assert!(line.contains(reason), "{what}: {line}");
    }
    let old = Fixture::of(&model(small_graph(), 6)).refusal();
    assert!(
        old.ends_with("opset 6 of ONNX, supported are 7 to 23"),
        "{old}"
    );
    let mut proto = model(small_graph(), 13);
    proto.graph.as_mut().unwrap().initializer[0].data_type = 8;
    let line = Fixture::of(&proto).refusal();
    assert!(
        line.ends_with("node conv (Conv): initialiser conv.w: strings are not supported"),
        "{line}"
    );
}

#[test]
fn constants_that_would_fill_the_machine_are_refused_before_they_are_made() {
    let huge = [
        vec![node("Expand", "n", &["one", "big"], &["k"], &[])],
        vec![node("Tile", "n", &["one", "big"], &["k"], &[])],
        vec![node("Range", "n", &["zero", "far", "step"], &["k"], &[])],
        vec![node("Pad", "n", &["one", "big4"], &["k"], &[])],
        vec![node("OneHot", "n", &["big", "far", "ends"], &["k"], &[])],
        vec![
            node("ConstantOfShape", "a", &["square"], &["p"], &[]),
            node("MatMul", "n", &["p", "p"], &["k"], &[]),
        ],
        vec![
            node("ConstantOfShape", "a", &["tall"], &["p"], &[]),
            node("Transpose", "t", &["p"], &["q"], &[]),
            node("Mul", "n", &["p", "q"], &["k"], &[]),
        ],
    ];
    for nodes in huge {
        let what = format!("{:?}", nodes.last());
        let scalar = |x: i64| Value {
            shape: vec![],
            ..integers(&[x])
        };
        let tensors = vec![
            tensor("one", &Value::from_f32(&[1, 1], &[1.0])),
            tensor("big", &integers(&[1 << 20, 1 << 20])),
            tensor("big4", &integers(&[0, 1 << 20, 1 << 20, 0])),
            tensor("zero", &scalar(0)),
            tensor("far", &scalar(1 << 40)),
            tensor("step", &scalar(1)),
            tensor("ends", &Value::from_f32(&[2], &[0.0, 1.0])),
            tensor("square", &integers(&[15_000, 15_000])),
            tensor("tall", &integers(&[100_000, 1])),
        ];
        let mut all = nodes;
        all.push(node("Add", "add", &["x", "k"], &["y"], &[]));
        let graph = graph_of(all, &[("x", &[1, 1])], &["y"], tensors);
        let started = std::time::Instant::now();
        let line = Fixture::of(&model(graph, 13)).refusal();
        assert!(line.contains("node n ("), "{what}: {line}");
        assert!(started.elapsed().as_secs() < 5, "{what}");
    }
}

#[test]
fn lengths_beyond_the_file_and_absurd_counts_are_refused() {
    // A graph of 2^40 bytes, an initialiser of 2^62, a node of a million empty inputs.
    let mut long = vec![0x3a];
    prost::encoding::encode_varint(1 << 40, &mut long);
    assert!(Fixture::new(&long)
        .refusal()
        .contains("a field of 1099511627776 bytes"));
    let mut graph = small_graph();
    graph.initializer[0].dims = vec![1 << 31, 1 << 31, 1 << 31];
    let line = Fixture::of(&model(graph, 13)).refusal();
    assert!(line.contains("is too large"), "{line}");
    let mut graph = small_graph();
    graph.node[0].input = vec![String::new(); 10_001];
    let line = Fixture::of(&model(graph.clone(), 13)).refusal();
    assert!(line.contains("a node of more than 10000 inputs"), "{line}");
    graph.node[0].input.pop();
    graph.node = vec![graph.node[0].clone(); 201];
    let line = Fixture::of(&model(graph, 13)).refusal();
    assert!(line.contains("more than 2000000 names"), "{line}");
    let mut graph = small_graph();
    graph.node = vec![pb::NodeProto::default(); 100_001];
    let line = Fixture::of(&model(graph, 13)).refusal();
    assert!(line.contains("more than 100000 nodes"), "{line}");
    let mut graph = small_graph();
    // Many nodes that want the same name, of which nothing is read.
    graph
        .node
        .extend(vec![node("Relu", "", &["x"], &[""], &[]); 90_000]);
    let started = std::time::Instant::now();
    let source = Fixture::of(&model(graph.clone(), 13)).read().unwrap();
    assert_eq!(source.graph.folded.len(), 90_000);
    assert!(started.elapsed().as_secs() < 10);
    graph.node[1].name = "n".repeat(1 << 17);
    let line = Fixture::of(&model(graph, 13)).refusal();
    assert!(line.contains("a field of 131072 bytes"), "{line}");
}
