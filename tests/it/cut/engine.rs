//! The tract engine: weights beside the model, tensors shared, faults on one line.

use std::sync::Arc;

use autodice::engine::tract::{load_file, Tract};
use autodice::engine::{Engine, Executable, Tensor};
use autodice::graph::{Attribute, Dtype, SubModel, Value};
use autodice::model::onnx;
use prost::Message;
use tract_onnx::pb;

use crate::support::equality::random_integers;

const PADS: [(&str, Attribute); 0] = [];

/// A 1×1 convolution that multiplies by 2 and 3, with its kernel outside or inside of the model,
/// and an identity beside it.
fn model(external: bool) -> (pb::ModelProto, Value) {
    let kernel = Value::from_f32(&[2, 1, 1, 1], &[2.0, 3.0]);
    let initialiser = match external {
        true => onnx::external_tensor("w", (kernel.dtype, &kernel.shape), "w", (0, 8)),
        false => onnx::tensor("w", &kernel),
    };
    let graph = pb::GraphProto {
        name: "g".into(),
        node: vec![
            onnx::node("Conv", "conv", &["x", "w"], &["y"], &PADS),
            onnx::node("Identity", "same", &["x"], &["z"], &PADS),
        ],
        initializer: vec![initialiser],
        input: vec![onnx::value_info("x", Dtype::F32, &[1, 1, 1, 2])],
        output: vec![
            onnx::value_info("y", Dtype::F32, &[1, 2, 1, 2]),
            onnx::value_info("z", Dtype::F32, &[1, 1, 1, 2]),
        ],
        ..Default::default()
    };
    (onnx::model(graph, 13), kernel)
}

type Weights = Vec<(String, Arc<Value>)>;

fn sub_model(change: impl FnOnce(&mut pb::ModelProto, &mut Weights)) -> SubModel {
    let (mut proto, kernel) = model(true);
    let mut weights = vec![("w".to_string(), Arc::new(kernel))];
    change(&mut proto, &mut weights);
    SubModel {
        name: "rank 1 piece 0".into(),
        onnx: proto.encode_to_vec(),
        weights,
    }
}

fn input() -> Arc<Tensor> {
    Arc::new(Tensor::from_value(&Value::from_f32(
        &[1, 1, 1, 2],
        &[1.0, 5.0],
    )))
}

#[test]
fn weights_come_from_beside_the_model_and_runs_repeat() {
    for threads in [1, 2] {
        let engine = Tract::new(threads).unwrap();
        let mut loaded = engine.load(sub_model(|_, _| ())).unwrap();
        let input = input();
        for _ in 0..3 {
            let outputs = loaded.run(std::slice::from_ref(&input)).unwrap();
            assert_eq!(outputs[0].to_value().to_f32(), [2.0, 10.0, 3.0, 15.0]);
            assert_eq!(outputs[1].to_value().to_f32(), [1.0, 5.0]);
            assert_eq!(outputs[0].shape(), [1, 2, 1, 2]);
        }
    }
}

/// A convolution of `channels` inputs to 32 outputs over `rows` rows, its kernel called "w".
fn convolution(rows: usize, size: usize, kernel: &Arc<Value>) -> SubModel {
    let channels = kernel.shape[1];
    let kind = (kernel.dtype, &kernel.shape[..]);
    let length = kernel.bytes.len() as u64;
    let side = size + 2;
    let graph = pb::GraphProto {
        name: "g".into(),
        node: vec![onnx::node("Conv", "conv", &["x", "w"], &["y"], &PADS)],
        initializer: vec![onnx::external_tensor("w", kind, "w", (0, length))],
        input: vec![onnx::value_info(
            "x",
            Dtype::F32,
            &[1, channels, rows + 2, side],
        )],
        output: vec![onnx::value_info("y", Dtype::F32, &[1, 32, rows, size])],
        ..Default::default()
    };
    SubModel {
        name: format!("{rows} rows"),
        onnx: onnx::model(graph, 13).encode_to_vec(),
        weights: vec![("w".into(), Arc::clone(kernel))],
    }
}

fn kernel(seed: u64, channels: usize, kernel: usize) -> Arc<Value> {
    Arc::new(random_integers(seed, &[32, channels, kernel, kernel], 3))
}

