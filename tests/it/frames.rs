//! Inputs and outputs, through files.

use std::fs;
use std::io::Write;
use std::path::Path;

use autodice::frames::{Frame, InputShape, Item, Labels, Sink, Source, Truth};
use autodice::graph::{Dtype, Value};
use autodice::model::onnx;
use autodice::spec::{FramesSpec, ImageSpec, InputSpec, Layout};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use prost::Message;
use tempfile::TempDir;

fn shape(dtype: Dtype, shape: &[usize]) -> InputShape {
    InputShape {
        name: "x".into(),
        dtype,
        shape: shape.to_vec(),
    }
}

fn open_as(
    folder: &Path,
    path: &str,
    image: &ImageSpec,
    inputs: &[InputShape],
) -> anyhow::Result<Source> {
    let input = InputSpec {
        frames: FramesSpec::Path(path.into()),
        image: image.clone(),
        truth: None,
    };
    Source::open(&input, folder, inputs)
}

fn open(folder: &Path, path: &str, input: InputShape) -> anyhow::Result<Source> {
    open_as(folder, path, &ImageSpec::default(), &[input])
}

/// The one line that opening ends with.
fn refusal(folder: &Path, path: &str, input: InputShape) -> String {
    let error = open(folder, path, input).err().expect("a refusal");
    let line = format!("{error:#}");
    assert!(!line.contains('\n') && line.len() < 600, "{line}");
    line
}

fn items(mut source: Source) -> Vec<Item> {
    std::iter::from_fn(|| source.next()).collect()
}

fn frames(source: Source) -> Vec<Frame> {
    let frame = |item| match item {
        Item::Frame(frame) => frame,
        Item::Bad { source, reason } => panic!("{source}: {reason}"),
    };
    items(source).into_iter().map(frame).collect()
}

fn floats(frame: &Frame) -> Vec<f32> {
    frame.inputs[0].to_f32()
}

fn npy(version: u8, descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = dict.len() as u32;
    let width = if version == 1 { 2 } else { 4 };
    let length = &length.to_le_bytes()[..width];
    let fixed = [&b"\x93NUMPY"[..], &[version, 0], length];
    [&fixed.concat(), dict.as_bytes(), data].concat()
}

fn le(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A PNG file: colour type 0 grey, 2 rgb, 3 palette, 4 grey with alpha, 6 rgb with alpha.
fn png((width, height): (u32, u32), depth: u8, colour: u8, palette: &[u8], rows: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend([kind, data, &crc.sum().to_be_bytes()].concat());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size, &[depth, colour, 0, 0, 0][..]].concat());
    if !palette.is_empty() {
        chunk(b"PLTE", palette);
    }
    let mut packed = ZlibEncoder::new(vec![], Compression::default());
    for row in rows.chunks((rows.len() / height as usize).max(1)) {
        packed.write_all(&[0]).unwrap();
        packed.write_all(row).unwrap();
    }
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", &[]);
    file
}

