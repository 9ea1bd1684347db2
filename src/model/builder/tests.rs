//! Tests of the builder.

#![allow(clippy::unwrap_used)]

use prost::Message;

use super::*;

/// Every operator once.
fn every_operator(weights: Weights) -> ModelBuilder {
    let mut b = ModelBuilder::with_weights("all", weights);
    let x = b.input("x", &[1, 4, 12, 10]);
    let y = b.conv("conv", x, Conv::new(8, (3, 1)).pad((1, 0)).groups(2));
    let y = b.batch_norm("bn", y);
    let y = b.relu("relu", y);
    let z = b.sigmoid("sigmoid", y);
    let z = b.tanh("tanh", z);
    let y = b.add("add", y, z);
    let y = b.concat("concat", &[y, x]);
    let y = b.max_pool("max", y, Pool::new(3).stride(2).ceil());
    let y = b.average_pool("average", y, Pool::new(2).pad(1).count_padding());
    let y = b.lrn("lrn", y, 5, [1e-4, 0.75, 1.0]);
    let y = b.clip("clip", y, 0.0, 6.0);
    let y = b.leaky_relu("leaky", y, 0.1);
    let up = Conv::new(6, 4).stride(2).pad(1).no_bias();
    let y = b.conv_transpose("up", y, up.output_padding((1, 0)));
    let y = b.pad("pad", y, [1, 0, 2, 1]);
    let y = b.upsample("repeat", y, (2, 3));
    let y = b.dropout("dropout", y);
    let y = b.global_average_pool("mean", y);
    let y = b.flatten("flatten", y);
    let y = b.gemm("gemm", y, 5);
    let y = b.softmax("softmax", y, 1);
    b.output(y);
    b
}

fn decoded(b: &ModelBuilder) -> pb::GraphProto {
    let bytes = b.to_bytes().unwrap();
    let model = pb::ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!(model.ir_version, 8);
    assert_eq!(model.opset_import[0].version, OPSET);
    model.graph.unwrap()
}

fn numbers(tensor: &pb::TensorProto) -> Vec<f32> {
    let number = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
    tensor.raw_data.chunks_exact(4).map(number).collect()
}

#[test]
fn the_hand_written_fields_are_protobuf() {
    let b = every_operator(Weights::He { seed: 1 });
    let graph = decoded(&b);
    assert_eq!(graph.name, "all");
    assert_eq!(graph.node.len(), 20);
    for node in &graph.node {
        assert_eq!(node.output, std::slice::from_ref(&node.name));
    }
    assert_eq!(graph.initializer.len(), b.initializers.len());
    for (tensor, initializer) in graph.initializer.iter().zip(&b.initializers) {
        assert_eq!(tensor.name, initializer.name);
        let elements: i64 = tensor.dims.iter().product();
        let size = Dtype::from_onnx(tensor.data_type).unwrap().size() as i64;
        assert_eq!(
            tensor.raw_data.len() as i64,
            size * elements,
            "{}",
            tensor.name
        );
    }
    assert_eq!((graph.input.len(), graph.output.len()), (1, 1));
}

#[test]
fn initialisers_are_inputs_where_asked_for() {
    let mut b = every_operator(Weights::He { seed: 1 });
    b.list_weights_as_inputs();
    let graph = decoded(&b);
    assert_eq!(graph.input.len(), 1 + graph.initializer.len());
}

#[test]
fn integer_weights_are_integers_and_normalisation_divides_by_one() {
    let graph = decoded(&every_operator(Weights::Integers { seed: 1, max: 3 }));
    for tensor in &graph.initializer {
        let elements = numbers(tensor);
        if tensor.name.starts_with("clip.") || tensor.name == "pad.pads" {
            continue;
        }
        let small = |x: &f32| x.fract() == 0.0 && x.abs() <= 3.0;
        assert!(elements.iter().all(small), "{}", tensor.name);
        match tensor.name.as_str() {
            "bn.running_var" => assert!(elements.iter().all(|&x| x == 1.0)),
            "bn.weight" => assert!(elements.iter().all(|x| x.abs() == 1.0)),
            "conv.weight" => assert!(elements.contains(&3.0) && elements.contains(&-3.0)),
            _ => {}
        }
    }
    let bn = graph.node.iter().find(|node| node.name == "bn").unwrap();
    assert_eq!(bn.attribute[0].f, 0.0);
}