fn run_convolution(loaded: &mut dyn Executable, rows: usize, size: usize, k: &Value) -> Value {
    let shape = [1, k.shape[1], rows + 2, size + 2];
    let input = Arc::new(Tensor::from_value(&random_integers(9, &shape, 3)));
    loaded.run(&[input]).unwrap().remove(0).to_value()
}

#[test]
fn pieces_of_any_height_over_one_weight_hold_it_once() {
    for (channels, size) in [(80, 14), (3, 40)] {
        let weight = kernel(1, channels, 3);
        let engine = Tract::new(1).unwrap();
        let mut first = engine.load(convolution(24, size, &weight)).unwrap();
        let one_copy = engine.held_bytes();
        assert!(one_copy >= weight.bytes.len());
        let mut others = vec![];
        for rows in 1..12 {
            let mut alone = Tract::new(1)
                .unwrap()
                .load(convolution(rows, size, &weight))
                .unwrap();
            let mut shared = engine.load(convolution(rows, size, &weight)).unwrap();
            let found = run_convolution(&mut *shared, rows, size, &weight);
            assert_eq!(found, run_convolution(&mut *alone, rows, size, &weight));
            others.push(shared);
            let held = engine.held_bytes();
            assert!(
                held < one_copy + one_copy / 20,
                "{rows} rows: {held} and {one_copy}"
            );
        }
        let before = run_convolution(&mut *first, 24, size, &weight);
        drop(others);
        assert_eq!(run_convolution(&mut *first, 24, size, &weight), before);
        drop(first);
        assert_eq!(engine.held_bytes(), 0, "what no piece holds is gone");
    }
}

/// Wide rows of few inputs are where tract would otherwise go another way, with other bits.
#[test]
fn columns_have_the_bits_of_the_whole() {
    let thirds = |value: &Value| {
        let values: Vec<f32> = value.to_f32().iter().map(|v| v / 3.0).collect();
        Value::from_f32(&value.shape, &values)
    };
    let weight = Arc::new(thirds(&kernel(4, 3, 3)));
    let (rows, size, half) = (5, 140, 70);
    let input = thirds(&random_integers(5, &[1, 3, rows + 2, size + 2], 9));
    let run = |left: usize, size: usize| -> Vec<f32> {
        let own: Vec<f32> = input
            .to_f32()
            .chunks(142)
            .flat_map(|row| row[left..left + size + 2].to_vec())
            .collect();
        let own = Value::from_f32(&[1, 3, rows + 2, size + 2], &own);
        let mut loaded = Tract::new(1)
            .unwrap()
            .load(convolution(rows, size, &weight))
            .unwrap();
        let outputs = loaded.run(&[Arc::new(Tensor::from_value(&own))]).unwrap();
        outputs[0].to_value().to_f32()
    };
    let (left, right) = (run(0, half), run(half, half));
    let joined = left.chunks(half).zip(right.chunks(half));
    let joined: Vec<f32> = joined.flat_map(|(l, r)| [l, r].concat()).collect();
    assert_eq!(joined, run(0, size));
}

#[test]
fn equal_names_with_other_contents_are_never_confused() {
    for (channels, size) in [(80, 14), (3, 40)] {
        let engine = Tract::new(1).unwrap();
        let right = kernel(1, channels, 3);
        // Another content throughout, and contents that differ in one element, first to last.
        let mut contents = vec![Arc::clone(&right), kernel(2, channels, 3)];
        let elements = right.bytes.len() / 4;
        for at in [0, 1, elements / 2, elements - 1] {
            let mut other = (*right).clone();
            other.bytes[4 * at..4 * at + 4].copy_from_slice(&7f32.to_le_bytes());
            contents.push(Arc::new(other));
        }
        let load = |weight| engine.load(convolution(4, size, weight)).unwrap();
        let mut loaded: Vec<_> = contents.iter().map(load).collect();
        for (index, weight) in contents.iter().enumerate() {
            let mut alone = Tract::new(1)
                .unwrap()
                .load(convolution(4, size, weight))
                .unwrap();
            let expected = run_convolution(&mut *alone, 4, size, weight);
            let found = run_convolution(&mut *loaded[index], 4, size, weight);
            assert_eq!(found, expected, "content {index}");
            assert!(index == 0 || found != run_convolution(&mut *loaded[0], 4, size, weight));
        }
        assert!(engine.held_bytes() >= contents.len() * right.bytes.len());
    }
}