#[test]
fn npy_frames_come_one_by_one() {
    let folder = TempDir::new().unwrap();
    let data = le(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for version in [1, 2, 3] {
        let file = npy(version, "<f4", "(3, 1, 2)", &data);
        fs::write(folder.path().join("a.npy"), file).unwrap();
        for input in [[1, 1, 2], [3, 1, 2]] {
            let source = open(folder.path(), "a.npy", shape(Dtype::F32, &input)).unwrap();
            let count = source.count();
            let found = frames(source);
            assert_eq!(found.len() as u64, count);
            if input[0] == 3 {
                assert_eq!(found[0].source, "a.npy");
                assert_eq!(found[0].inputs[0].bytes, data);
            } else {
                assert_eq!(found.len(), 3);
                assert_eq!(found[1].source, "a.npy[1]");
                assert_eq!(found[2].inputs[0].shape, [1, 1, 2]);
                assert_eq!(floats(&found[2]), [5.0, 6.0]);
            }
        }
    }
}

#[test]
fn npy_of_another_type_is_converted_exactly_or_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let write = |file: Vec<u8>| fs::write(folder.path().join("a.npy"), file).unwrap();
    let read = |dtype| {
        let found = frames(open(folder.path(), "a.npy", shape(dtype, &[1, 2])).unwrap());
        found[0].inputs[0].clone()
    };
    write(npy(1, "|u1", "(1, 2)", &[7, 255]));
    assert_eq!(read(Dtype::F32).to_f32(), [7.0, 255.0]);
    assert_eq!(read(Dtype::U8).bytes, [7, 255]);
    assert_eq!(
        read(Dtype::I64).bytes,
        [[7, 0, 0, 0, 0, 0, 0, 0], [255, 0, 0, 0, 0, 0, 0, 0]].concat()
    );
    write(npy(1, ">f4", "(1, 2)", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]));
    assert_eq!(read(Dtype::F32).to_f32(), [1.0, -2.0]);
    write(npy(1, "<f8", "(1, 2)", &[0; 16]));
    let line = refusal(folder.path(), "a.npy", shape(Dtype::F32, &[1, 2]));
    for part in [
        "a.npy",
        "array of f64",
        "f32 cannot hold",
        "\"x\" is f32 [1, 2]",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn npy_of_another_shape_or_length_is_refused() {
    let folder = TempDir::new().unwrap();
    let refused = |file: Vec<u8>| {
        fs::write(folder.path().join("a.npy"), file).unwrap();
        refusal(folder.path(), "a.npy", shape(Dtype::F32, &[1, 3, 8, 8]))
    };
    let line = refused(npy(1, "<f4", "(2, 8, 8, 3)", &[0; 1536]));
    assert!(line.contains("[2, 8, 8, 3]"), "{line}");
    assert!(line.contains("[frames, 3, 8, 8]"), "{line}");
    let line = refused(npy(1, "<f4", "(2, 3, 8, 8)", &[0; 1535]));
    assert!(
        line.contains("promises 1536 bytes of data, there are 1535"),
        "{line}"
    );
    // Absurd lengths end in the same line, with nothing allocated.
    let line = refused(npy(1, "<f4", "(99999999999999, 3, 8, 8)", &[0; 8]));
    assert!(line.contains("there are 8"), "{line}");
    assert!(refused(npy(1, "<f4", "(0, 3, 8, 8)", &[])).contains("without frames"));
    let fortran = npy(1, "<f4", "(1, 3, 8, 8)", &[0; 768]);
    let text = String::from_utf8_lossy(&fortran[10..]).replace("False", "True ");
    let fortran = [&fortran[..10], text.as_bytes()].concat();
    assert!(refused(fortran).contains("Fortran order"));
}

/// A file that NumPy itself wrote (tests/data/make.py).
fn numpy(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn npz_has_an_array_for_each_input() {
    let folder = TempDir::new().unwrap();
    let inputs = [
        InputShape {
            name: "a/b".into(),
            ..shape(Dtype::F32, &[1, 2])
        },
        InputShape {
            name: "n".into(),
            ..shape(Dtype::I64, &[1])
        },
    ];
    for file in ["both.npz", "both-packed.npz"] {
        fs::write(folder.path().join("ab.npz"), numpy(file)).unwrap();
        let source = open_as(folder.path(), "ab.npz", &ImageSpec::default(), &inputs).unwrap();
        assert_eq!(source.count(), 3);
        let found = frames(source);
        assert_eq!(found[2].source, "ab.npz[2]");
        assert_eq!(floats(&found[2]), [4.0, 5.0]);
        assert_eq!(found[2].inputs[1].bytes, 30_i64.to_le_bytes());
        let line = refusal(folder.path(), "ab.npz", shape(Dtype::F32, &[1, 2]));
        assert!(
            line.contains("no array \"x.npy\" among [\"n.npy\""),
            "{line}"
        );
    }
    fs::write(folder.path().join("ab.npz"), numpy("uneven.npz")).unwrap();
    let error = open_as(folder.path(), "ab.npz", &ImageSpec::default(), &inputs).err();
    assert!(format!("{:#}", error.unwrap()).contains("3 frames for input \"a/b\", 1 for input"));
    let line = format!(
        "{:#}",
        open_as(folder.path(), "ab.npy", &ImageSpec::default(), &inputs)
            .err()
            .unwrap()
    );
    assert!(line.contains("ab.npy: cannot be opened"), "{line}");
}

#[test]
fn tensors_are_read_as_onnx_writes_them() {
    let folder = TempDir::new().unwrap();
    let value = Value::from_f32(&[1, 3], &[1.0, -2.5, 3e-9]);
    let mut proto = onnx::tensor("x", &value);
    fs::write(folder.path().join("raw.pb"), proto.encode_to_vec()).unwrap();
    proto.raw_data = Default::default();
    proto.float_data = value.to_f32();
    fs::write(folder.path().join("typed.pb"), proto.encode_to_vec()).unwrap();
    for name in ["raw.pb", "typed.pb"] {
        let found = frames(open(folder.path(), name, shape(Dtype::F32, &[1, 3])).unwrap());
        assert_eq!(found[0].inputs[..], *std::slice::from_ref(&value));
        assert_eq!(found[0].source, name);
        let line = refusal(folder.path(), name, shape(Dtype::F32, &[1, 4]));
        assert!(
            line.contains("tensor f32 [1, 3]; input \"x\" is f32 [1, 4]"),
            "{line}"
        );
    }
    // Several by a pattern: each is a frame, one that does not fit is a bad one.
    proto.dims = vec![3, 1];
    fs::write(folder.path().join("shape.pb"), proto.encode_to_vec()).unwrap();
    let found = items(open(folder.path(), "*.pb", shape(Dtype::F64, &[1, 3])).unwrap());
    assert_eq!(found.len(), 3);
    assert!(matches!(&found[1], Item::Bad { source, .. } if source == "shape.pb"));
    assert!(matches!(&found[2], Item::Frame(f) if f.inputs[0].dtype == Dtype::F64));
    fs::write(folder.path().join("long.pb"), vec![0; 1 << 20]).unwrap();
    assert!(refusal(folder.path(), "long.pb", shape(Dtype::F32, &[1])).contains("too long"));
}

#[test]
fn every_kind_of_png_becomes_0_to_255() {
    let folder = TempDir::new().unwrap();
    let read = |file: Vec<u8>, channels: usize, image: &ImageSpec| {
        fs::write(folder.path().join("a.png"), file).unwrap();
        let input = shape(Dtype::F32, &[1, channels, 1, 2]);
        floats(&frames(open_as(folder.path(), "a.png", image, &[input]).unwrap())[0])
    };
    let plain = ImageSpec::default();
    let grey = png((2, 1), 8, 0, &[], &[9, 200]);
    assert_eq!(read(grey.clone(), 1, &plain), [9.0, 200.0]);
    assert_eq!(read(grey, 3, &plain), [9.0, 200.0, 9.0, 200.0, 9.0, 200.0]);
    let rgb = png((2, 1), 8, 2, &[], &[1, 2, 3, 50, 50, 50]);
    assert_eq!(
        read(rgb.clone(), 3, &plain),
        [1.0, 50.0, 2.0, 50.0, 3.0, 50.0]
    );
    let bgr = ImageSpec {
        layout: Some(Layout::Bgr),
        ..plain.clone()
    };
    assert_eq!(
        read(rgb.clone(), 3, &bgr),
        [3.0, 50.0, 2.0, 50.0, 1.0, 50.0]
    );
    // (299 + 2·587 + 3·114) / 1000; equal channels stay what they are.
    assert_eq!(read(rgb, 1, &plain), [1.815, 50.0]);
    let rgba = png((2, 1), 8, 6, &[], &[1, 2, 3, 0, 4, 5, 6, 255]);
    assert_eq!(read(rgba, 3, &plain), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let grey_alpha = png((2, 1), 8, 4, &[], &[7, 0, 8, 255]);
    assert_eq!(read(grey_alpha, 1, &plain), [7.0, 8.0]);
    // 16 bits, big-endian: 65535 / 257 = 255 and 257 / 257 = 1.
    assert_eq!(
        read(png((2, 1), 16, 0, &[], &[255, 255, 1, 1]), 1, &plain),
        [255.0, 1.0]
    );
    // One bit a pixel; palette of two colours, indices 1 and 0.
    assert_eq!(
        read(png((2, 1), 1, 0, &[], &[0b0100_0000]), 1, &plain),
        [0.0, 255.0]
    );
    let palette = png((2, 1), 8, 3, &[10, 20, 30, 40, 50, 60], &[1, 0]);
    assert_eq!(
        read(palette, 3, &plain),
        [40.0, 10.0, 50.0, 20.0, 60.0, 30.0]
    );
}

#[test]
fn mean_std_and_size_are_as_computed_by_hand() {
    let folder = TempDir::new().unwrap();
    let rows = [0, 0, 0, 100, 200, 40, 0, 0, 0, 100, 200, 40];
    fs::write(folder.path().join("a.png"), png((2, 2), 8, 2, &[], &rows)).unwrap();
    let image = ImageSpec {
        size: Some((4, 1)),
        layout: Some(Layout::Rgb),
        mean: vec![25.0, 0.0, 10.0],
        std: vec![25.0, 2.0, 1.0],
    };
    let input = shape(Dtype::F32, &[1, 3, 1, 4]);
    let found = frames(open_as(folder.path(), "a.png", &image, &[input]).unwrap());
    // Columns are interpolated at quarters, the two rows are equal.
    let expected = [
        [-1.0, 0.0, 2.0, 3.0],
        [0.0, 25.0, 75.0, 100.0],
        [-10.0, 0.0, 20.0, 30.0],
    ];
    assert_eq!(floats(&found[0]), expected.concat());
    let bytes = ImageSpec {
        mean: vec![],
        std: vec![],
        ..image.clone()
    };
    let input = shape(Dtype::U8, &[1, 3, 1, 4]);
    let found = frames(open_as(folder.path(), "a.png", &bytes, &[input]).unwrap());
    assert_eq!(
        found[0].inputs[0].bytes[..8],
        [0, 25, 75, 100, 0, 50, 150, 200]
    );
}

#[test]
fn an_image_section_that_does_not_fit_the_model_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.png"), png((1, 1), 8, 0, &[], &[0])).unwrap();
    let refused = |image: &ImageSpec, input: InputShape| {
        let error = open_as(folder.path(), "a.png", image, &[input])
            .err()
            .unwrap();
        format!("{error:#}")
    };
    let three = || shape(Dtype::F32, &[1, 3, 8, 9]);
    let plain = ImageSpec::default();
    let line = refused(
        &ImageSpec {
            size: Some((8, 9)),
            ..plain.clone()
        },
        three(),
    );
    assert!(
        line.contains("image.size is 8x9, the model takes 9x8"),
        "{line}"
    );
    let line = refused(
        &ImageSpec {
            layout: Some(Layout::Grey),
            ..plain.clone()
        },
        three(),
    );
    assert!(line.contains("image.layout gives 1 channels"), "{line}");
    let line = refused(
        &ImageSpec {
            mean: vec![1.0, 2.0],
            ..plain.clone()
        },
        three(),
    );
    assert!(
        line.contains("image.mean has 2 numbers, there are 3 channels"),
        "{line}"
    );
    let line = refused(
        &ImageSpec {
            std: vec![0.0],
            ..plain.clone()
        },
        three(),
    );
    assert!(line.contains("image.std has a number"), "{line}");
    let line = refused(
        &ImageSpec {
            std: vec![2.0],
            ..plain.clone()
        },
        shape(Dtype::U8, &[1, 1, 1, 1]),
    );
    assert!(line.contains("u8 without mean and std"), "{line}");
    assert!(refused(&plain, shape(Dtype::F32, &[1, 8])).contains("[1, 3, H, W]"));
    assert!(refused(&plain, shape(Dtype::I64, &[1, 1, 1, 1])).contains("images become f32"));
    assert!(refused(&plain, shape(Dtype::F32, &[1, 0])).contains("no frame fits"));
}

#[test]
fn a_bad_image_does_not_end_the_batch() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, file: &[u8]| fs::write(folder.path().join(name), file).unwrap();
    let good = png((2, 1), 8, 0, &[], &[1, 2]);
    write("a.png", &good);
    write("b.png", &good[..40]);
    write("c.png", b"no image at all");
    write("d.png", &png((1, 2), 8, 0, &[], &[1, 2]));
    write("e.png", b"");
    // Dimensions beyond any limit, and such as fit the sides but not the memory.
    write("f.png", &png((100_000, 1), 8, 0, &[], &[0]));
    write("g.png", &png((16_000, 16_000), 16, 6, &[], &[0; 16_000]));
    std::os::unix::fs::symlink("nowhere", folder.path().join("h.png")).unwrap();
    write("i.jpg", &good);
    write("notes.txt", b"not listed in a folder");
    write(".hidden.png", b"");
    fs::create_dir(folder.path().join("k.png")).unwrap();
    let input = || shape(Dtype::F32, &[1, 1, 1, 2]);
    let source = open(folder.path(), "", input()).unwrap();
    assert_eq!(source.count(), 9);
    let found = items(source);
    let names: Vec<_> = found
        .iter()
        .map(|item| match item {
            Item::Frame(frame) => format!("{} ok", frame.source),
            Item::Bad { source, reason } => {
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
                source.clone()
            }
        })
        .collect();
    let expected = "a.png ok,b.png,c.png,d.png,e.png,f.png,g.png,h.png,i.jpg ok";
    assert_eq!(names.join(","), expected);
    let reason = |i: usize| match &found[i] {
        Item::Bad { reason, .. } => reason.clone(),
        Item::Frame(_) => panic!("a frame"),
    };
    assert_eq!(reason(2), "not a PNG or JPEG image");
    assert!(reason(3).contains("image is 1x2, the model takes 2x1"));

    // The same folder by patterns, from outside of it.
    let outside = folder.path().parent().unwrap();
    let pattern = |pattern: &str| {
        format!(
            "{}/{pattern}",
            folder.path().file_name().unwrap().to_str().unwrap()
        )
    };
    assert_eq!(
        open(outside, &pattern("*.png"), input()).unwrap().count(),
        8
    );
    assert_eq!(open(outside, &pattern("*"), input()).unwrap().count(), 10);
    assert_eq!(
        items(open(outside, &pattern("a*"), input()).unwrap()).len(),
        1
    );
    assert!(refusal(outside, &pattern("z*"), input()).contains("no file matches"));
    assert!(refusal(outside, "*/a.png", input()).contains("file names only"));
    assert!(refusal(outside, "no such place", input()).contains("cannot be opened"));
    let empty = TempDir::new().unwrap();
    assert!(refusal(empty.path(), "", input()).contains("no .png, .jpg or .jpeg"));
}

/// Opens and reads `name` whatever it says; errors must be one line. Frames that come out.
fn try_read(folder: &Path, name: &str, input: &InputShape) -> Vec<Frame> {
    let source = match open(folder, name, input.clone()) {
        Ok(source) => source,
        Err(error) => {
            let line = format!("{error:#}");
            assert!(line.contains(name) && !line.contains('\n'), "{line}");
            return vec![];
        }
    };
    let mut frames = vec![];
    for item in items(source) {
        match item {
            Item::Frame(frame) => frames.push(frame),
            Item::Bad { reason, .. } => assert!(!reason.contains('\n'), "{reason}"),
        }
    }
    frames
}

#[test]
fn damaged_files_are_refused_at_every_byte() {
    let folder = TempDir::new().unwrap();
    // Shortening a file in place makes some file systems wait for the disk.
    let write = |path: &Path, bytes: &[u8]| {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).unwrap();
    };
    let numbers = [1.5, -2.0, 3.25, 4.0];
    let mut files = vec![];
    for name in ["x.npy", "x.npz", "x-packed.npz"] {
        files.push((name, numpy(name), true));
    }
    let value = Value::from_f32(&[1, 2], &numbers[..2]);
    files.push(("a.pb", onnx::tensor("x", &value).encode_to_vec(), true));
    let pixels = [1, 2, 3, 4, 5, 6, 7, 8];
    // A decoder may take an image that lacks its last bytes.
    files.push(("a.png", png((4, 2), 8, 0, &[], &pixels), false));
    let mut jpeg = std::io::Cursor::new(vec![]);
    let grey = image::GrayImage::from_raw(4, 2, pixels.to_vec()).unwrap();
    grey.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    files.push(("a.jpg", jpeg.into_inner(), false));
    for (name, bytes, exact) in files {
        let path = folder.path().join(name);
        let picture = name.ends_with("png") || name.ends_with("jpg");
        let axes: &[usize] = if picture { &[1, 1, 2, 4] } else { &[1, 2] };
        let input = shape(Dtype::F32, axes);
        write(&path, &bytes);
        let whole = try_read(folder.path(), name, &input);
        assert!(!whole.is_empty(), "{name}");
        for end in 0..bytes.len() {
            write(&path, &bytes[..end]);
            let found = try_read(folder.path(), name, &input);
            assert!(
                found.is_empty() || !exact,
                "{name} cut at {end} gives a frame"
            );
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                write(&path, &damaged);
                let found = try_read(folder.path(), name, &input);
                assert!(found.len() <= whole.len(), "{name}");
            }
        }
    }
}

