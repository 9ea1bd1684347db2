//! One `TensorProto` of the file: its header decoded, its data found but not read.

use std::path::{Component, Path};
use std::sync::Arc;

use anyhow::{bail, ensure, Context, Result};

use super::store::{Constant, Data, DataFile};
use super::wire::{Kind, Span, Wire};
use super::{INLINE_BYTES, MAX_AXES};
use crate::graph::Dtype;

/// Typed fields that need decoding are decoded into memory, up to this size.
const MAX_DECODED: usize = 256 << 20;
/// A name may have this many bytes.
pub const MAX_NAME: u64 = 64 << 10;

/// The files that weights may lie in: the model's, and external ones in its folder.
pub struct Files<'a> {
    /// The model's own file.
    pub model: &'a Arc<DataFile>,
    external: Vec<Arc<DataFile>>,
}

impl<'a> Files<'a> {
    /// The files of a model.
    pub fn new(model: &'a Arc<DataFile>) -> Self {
        Self {
            model,
            external: vec![],
        }
    }

    /// An external file, opened once. Its path is relative to the model's folder and stays
    /// inside of it.
    fn external(&mut self, location: &str) -> Result<Arc<DataFile>> {
        let inside = Path::new(location)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        ensure!(
            inside && !location.is_empty() && !location.contains('\0'),
            "external data in {location:?}, which is not a path inside of the model's folder"
        );
        let folder = match self.model.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().context("the model's folder")?;
        let path = folder.join(location);
        let path = path
            .canonicalize()
            .with_context(|| format!("external data in {location:?}"))?;
        ensure!(
            path.starts_with(&folder),
            "external data in {location:?}, a link that leaves the model's folder"
        );
        if let Some(open) = self.external.iter().find(|file| file.path == path) {
            return Ok(open.clone());
        }
        let file = DataFile::open(&path)?;
        self.external.push(file.clone());
        Ok(file)
    }
}

/// A tensor as found in the file; what is wrong with it matters only where it is used.
pub struct Scanned {
    /// Its name.
    pub name: String,
    /// The constant, or why there is none.
    pub constant: std::result::Result<Constant, String>,
}

#[derive(Default)]
struct Header {
    dims: Vec<i64>,
    data_type: u64,
    name: String,
    raw: Option<Span>,
    /// The typed field in use, the span of its first chunk where that is packed, and the number
    /// of chunks.
    typed: Option<(u64, Option<Span>, usize)>,
    strings: bool,
    segment: bool,
    external: bool,
    entries: Vec<(String, String)>,
}

/// Reads the tensor in `span`; the reader ends behind it.
pub fn scan_tensor(wire: &mut Wire<'_>, span: Span, files: &mut Files<'_>) -> Result<Scanned> {
    let mut header = scan_header(wire, span)?;
    let name = std::mem::take(&mut header.name);
    let constant = locate(wire, span, &header, files).map_err(|e| format!("{e:#}"));
    wire.go_to(span.end)?;
    Ok(Scanned { name, constant })
}