#[test]
fn parameters_and_macs_are_counted() {
    let b = every_operator(Weights::He { seed: 1 });
    // 8 kernels of 2×3×1 and 8 biases, 2 numbers for each of 8 normalised channels, 12 kernels
    // of 6×4×4 without bias, 5 rows of 6 and 5 biases.
    assert_eq!(b.parameters(), 8 * 6 + 8 + 16 + 12 * 6 * 16 + 5 * 6 + 5);
    // The maximum pool leaves 6×5 of 12×10, the padded average 7×6.
    let macs = [
        ("conv", 12 * 10 * 8 * 6),
        ("up", 7 * 6 * 12 * 6 * 16),
        ("gemm", 30),
    ];
    let found: Vec<_> = b.node_macs().iter().map(|n| (&n.0[..], n.1)).collect();
    assert_eq!(found, macs);
    assert_eq!(b.macs(), macs.iter().map(|n| n.1).sum::<u64>());
}

#[test]
fn the_first_fault_is_the_one_that_is_told() {
    let fault = |f: &dyn Fn(&mut ModelBuilder, Handle) -> Handle| {
        let mut b = ModelBuilder::new("m", 0);
        let x = b.input("x", &[1, 4, 6, 6]);
        let y = f(&mut b, x);
        let z = b.conv("last", y, Conv::new(4, 99));
        b.output(z);
        assert!(b.to_bytes().is_err());
        format!("{}", b.check().unwrap_err())
    };
    assert_eq!(
        fault(&|b, x| b.max_pool("p", x, Pool::new(7))),
        "m: p: the input is too small: a 7x7 window does not fit on 6x6"
    );
    assert_eq!(
        fault(&|b, x| b.conv("c", x, Conv::new(4, 1).groups(3))),
        "m: c: 4 to 4 channels cannot be had in 3 groups"
    );
    assert_eq!(
        fault(&|b, x| b.gemm("g", x, 3)),
        "m: g: needs an input [N, K], found [1, 4, 6, 6]"
    );
    let unequal = |b: &mut ModelBuilder, x| {
        let y = b.max_pool("p", x, Pool::new(2));
        b.add("a", x, y)
    };
    assert_eq!(
        fault(&unequal),
        "m: a: cannot add [1, 4, 5, 5] to [1, 4, 6, 6]"
    );
    assert_eq!(
        fault(&|b, x| b.relu("x", x)),
        "m: x: the name is taken already"
    );
    for (kernel, stride) in [(0, 1), (1, 0), (usize::MAX, 1)] {
        let conv = Conv::new(4, kernel).stride(stride);
        assert!(fault(&|b, x| b.conv("c", x, conv)).starts_with("m: c: "));
    }
    let still = Conv::new(4, 2).stride(0);
    assert!(fault(&|b, x| b.conv_transpose("c", x, still)).starts_with("m: c: "));
    let empty = ModelBuilder::new("m", 0);
    assert_eq!(
        format!("{}", empty.check().unwrap_err()),
        "m: the model has no output"
    );
}

#[test]
fn a_model_beyond_two_gibibytes_is_refused_before_a_weight_is_made() {
    let mut b = ModelBuilder::new("vast", 0);
    let x = b.input("x", &[1, 1 << 15]);
    let y = b.gemm("g", x, 1 << 15);
    b.output(y);
    let line = format!("{}", b.to_bytes().unwrap_err());
    assert!(
        line.ends_with("write its weights as external data"),
        "{line}"
    );
}