#[test]
fn a_damaged_npz_gives_the_frames_before_the_damage_and_one_bad_item() {
    let folder = TempDir::new().unwrap();
    let mut bytes = numpy("fifty.npz");
    // A changed element is seen by the checksum, which stands at the end of the member.
    let last = bytes
        .windows(4)
        .rposition(|w| w == 49_f32.to_le_bytes())
        .unwrap();
    bytes[last] ^= 1;
    fs::write(folder.path().join("a.npz"), bytes).unwrap();
    let found = items(open(folder.path(), "a.npz", shape(Dtype::F32, &[1, 2])).unwrap());
    let Some(Item::Bad { source, reason }) = found.last() else {
        panic!("the last frame is bad");
    };
    assert!(
        source == "a.npz[49]" && reason.contains("checksum"),
        "{source} {reason}"
    );
}

#[test]
fn synthetic_frames_are_the_same_on_every_machine() {
    let input = InputSpec {
        frames: FramesSpec::Synthetic { count: 3, seed: 7 },
        image: ImageSpec::default(),
        truth: None,
    };
    let open = |shapes: &[InputShape]| Source::open(&input, Path::new(""), shapes).unwrap();
    let source = open(&[shape(Dtype::F32, &[1, 5]), shape(Dtype::U8, &[1, 4])]);
    assert_eq!(
        (source.count(), source.describe()),
        (3, "3 synthetic frames, seed 7".into())
    );
    let found = frames(source);
    assert_eq!(found.len(), 3);
    assert_eq!(found[2].source, "synthetic[2]");
    let bits: Vec<_> = floats(&found[2]).iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, GOLDEN_NORMAL);
    assert_eq!(found[2].inputs[1].bytes, GOLDEN_BYTES);
}