fn scan_header(wire: &mut Wire<'_>, span: Span) -> Result<Header> {
    let mut header = Header::default();
    wire.go_to(span.start)?;
    while let Some((field, kind)) = wire.key(span.end)? {
        match (field, kind) {
            (1, Kind::Varint) => header.dims.push(wire.varint(span.end)? as i64),
            (1, Kind::Bytes) => {
                let packed = wire.span(span.end)?;
                while wire.position() < packed.end && header.dims.len() <= MAX_AXES {
                    header.dims.push(wire.varint(packed.end)? as i64);
                }
                wire.go_to(packed.end)?;
            }
            (2, Kind::Varint) => header.data_type = wire.varint(span.end)?,
            (3, _) => {
                header.segment = true;
                wire.skip(kind, span.end)?;
            }
            (4 | 5 | 7 | 10 | 11, _) => {
                let at = wire.position();
                wire.skip(kind, span.end)?;
                let chunk = Span {
                    start: at,
                    end: wire.position(),
                };
                let packed = (kind == Kind::Bytes).then_some(chunk);
                match &mut header.typed {
                    Some((known, _, count)) if *known == field => *count += 1,
                    other => *other = Some((field, packed, 1)),
                }
            }
            (6, _) => {
                header.strings = true;
                wire.skip(kind, span.end)?;
            }
            (8, Kind::Bytes) => header.name = wire.text(span.end, MAX_NAME)?,
            (9, Kind::Bytes) => {
                let raw = wire.span(span.end)?;
                header.raw = Some(raw);
                wire.go_to(raw.end)?;
            }
            (13, Kind::Bytes) => {
                let entry = wire.span(span.end)?;
                if header.entries.len() < 16 {
                    header.entries.push(scan_entry(wire, entry)?);
                }
                wire.go_to(entry.end)?;
            }
            (14, Kind::Varint) => header.external = wire.varint(span.end)? == 1,
            _ => wire.skip(kind, span.end)?,
        }
        ensure!(
            header.dims.len() <= MAX_AXES,
            "byte {}: a tensor of more than {MAX_AXES} axes",
            span.start
        );
    }
    Ok(header)
}

fn scan_entry(wire: &mut Wire<'_>, span: Span) -> Result<(String, String)> {
    let mut entry = (String::new(), String::new());
    while let Some((field, kind)) = wire.key(span.end)? {
        match (field, kind) {
            (1, Kind::Bytes) => entry.0 = wire.text(span.end, MAX_NAME)?,
            (2, Kind::Bytes) => entry.1 = wire.text(span.end, MAX_NAME)?,
            _ => wire.skip(kind, span.end)?,
        }
    }
    Ok(entry)
}

/// The shape and its size in bytes, checked.
pub fn checked_shape(dims: &[i64], dtype: Dtype) -> Result<(Vec<usize>, usize)> {
    ensure!(
        dims.len() <= MAX_AXES,
        "{} axes, at most {MAX_AXES}",
        dims.len()
    );
    let shape = dims
        .iter()
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<Vec<_>>>()
        .with_context(|| format!("shape {dims:?} has a negative axis"))?;
    // A zero axis must not hide another one that is absurd.
    let bytes = shape
        .iter()
        .try_fold(dtype.size(), |bytes, &axis| bytes.checked_mul(axis.max(1)))
        .filter(|&bytes| bytes < isize::MAX as usize / 2)
        .with_context(|| format!("shape {dims:?} is too large"))?;
    let empty = shape.contains(&0);
    Ok((shape, if empty { 0 } else { bytes }))
}

fn locate(
    wire: &mut Wire<'_>,
    span: Span,
    header: &Header,
    files: &mut Files<'_>,
) -> Result<Constant> {
    let number = i32::try_from(header.data_type).unwrap_or(-1);
    let dtype = Dtype::from_onnx(number).with_context(|| {
        let kind = if header.strings || number == 8 {
            "strings".to_string()
        } else {
            format!("elements of ONNX type {number}")
        };
        format!("{kind} are not supported")
    })?;
    ensure!(
        !header.segment,
        "a tensor in segments, which is not supported"
    );
    let (shape, bytes) = checked_shape(&header.dims, dtype)?;
    let data = if header.external {
        external(header, bytes, files)?
    } else if let Some(raw) = header.raw.filter(|raw| raw.len() > 0) {
        ensure!(
            raw.len() == bytes as u64,
            "{} bytes of data for shape {shape:?} of {dtype}, which has {bytes}",
            raw.len()
        );
        Data::File(files.model.clone(), raw.start)
    } else {
        typed(wire, span, header, (dtype, bytes), files)?
    };
    let constant = Constant { dtype, shape, data };
    if bytes <= INLINE_BYTES {
        return Ok(Constant::from_value(constant.value()?));
    }
    Ok(constant)
}

