//! The standard architectures against published counts.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use autodice::engine::{tract, Tensor};
use autodice::graph::{macs, Dtype, Value};
use autodice::model::builder::{Conv, ModelBuilder, Pool};
use autodice::model::read;
use autodice::model::standard::{build, Options, NAMES};

/// Name, parameters, multiply-accumulates as published and their unit.
///
/// torchvision: `num_params` and `GFLOPS` (which are multiply-accumulates) on the page of each
/// model's weights. lenet5: any textbook; its MACs are 117 600 + 240 000 + 48 000 + 10 080 + 840.
/// mobilenet_v1: Howard et al. 2017, table 6 (569 million), and 4.2 million parameters, exactly
/// the `trainable` ones of Keras' summary. tiny_yolo_v2: the YOLOv2 site's 6.97 billion
/// operations are two for each MAC; parameters see below. fcn: Long et al. 2015, table 1, 134
/// million parameters; no MACs published, ours are VGG-16's and a sum by hand.
const PUBLISHED: [(&str, u64, f64, f64); 17] = [
    ("lenet5", 61_706, 416_520.0, 1.0),
    ("alexnet", 61_100_840, 0.71, 1e9),
    ("vgg11", 132_863_336, 7.61, 1e9),
    ("vgg16", 138_357_544, 15.47, 1e9),
    ("vgg19", 143_667_240, 19.63, 1e9),
    ("resnet18", 11_689_512, 1.81, 1e9),
    ("resnet34", 21_797_672, 3.66, 1e9),
    ("resnet50", 25_557_032, 4.09, 1e9),
    ("resnet101", 44_549_160, 7.80, 1e9),
    ("densenet121", 7_978_856, 2.83, 1e9),
    ("mobilenet_v1", 4_231_976, 569.0, 1e6),
    ("mobilenet_v2", 3_504_872, 0.30, 1e9),
    ("squeezenet", 1_248_424, 0.82, 1e9),
    ("squeezenet1_1", 1_235_496, 0.35, 1e9),
    ("googlenet", 6_624_904, 1.50, 1e9),
    ("tiny_yolo_v2", 15_861_773, 3.485, 1e9),
    ("fcn", 134_489_759, 21.30, 1e9),
];

fn built(name: &str, options: &Options) -> ModelBuilder {
    build(name, options).unwrap_or_else(|error| panic!("{error:#}"))
}

fn sized(size: (usize, usize), width: f32) -> Options {
    Options {
        seed: 1,
        size: Some(size),
        width: Some(width),
        ..Options::default()
    }
}

#[test]
fn every_architecture_has_its_published_counts() {
    assert_eq!(PUBLISHED.map(|row| row.0), NAMES);
    for (name, parameters, published, unit) in PUBLISHED {
        let b = built(name, &Options::default());
        assert_eq!(b.parameters(), parameters, "{name}");
        // Within half of the last digit that is published.
        let digits = if unit == 1e9 { 0.005 } else { 0.5 };
        let found = b.macs() as f64 / unit;
        assert!((found - published).abs() <= digits, "{name}: {found}");
    }
}

#[test]
fn vgg16_convolutions_are_15_347_gmac() {
    let b = built("vgg16", &Options::default());
    let convolutions = b.node_macs().iter().filter(|n| n.0.starts_with("conv"));
    assert_eq!(convolutions.map(|n| n.1).sum::<u64>(), 15_346_630_656);
}

/// Howard et al. 2017, tables 6 and 7: million MACs, million parameters.
#[test]
fn mobilenet_v1_has_the_papers_width_and_resolution() {
    for (width, size, million_macs, parameters) in [
        (1.0, 224, 569.0, 4.2),
        (0.75, 224, 325.0, 2.6),
        (0.5, 224, 149.0, 1.3),
        (0.25, 224, 41.0, 0.5),
        (1.0, 192, 418.0, 4.2),
        (1.0, 160, 290.0, 4.2),
        (1.0, 128, 186.0, 4.2),
    ] {
        let b = built("mobilenet_v1", &sized((size, size), width));
        let (found, count) = (b.macs() as f64 / 1e6, b.parameters() as f64 / 1e6);
        assert!(
            (found - million_macs).abs() < 1.0,
            "{width} {size}: {found}"
        );
        assert!((count - parameters).abs() < 0.05, "{width} {size}: {count}");
    }
}

