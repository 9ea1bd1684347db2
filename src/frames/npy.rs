//! Headers of `.npy` files, read and written.
//!
//! A header is `\x93NUMPY`, a version, a length and a Python dict:
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`. Data follows, row-major.

use std::io::Read;

use anyhow::{bail, ensure, Context, Result};

use crate::graph::Dtype;

/// Longest header that is read: NumPy itself writes less than 200 bytes for plain arrays.
const MAX_HEADER: u64 = 64 * 1024;
const MAX_AXES: usize = 64;
const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy's kind and size of each element type.
const KINDS: [(Dtype, &str); 10] = [
    (Dtype::F32, "f4"),
    (Dtype::U8, "u1"),
    (Dtype::I8, "i1"),
    (Dtype::U16, "u2"),
    (Dtype::I16, "i2"),
    (Dtype::I32, "i4"),
    (Dtype::I64, "i8"),
    (Dtype::Bool, "b1"),
    (Dtype::F16, "f2"),
    (Dtype::F64, "f8"),
];

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub dtype: Dtype,
    pub big_endian: bool,
    pub shape: Vec<usize>,
    /// Where the data begins in the file.
    pub data_offset: u64,
    /// Length of the data.
    pub data_bytes: u64,
}

/// Reads a header and leaves the reader at the data.
pub(super) fn read_header(reader: &mut dyn Read) -> Result<Header> {
    let mut fixed = [0; 8];
    reader.read_exact(&mut fixed).context("not a .npy array")?;
    ensure!(fixed.starts_with(MAGIC), "not a .npy array");
    let length_bytes = match fixed[6] {
        1 => 2,
        2 | 3 => 4,
        version => bail!(".npy version {version}: versions 1 to 3 are read"),
    };
    let mut length = [0; 4];
    reader
        .read_exact(&mut length[..length_bytes])
        .context(".npy header is cut off")?;
    let length = u64::from(u32::from_le_bytes(length));
    ensure!(length <= MAX_HEADER, ".npy header of {length} bytes");
    let mut text = vec![];
    reader.take(length).read_to_end(&mut text)?;
    ensure!(text.len() as u64 == length, ".npy header is cut off");
    let text = std::str::from_utf8(&text).context(".npy header is not text")?;
    let (descr, fortran, shape) = parse(text)?;
    ensure!(
        !fortran,
        "array in Fortran order; NumPy's ascontiguousarray() gives the order that is read"
    );
    let (dtype, big_endian) = element_type(&descr)?;
    let data_bytes = shape
        .iter()
        .try_fold(dtype.size() as u64, |n, &axis| n.checked_mul(axis as u64))
        .with_context(|| format!("array of {shape:?}"))?;
    Ok(Header {
        dtype,
        big_endian,
        shape,
        data_offset: 8 + length_bytes as u64 + length,
        data_bytes,
    })
}

fn element_type(descr: &str) -> Result<(Dtype, bool)> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", descr));
    let row = KINDS.iter().find(|row| row.1 == kind);
    let known = || KINDS.map(|row| row.1).join(" ");
    let row = row.with_context(|| format!("elements of type {descr:?}; read are {}", known()))?;
    match order {
        "<" | "|" | "=" => Ok((row.0, false)),
        ">" => Ok((row.0, true)),
        _ => bail!("elements of type {descr:?}: unknown byte order"),
    }
}

/// The header of an array that grows: `frames` along the first axis, then `shape`. Its length is
/// the same for every count of frames, so that it can be written again in place.
pub(super) fn header_bytes(dtype: Dtype, frames: u64, shape: &[usize]) -> Vec<u8> {
    let dict = |frames: u64| {
        let axes: String = shape.iter().map(|axis| format!(" {axis},")).collect();
        let kind = KINDS.iter().find(|row| row.0 == dtype);
        let kind = kind.expect("every type has a row").1;
        let order = if dtype.size() == 1 { '|' } else { '<' };
        format!(
            "{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': ({frames},{axes}), }}"
        )
    };
    // 10 bytes before the dict, one line feed after it, and NumPy aligns data to 64.
    let total = (10 + dict(u64::MAX).len() + 1).next_multiple_of(64);
    let text = format!("{:<width$}\n", dict(frames), width = total - 11);
    let length = u16::try_from(text.len()).expect("a model's shapes are short");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

/// The three entries of the dict, in any order.
fn parse(text: &str) -> Result<(String, bool, Vec<usize>)> {
    let mut cursor = Cursor { rest: text };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    cursor.expect('{')?;
    while !cursor.take('}') {
        let key = cursor.string()?;
        cursor.expect(':')?;
        match key.as_str() {
            "descr" => descr = Some(cursor.string()?),
            "fortran_order" => fortran = Some(cursor.boolean()?),
            "shape" => shape = Some(cursor.tuple()?),
            _ => bail!(".npy header has an unknown key {key:?}"),
        }
        if !cursor.take(',') {
            cursor.expect('}')?;
            break;
        }
    }
    ensure!(
        cursor.rest.trim().is_empty(),
        ".npy header goes on after its dict"
    );
    let missing = |key| format!(".npy header has no {key:?}");
    Ok((
        descr.with_context(|| missing("descr"))?,
        fortran.with_context(|| missing("fortran_order"))?,
        shape.with_context(|| missing("shape"))?,
    ))
}

struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn take(&mut self, token: char) -> bool {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(token);
        self.rest = after.unwrap_or(rest);
        after.is_some()
    }

    fn expect(&mut self, token: char) -> Result<()> {
        let found = self.take(token);
        ensure!(found, ".npy header: {token:?} expected");
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        let quote = if self.take('\'') { '\'' } else { '"' };
        if quote == '"' {
            self.expect('"')
                .context("structured elements are not read")?;
        }
        let (text, rest) = self
            .rest
            .split_once(quote)
            .context(".npy header: a string has no end")?;
        self.rest = rest;
        Ok(text.into())
    }

    fn boolean(&mut self) -> Result<bool> {
        let rest = self.rest.trim_start();
        for (word, value) in [("False", false), ("True", true)] {
            if let Some(rest) = rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        bail!(".npy header: True or False expected")
    }

    fn tuple(&mut self) -> Result<Vec<usize>> {
        self.expect('(')?;
        let mut axes = vec![];
        while !self.take(')') {
            let rest = self.rest.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
            axes.push(digits.parse().context(".npy header: length of an axis")?);
            ensure!(axes.len() <= MAX_AXES, ".npy header: too many axes");
            self.rest = rest;
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(version: u8, dict: &str) -> Vec<u8> {
        let length = dict.len() as u32;
        let width = if version == 1 { 2 } else { 4 };
        let length = &length.to_le_bytes()[..width];
        [MAGIC, &[version, 0], length, dict.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Header> {
        read_header(&mut &bytes[..])
    }

    #[test]
    fn versions_1_to_3_say_the_same() {
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        for (version, before) in [(1, 10), (2, 12), (3, 12)] {
            let header = read(&raw(version, dict)).unwrap();
            assert_eq!((header.dtype, header.big_endian), (Dtype::F32, false));
            assert_eq!((&header.shape[..], header.data_bytes), (&[2, 3][..], 24));
            assert_eq!(header.data_offset, before + dict.len() as u64);
        }
        assert!(read(&raw(4, dict)).is_err());
    }

    #[test]
    fn order_of_keys_spaces_and_quotes_do_not_matter() {
        let dict = "{ \"shape\":( 7 ,) ,\"fortran_order\" : False,'descr':'>i2'}";
        let header = read(&raw(1, dict)).unwrap();
        assert_eq!((header.dtype, header.big_endian), (Dtype::I16, true));
        assert_eq!(header.shape, [7]);
        let dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (), }";
        assert_eq!(read(&raw(1, dict)).unwrap().data_bytes, 1);
    }

    #[test]
    fn what_cannot_be_read_is_one_line() {
        for (dict, says) in [
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                "Fortran",
            ),
            (
                "{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }",
                "<c8",
            ),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
                "structured",
            ),
            ("{'descr': '<f4', 'fortran_order': False}", "shape"),
            (
                "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
                "True or False",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
                "axis",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
                "array of",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
                "goes on",
            ),
            ("{'descr': 'é', 'fortran_order': False, 'shape': (1,)}", "é"),
        ] {
            let error = format!("{:#}", read(&raw(2, dict)).unwrap_err());
            assert!(error.contains(says), "{dict}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let whole = header_bytes(Dtype::F32, 3, &[4, 5]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_written_header_reads_back_and_keeps_its_length() {
        for dtype in KINDS.map(|row| row.0) {
            for shape in [&[][..], &[10], &[3, 224, 224]] {
                let first = header_bytes(dtype, 0, shape);
                assert_eq!(first.len() % 64, 0);
                for frames in [0, 7, u64::from(u32::MAX)] {
                    let bytes = header_bytes(dtype, frames, shape);
                    assert_eq!(bytes.len(), first.len());
                    let header = read(&bytes).unwrap();
                    assert_eq!(header.shape[0] as u64, frames);
                    assert_eq!(header.shape[1..], *shape);
                    assert_eq!(header.data_offset, bytes.len() as u64);
                    assert_eq!(header.dtype, dtype);
                }
            }
        }
    }
}
