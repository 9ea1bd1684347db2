//! Protobuf's wire format, read from a file without decoding what is large.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{bail, ensure, Context, Result};

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A varint.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and as many bytes.
    Bytes,
    /// Four bytes.
    Fixed32,
}

/// A half-open byte range of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
}

impl Span {
    /// How many bytes are inside.
    pub fn len(self) -> u64 {
        self.end - self.start
    }
}

/// A reader that knows where it is and never reads past the message it is in.
pub struct Wire<'a> {
    input: BufReader<&'a File>,
    position: u64,
}

impl<'a> Wire<'a> {
    /// Reads `file` from its start.
    pub fn new(file: &'a File) -> Result<Self> {
        let mut input = BufReader::with_capacity(64 << 10, file);
        input.seek(SeekFrom::Start(0))?;
        Ok(Self { input, position: 0 })
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a byte of the file.
    pub fn go_to(&mut self, position: u64) -> Result<()> {
        let step = i64::try_from(i128::from(position) - i128::from(self.position))?;
        self.input.seek_relative(step)?;
        self.position = position;
        Ok(())
    }

    /// The next field's number and kind, none at the end of the message.
    pub fn key(&mut self, end: u64) -> Result<Option<(u64, Kind)>> {
        if self.position >= end {
            return Ok(None);
        }
        let at = self.position;
        let key = self.varint(end)?;
        let kind = match key & 7 {
            0 => Kind::Varint,
            1 => Kind::Fixed64,
            2 => Kind::Bytes,
            5 => Kind::Fixed32,
            other => bail!("byte {at}: no field has wire type {other}"),
        };
        ensure!(key >> 3 > 0, "byte {at}: no field has number 0");
        Ok(Some((key >> 3, kind)))
    }

    /// A varint that ends inside of the message.
    pub fn varint(&mut self, end: u64) -> Result<u64> {
        let at = self.position;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            ensure!(self.position < end, "byte {at}: a number is cut off");
            let mut byte = [0];
            self.input
                .read_exact(&mut byte)
                .with_context(|| format!("byte {at}"))?;
            self.position += 1;
            let bits = u64::from(byte[0] & 0x7f);
            value |= bits.checked_shl(shift).unwrap_or(0);
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        bail!("byte {at}: a number of more than ten bytes")
    }

    /// The span of a length-delimited field whose key has been read; the reader stays at its
    /// start.
    pub fn span(&mut self, end: u64) -> Result<Span> {
        let at = self.position;
        let length = self.varint(end)?;
        let start = self.position;
        let left = end - start;
        ensure!(
            length <= left,
            "byte {at}: a field of {length} bytes where {left} are left"
        );
        Ok(Span {
            start,
            end: start + length,
        })
    }

    /// The bytes of a span, at most `limit` of them.
    pub fn bytes(&mut self, span: Span, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            span.len() <= limit,
            "byte {}: a field of {} bytes, at most {limit} are read",
            span.start,
            span.len()
        );
        self.go_to(span.start)?;
        let mut bytes = vec![0; span.len() as usize];
        self.input.read_exact(&mut bytes)?;
        self.position = span.end;
        Ok(bytes)
    }

    /// A length-delimited text whose key has been read.
    pub fn text(&mut self, end: u64, limit: u64) -> Result<String> {
        let span = self.span(end)?;
        let bytes = self.bytes(span, limit)?;
        String::from_utf8(bytes).with_context(|| format!("byte {}: not UTF-8", span.start))
    }

    /// Skips the value of a field whose key has been read.
    pub fn skip(&mut self, kind: Kind, end: u64) -> Result<()> {
        let to = match kind {
            Kind::Varint => {
                self.varint(end)?;
                return Ok(());
            }
            Kind::Fixed64 => self.position + 8,
            Kind::Fixed32 => self.position + 4,
            Kind::Bytes => self.span(end)?.end,
        };
        ensure!(to <= end, "byte {}: a number is cut off", self.position);
        self.go_to(to)
    }

    /// The next four or eight bytes.
    pub fn fixed<const N: usize>(&mut self, end: u64) -> Result<[u8; N]> {
        ensure!(
            self.position + N as u64 <= end,
            "byte {}: a number is cut off",
            self.position
        );
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }
}