#[test]
fn an_input_that_passes_through_is_not_copied_until_it_is_written() {
    let mut loaded = Tract::new(1).unwrap().load(sub_model(|_, _| ())).unwrap();
    let input = input();
    let mut outputs = loaded.run(std::slice::from_ref(&input)).unwrap();
    let mut same = outputs.remove(1);
    assert_eq!(same.bytes().as_ptr(), input.bytes().as_ptr());
    same.bytes_mut().fill(0);
    assert_eq!(input.to_value().to_f32(), [1.0, 5.0]);
    assert_eq!(same.to_value().to_f32(), [0.0, 0.0]);
    // An output that only we hold is written in place: it is received into over and over.
    let mut own = outputs.remove(0);
    let before = own.bytes().as_ptr();
    assert_eq!(own.bytes_mut().as_ptr(), before);
}

#[test]
fn faults_are_one_line_that_names_the_sub_model() {
    let line = |sub_model| {
        let Err(error) = Tract::new(1).unwrap().load(sub_model) else {
            panic!("loaded");
        };
        let text = format!("{error:#}");
        assert!(text.starts_with("rank 1 piece 0: "), "{text}");
        assert!(!text.contains('\n') && text.chars().count() < 450, "{text}");
        text
    };
    let missing = line(sub_model(|_, weights| weights.clear()));
    assert!(missing.contains("weight w"), "{missing}");
    let short = line(sub_model(|_, weights| {
        Arc::make_mut(&mut weights[0].1).bytes.truncate(4)
    }));
    assert!(short.contains("weight w"), "{short}");
    let other = line(sub_model(|_, weights| {
        Arc::make_mut(&mut weights[0].1).shape = vec![1, 2, 1, 1]
    }));
    assert!(other.contains("weight w"), "{other}");
    let unknown = line(sub_model(|proto, _| {
        proto.graph.as_mut().unwrap().node[0].op_type = "Warp".into();
    }));
    assert!(
        unknown.contains("conv") || unknown.contains("Warp"),
        "{unknown}"
    );
    let dangling = line(sub_model(|proto, _| {
        proto.graph.as_mut().unwrap().node[1].input[0] = "nowhere".into();
    }));
    assert!(dangling.contains("nowhere"), "{dangling}");
    line(sub_model(|proto, _| proto.graph = None));
    line(SubModel {
        onnx: vec![0xff; 40],
        ..sub_model(|_, _| ())
    });
    assert!(Tract::new(0).is_err());
}

#[test]
fn a_wrong_input_is_an_error_and_the_next_run_is_right() {
    let mut loaded = Tract::new(1).unwrap().load(sub_model(|_, _| ())).unwrap();
    let wrong = Arc::new(Tensor::zeros(Dtype::F32, &[1, 1, 2, 2]));
    let error = loaded.run(&[wrong]).unwrap_err().to_string();
    assert!(error.starts_with("rank 1 piece 0: "), "{error}");
    assert!(loaded.run(&[]).is_err());
    let outputs = loaded.run(&[input()]).unwrap();
    assert_eq!(outputs[0].to_value().to_f32(), [2.0, 10.0, 3.0, 15.0]);
}

#[test]
fn a_file_is_loaded_with_the_shapes_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let (mut proto, _) = model(false);
    // A symbolic width, and an output shape that is wrong.
    let graph = proto.graph.as_mut().unwrap();
    graph.input[0] = onnx::value_info("x", Dtype::F32, &[1, 1, 1, 7]);
    graph.output[0] = onnx::value_info("y", Dtype::F32, &[9, 9]);
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    let shapes = [("x".to_string(), Dtype::F32, vec![1, 1, 1, 2])];
    let mut loaded = load_file(&path, &shapes, 1).unwrap();
    let outputs = loaded.run(&[input()]).unwrap();
    assert_eq!(outputs[0].to_value().to_f32(), [2.0, 10.0, 3.0, 15.0]);

    let name = path.display().to_string();
    for shapes in [vec![], vec![("q".to_string(), Dtype::F32, vec![1])]] {
        let Err(error) = load_file(&path, &shapes, 1) else {
            panic!("loaded");
        };
        assert!(error.to_string().starts_with(&name), "{error}");
    }
    assert!(load_file(&dir.path().join("none.onnx"), &[], 1).is_err());
}