/// As another implementation of the same definition computes them (Python, with its own log).
const GOLDEN_NORMAL: [u32; 5] = [
    3_204_556_779,
    1_055_268_924,
    3_218_453_115,
    1_067_724_038,
    3_206_756_391,
];
const GOLDEN_BYTES: [u8; 4] = [228, 215, 229, 20];

#[test]
fn outputs_are_complete_after_every_frame() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("deep/run");
    let outputs = [
        InputShape {
            name: "prob/out".into(),
            ..shape(Dtype::F32, &[1, 3])
        },
        InputShape {
            name: "map".into(),
            ..shape(Dtype::I64, &[2, 1])
        },
    ];
    let labels = parent.path().join("labels.txt");
    fs::write(&labels, "cat\ndog, big\nowl\n").unwrap();
    let labels = Labels::read(&labels).unwrap();
    let mut sink = Sink::create(&folder, &outputs, Some(labels), 2).unwrap();
    let scores = [[0.5, 0.25, 0.1], [f32::NAN, -1.0, 1e-8]];
    for (n, scores) in (0u8..).zip(&scores) {
        let map = [[n, 0, 0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0, 0]].concat();
        let map = Value {
            dtype: Dtype::I64,
            shape: vec![2, 1],
            bytes: map,
        };
        let values = [Value::from_f32(&[1, 3], scores), map];
        sink.frame(n.into(), &format!("{n}.png"), 1.5, &values)
            .unwrap();
        sink.bad("x\ny.png", "cut\noff").unwrap();
        // Nothing is finished or dropped: what a killed process leaves is already readable.
        let frames_so_far = usize::from(n) + 1;
        let prob = frames(open(&folder, "prob_out.npy", shape(Dtype::F32, &[1, 3])).unwrap());
        assert_eq!(prob.len(), frames_so_far);
        assert_eq!(prob[usize::from(n)].inputs[0].bytes, values[0].bytes);
        let map = frames(open(&folder, "map.npy", shape(Dtype::I64, &[2, 1])).unwrap());
        assert_eq!(map.len(), frames_so_far);
        assert_eq!(map[usize::from(n)].inputs[0], values[1]);
    }
    assert_eq!(sink.frames(), 2);
    sink.sync().unwrap();
    let csv = fs::read_to_string(folder.join("frames.csv")).unwrap();
    let expected = "\
frame,source,latency_ms,status,top1,top1_label,top1_score,top2,top2_label,top2_score
0,0.png,1.5,ok,0,cat,0.5,1,\"dog, big\",0.25
,x y.png,,bad: cut off,,,,,,
1,1.png,1.5,ok,2,owl,1e-8,1,\"dog, big\",-1.0
,x y.png,,bad: cut off,,,,,,
";
    assert_eq!(csv, expected);
    let wrong_turn = sink.frame(5, "a", 0.0, &[]).unwrap_err();
    assert!(format!("{wrong_turn:#}").contains("expected frame 2"));
}