fn external(header: &Header, bytes: usize, files: &mut Files<'_>) -> Result<Data> {
    let entry = |key: &str| header.entries.iter().find(|e| e.0 == key).map(|e| &e.1);
    let number = |key: &str| -> Result<Option<u64>> {
        let parse = |text: &String| {
            text.parse::<u64>()
                .with_context(|| format!("external data with {key} {text:?}, not a number"))
        };
        entry(key).map(parse).transpose()
    };
    let location = entry("location").context("external data without a location")?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    ensure!(
        length.is_none_or(|length| length == bytes as u64),
        "external data of {} bytes for a shape of {bytes}",
        length.unwrap_or(0)
    );
    let file = files.external(location)?;
    let end = offset.checked_add(bytes as u64);
    ensure!(
        end.is_some_and(|end| end <= file.length),
        "external data of {bytes} bytes from byte {offset} of {location:?}, which has {}",
        file.length
    );
    Ok(Data::File(file, offset))
}

/// Data in `float_data` and the like: packed floats are little-endian bytes already, everything
/// else is decoded.
fn typed(
    wire: &mut Wire<'_>,
    span: Span,
    header: &Header,
    (dtype, bytes): (Dtype, usize),
    files: &Files<'_>,
) -> Result<Data> {
    let wanted = match dtype {
        Dtype::F32 => 4,
        Dtype::F64 => 10,
        Dtype::I64 => 7,
        _ => 5,
    };
    let (field, first, chunks) = match header.typed {
        Some((field, first, chunks)) => (field, first, chunks),
        None if bytes == 0 => return Ok(Data::Memory(Arc::new(vec![]))),
        None => bail!("no data"),
    };
    ensure!(field == wanted, "{dtype} elements in field {field}");
    if let (4 | 10, Some(packed), 1) = (field, first, chunks) {
        wire.go_to(packed.start)?;
        let data = wire.span(packed.end)?;
        ensure!(
            data.len() == bytes as u64,
            "{} bytes of data for a shape of {bytes}",
            data.len()
        );
        return Ok(Data::File(files.model.clone(), data.start));
    }
    ensure!(
        bytes <= MAX_DECODED,
        "{bytes} bytes in a typed field, at most {MAX_DECODED} are read; save it as raw data"
    );
    let decoded = decode(wire, span, field, (dtype.size(), bytes))?;
    Ok(Data::Memory(Arc::new(decoded)))
}

/// The elements of field `wanted`, packed or one by one, as little-endian bytes of `item` bytes
/// each and `bytes` in all.
fn decode(
    wire: &mut Wire<'_>,
    span: Span,
    wanted: u64,
    (item, bytes): (usize, usize),
) -> Result<Vec<u8>> {
    // Grown as elements are found: a short file must not make a large allocation.
    let mut out = Vec::new();
    wire.go_to(span.start)?;
    while let Some((field, kind)) = wire.key(span.end)? {
        if field != wanted {
            wire.skip(kind, span.end)?;
            continue;
        }
        match kind {
            Kind::Bytes => {
                let packed = wire.span(span.end)?;
                while wire.position() < packed.end {
                    element(wire, wanted, packed.end, item, &mut out)?;
                    ensure!(
                        out.len() <= bytes,
                        "more than the {bytes} bytes of the shape"
                    );
                }
            }
            _ => element(wire, wanted, span.end, item, &mut out)?,
        }
        ensure!(
            out.len() <= bytes,
            "more than the {bytes} bytes of the shape"
        );
    }
    ensure!(
        out.len() == bytes,
        "{} bytes of data for a shape of {bytes}",
        out.len()
    );
    Ok(out)
}

fn element(
    wire: &mut Wire<'_>,
    field: u64,
    end: u64,
    item: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    match field {
        4 => out.extend(wire.fixed::<4>(end)?),
        10 => out.extend(wire.fixed::<8>(end)?),
        _ => out.extend(&wire.varint(end)?.to_le_bytes()[..item]),
    }
    Ok(())
}