/// darknet's `tiny-yolo-voc.weights` has 63 471 556 bytes: four 4-byte header fields, then every
/// f32, among them mean and variance of 3 056 normalised channels, which are no parameters.
#[test]
fn tiny_yolo_v2_has_as_many_numbers_as_the_published_file() {
    let b = built("tiny_yolo_v2", &Options::default());
    assert_eq!(4 * (b.parameters() + 2 * 3056) + 16, 63_471_556);
}

/// A width that keeps the file of each below some 20 MB.
fn small(name: &str) -> Options {
    match name {
        "lenet5" => sized((28, 36), 1.0),
        "alexnet" | "vgg11" | "vgg16" | "vgg19" | "fcn" => sized((64, 96), 0.25),
        "resnet34" | "resnet50" | "resnet101" | "tiny_yolo_v2" => sized((64, 96), 0.5),
        _ => sized((64, 96), 1.0),
    }
}

/// Numbers in [-2, 2), of no pattern that a stride could meet.
fn frame(shape: &[usize]) -> Value {
    let mut state = 1_u32;
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    Value::from_f32(shape, &elements)
}

#[test]
fn every_architecture_is_read_and_run() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let b = built(name, &small(name));
        let path = folder.path().join(format!("{name}.onnx"));
        b.write(&path).unwrap();

        let graph = read::read(&path, &[]).unwrap().graph;
        let counted: u64 = graph.node_ids().map(|id| macs(&graph, id)).sum();
        assert_eq!(counted, b.macs(), "{name}");
        for node in b.node_macs() {
            assert_eq!(graph.nodes_named(&node.0).len(), 1, "{name}: {}", node.0);
        }

        let input = graph.activation(graph.inputs[0]);
        let output = graph.activation(graph.outputs[0]);
        let frame = Arc::new(Tensor::from_value(&frame(&input.shape)));
        let shapes = [(input.name.clone(), Dtype::F32, input.shape.clone())];
        let mut whole = tract::load_file(&path, &shapes, 1).unwrap();
        let outputs = whole.run(&[frame]).unwrap();
        assert_eq!(outputs[0].shape(), output.shape, "{name}");
        lively(name, &outputs[0].to_value().to_f32());
        std::fs::remove_file(&path).unwrap();
    }
}

/// Finite, of a scale that f32 is comfortable with, and not everywhere the same.
fn lively(name: &str, elements: &[f32]) {
    let count = elements.len() as f32;
    let mean = elements.iter().sum::<f32>() / count;
    let variance = elements.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
    let deviation = variance.sqrt();
    println!("{name}: mean {mean}, deviation {deviation}");
    assert!(elements.iter().all(|x| x.is_finite()), "{name}");
    assert!((0.01..100.0).contains(&deviation), "{name}: {deviation}");
    assert!(mean.abs() < 100.0, "{name}: {mean}");
}

#[test]
fn what_cannot_be_built_gets_one_line() {
    let line = |name: &str, options: &Options| format!("{:#}", build(name, options).unwrap_err());
    assert_eq!(
        line("vgg17", &Options::default()),
        format!("no architecture \"vgg17\"; there are {}", NAMES.join(", "))
    );
    assert_eq!(
        line("vgg16", &sized((64, 16), 1.0)),
        "vgg16 at 64x16: pool5: the input is too small: a 2x2 window does not fit on 4x1"
    );
    assert_eq!(
        line("fcn", &sized((64, 100), 1.0)),
        "fcn at 64x100: height and width must be multiples of 32"
    );
    assert_eq!(
        line("resnet18", &sized((0, 5), 1.0)),
        "resnet18 at 0x5: input: an input of shape [1, 3, 0, 5] has no elements"
    );
    for width in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let line = line("lenet5", &sized((28, 28), width));
        assert!(line.starts_with("lenet5: the width is "), "{line}");
    }
    for name in NAMES {
        let line = line(name, &sized((usize::MAX, usize::MAX), 1.0));
        assert!(line.starts_with(&format!("{name} at ")), "{line}");
    }
}

#[test]
fn a_size_is_taken_or_refused_but_never_panics() {
    for name in NAMES {
        let taken = (1..150).filter(|&size| build(name, &sized((size, size + 32), 1.0)).is_ok());
        assert!(taken.count() > 1, "{name}");
    }
}