#[test]
fn a_folder_in_use_and_names_that_collide_are_refused() {
    let folder = TempDir::new().unwrap();
    let output = |name: &str| InputShape {
        name: name.into(),
        ..shape(Dtype::F32, &[1, 3])
    };
    let refused = |folder: &Path, outputs: &[InputShape]| {
        format!("{:#}", Sink::create(folder, outputs, None, 5).unwrap_err())
    };
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(refused(folder.path(), &[]).contains("not empty"));
    assert!(refused(&folder.path().join("file"), &[]).contains("cannot be created"));
    let line = refused(&folder.path().join("new"), &[output("a/b"), output("a_b")]);
    assert!(
        line.contains("\"a/b\" and \"a_b\" would both be a_b.npy"),
        "{line}"
    );
    // Two outputs that are scores: their columns carry their names.
    let two = folder.path().join("two");
    drop(Sink::create(&two, &[output("a/b"), output("c")], None, 1).unwrap());
    assert_eq!(
        fs::read_to_string(two.join("frames.csv")).unwrap(),
        "frame,source,latency_ms,status,a_b_top1,a_b_top1_score,c_top1,c_top1_score\n"
    );
}

#[test]
fn truth_is_a_name_or_an_index() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let labels = Labels::read(&write("labels.txt", "\u{feff}cat\r\n7\ncat dog\n\n")).unwrap();
    assert_eq!(
        (labels.len(), labels.name(0), labels.name(3)),
        (3, Some("cat"), None)
    );
    let path = write("t.csv", "label,file\ncat,a.png\n7,sub/b.png\n2,c.png\n");
    let truth = Truth::read(&path, Some(&labels)).unwrap();
    assert_eq!(
        (truth.len(), truth.class("a.png"), truth.class("z.png")),
        (3, Some(0), None)
    );
    // The class named 7 is class 1; what is no name is an index.
    assert_eq!(
        (truth.class("b.png"), truth.class("x/c.png")),
        (Some(1), Some(2))
    );
    let refused = |text: &str| {
        let error = Truth::read(&write("bad.csv", text), Some(&labels)).unwrap_err();
        format!("{error:#}")
    };
    let line = refused("file,label\na.png,cat\nb.png,bird\n");
    assert!(line.contains("bad.csv: line 3: label \"bird\""), "{line}");
    assert!(refused("file,label\na.png,3\n").contains("label \"3\""));
    assert!(refused("file,class\na.png,3\n").contains("no column \"label\""));
    assert!(refused("file,label\na.png,0\na.png,2\n").contains("another class"));
    assert!(refused("file,label\na.png\n").contains("not CSV"));
    assert!(refused("file,label\n").contains("no file has a class"));
    assert!(format!("{:#}", Labels::read(&write("e", " \n")).unwrap_err()).contains("no labels"));
}