#[test]
fn another_seed_gives_other_weights_and_the_same_seed_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |name: &str, seed, integers| {
        let options = Options {
            seed,
            integers,
            ..small(name)
        };
        let path = folder.path().join("model.onnx");
        built(name, &options).write_external(&path).unwrap();
        let data = std::fs::read(folder.path().join("model.onnx.data")).unwrap();
        blake3::hash(&data).to_hex().to_string()
    };
    for name in ["lenet5", "mobilenet_v2"] {
        assert_ne!(weights(name, 1, None), weights(name, 2, None));
        assert_ne!(weights(name, 1, None), weights(name, 1, Some(2)));
    }
    // As first written, on x86-64: another generator or another rounding is noticed.
    assert_eq!(weights("lenet5", 1, None), LENET5);
    assert_eq!(weights("mobilenet_v2", 1, None), MOBILENET_V2);
    assert_eq!(weights("mobilenet_v2", 1, Some(2)), MOBILENET_V2_INTEGERS);
}

const LENET5: &str = "1992beb76ed3bf05a0c3a0a489f1cb1e0811f4b4982bc79536fd9b2ea4e8ee72";
const MOBILENET_V2: &str = "4261898f2a9e79c43f500ddc070d9d1195d4e1df18db7f760633bf741e3545e5";
const MOBILENET_V2_INTEGERS: &str =
    "73117f454f7d9099c056fce7a90e948b4c7b4f3765ca7efc7c8d3d3da851e087";

/// Weights inside and beside the file are the same model, and initialisers listed as inputs too.
#[test]
fn every_way_of_writing_is_read_as_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mobilenet_v2", "squeezenet", "lenet5"] {
        let mut b = built(name, &small(name));
        let path = |form: &str| folder.path().join(format!("{form}.onnx"));
        b.write(&path("inside")).unwrap();
        b.write_external(&path("beside")).unwrap();
        std::fs::write(path("bytes"), b.to_bytes().unwrap()).unwrap();
        b.list_weights_as_inputs();
        b.write(&path("listed")).unwrap();
        let graph = |form: &str| {
            let graph = read::read(&path(form), &[]).unwrap().graph;
            (graph.nodes, graph.activations, graph.inputs, graph.weights)
        };
        let inside = graph("inside");
        for form in ["beside", "bytes", "listed"] {
            // Weights are compared by their hashes.
            assert_eq!(graph(form), inside, "{name} {form}");
        }
        let file = std::fs::metadata(path("beside")).unwrap().len();
        assert!(
            file < std::fs::metadata(path("inside")).unwrap().len() / 2,
            "{name}"
        );
    }
}

#[test]
fn the_builders_shapes_are_tracts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.onnx");
    let mut tried = 0;
    for (kernel, stride, dilation) in [(1, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2, 1), (3, 2, 2)] {
        for (pads, size) in [
            ([0; 4], (9, 12)),
            ([1; 4], (10, 7)),
            ([0, 1, 1, 0], (8, 11)),
        ] {
            if pads != [0; 4] && kernel == 1 {
                continue;
            }
            for op in [
                "Conv",
                "ConvTranspose",
                "MaxPool",
                "MaxPool ceil",
                "AveragePool ceil",
            ] {
                let mut b = ModelBuilder::new("one", 0);
                let x = b.input("x", &[1, 4, size.0, size.1]);
                let conv = Conv::new(6, kernel)
                    .stride(stride)
                    .dilation(dilation)
                    .pads(pads);
                let pool = Pool::new(kernel).stride(stride).pads(pads);
                let y = match op {
                    "Conv" => b.conv("y", x, conv.groups(2)),
                    "ConvTranspose" => b.conv_transpose("y", x, conv),
                    "MaxPool" => b.max_pool("y", x, pool.dilation(dilation)),
                    "MaxPool ceil" => b.max_pool("y", x, pool.dilation(dilation).ceil()),
                    _ => b.average_pool("y", x, pool.ceil()),
                };
                b.output(y);
                b.write(&path).unwrap();
                let shapes = [("x".to_string(), Dtype::F32, b.shape(x).to_vec())];
                let mut whole = tract::load_file(&path, &shapes, 1).unwrap();
                let input = Tensor::zeros(Dtype::F32, b.shape(x));
                let outputs = whole.run(&[Arc::new(input)]).unwrap();
                let case = format!("{op} {kernel} {stride} {dilation} {pads:?} {size:?}");
                assert_eq!(outputs[0].shape(), b.shape(y), "{case}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 65);
}
