//! The members of an `.npz` archive: a ZIP whose members are stored or deflated.
//!
//! A ZIP ends with a central directory: one record for each member with its lengths and place.
//! Lengths beyond 32 bits are in an extra field (ZIP64).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use flate2::read::DeflateDecoder;
use flate2::Crc;

const MAX_DIRECTORY: u64 = 16 << 20;
/// The end record is 22 bytes and a comment of at most 65535.
const MAX_END: u64 = 22 + 65535;

/// One member, as the central directory has it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub name: String,
    /// Length of its content.
    pub bytes: u64,
    method: u16,
    stored_bytes: u64,
    crc: u32,
    offset: u64,
}

/// All members of an archive.
pub(super) fn members(path: &Path) -> Result<Vec<Member>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail_start = length.saturating_sub(MAX_END);
    let tail = read_at(&mut file, tail_start, length - tail_start)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&i| tail[i..].starts_with(b"PK\x05\x06"))
        .context("not an .npz archive, or cut off")?;
    let mut bytes = u64::from(u32_at(&tail, end + 12)?);
    let mut start = u64::from(u32_at(&tail, end + 16)?);
    // ZIP64: a locator of 20 bytes lies before the end record and points to a wider one.
    if let Some(locator) = end.checked_sub(20) {
        if tail[locator..].starts_with(b"PK\x06\x07") {
            let wide = read_at(&mut file, u64_at(&tail, locator + 8)?, 56)?;
            ensure!(wide.starts_with(b"PK\x06\x06"), "damaged end of archive");
            bytes = u64_at(&wide, 40)?;
            start = u64_at(&wide, 48)?;
        }
    }
    ensure!(bytes <= MAX_DIRECTORY, "archive directory of {bytes} bytes");
    let directory = read_at(&mut file, start, bytes)?;
    let mut at = 0;
    let mut members = vec![];
    while at < directory.len() {
        let (member, next) = member(&directory, at)?;
        members.push(member);
        at = next;
    }
    Ok(members)
}

fn member(directory: &[u8], at: usize) -> Result<(Member, usize)> {
    let record = directory.get(at..).unwrap_or_default();
    ensure!(record.starts_with(b"PK\x01\x02"), "damaged directory");
    let name_bytes = usize::from(u16_at(record, 28)?);
    let extra_bytes = usize::from(u16_at(record, 30)?);
    let comment_bytes = usize::from(u16_at(record, 32)?);
    let name = slice(record, 46, name_bytes)?;
    let name = String::from_utf8_lossy(name).into_owned();
    ensure!(u16_at(record, 8)? & 1 == 0, "member {name:?} is encrypted");
    let mut wide = wide_lengths(slice(record, 46 + name_bytes, extra_bytes)?)?.into_iter();
    let mut length = |at: usize| -> Result<u64> {
        match u32_at(record, at)? {
            u32::MAX => wide.next().context("damaged directory"),
            narrow => Ok(u64::from(narrow)),
        }
    };
    // The order in which the extra field lists those that do not fit.
    let (bytes, stored_bytes, offset) = (length(24)?, length(20)?, length(42)?);
    let member = Member {
        name,
        bytes,
        method: u16_at(record, 10)?,
        stored_bytes,
        crc: u32_at(record, 16)?,
        offset,
    };
    let next = at + 46 + name_bytes + extra_bytes + comment_bytes;
    ensure!(next <= directory.len(), "damaged directory");
    Ok((member, next))
}

/// The 64-bit numbers of the ZIP64 extra field (kind 1), in their order.
fn wide_lengths(extra: &[u8]) -> Result<Vec<u64>> {
    let mut at = 0;
    while at + 4 <= extra.len() {
        let content = slice(extra, at + 4, usize::from(u16_at(extra, at + 2)?))?;
        if u16_at(extra, at)? == 1 {
            return content
                .chunks_exact(8)
                .map(|number| u64_at(number, 0))
                .collect();
        }
        at += 4 + content.len();
    }
    Ok(vec![])
}

/// A member's content as a stream that ends in an error where it does not have the length and
/// the checksum that the directory says.
pub(super) fn open(path: &Path, member: &Member) -> Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    let local = read_at(&mut file, member.offset, 30)?;
    ensure!(local.starts_with(b"PK\x03\x04"), "damaged member");
    let names = u64::from(u16_at(&local, 26)?) + u64::from(u16_at(&local, 28)?);
    let start = member.offset + 30 + names;
    let end = start.checked_add(member.stored_bytes);
    let length = file.metadata()?.len();
    ensure!(end.is_some_and(|end| end <= length), "archive is cut off");
    file.seek(SeekFrom::Start(start))?;
    let stored = BufReader::new(file).take(member.stored_bytes);
    Ok(match member.method {
        0 => Box::new(Checked::new(stored, member)),
        8 => Box::new(Checked::new(DeflateDecoder::new(stored), member)),
        method => bail!(
            "compression method {method}; NumPy's savez and savez_compressed give what is read"
        ),
    })
}

struct Checked<R> {
    inner: R,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl<R> Checked<R> {
    fn new(inner: R, member: &Member) -> Self {
        Self {
            inner,
            crc: Crc::new(),
            left: member.bytes,
            expected: member.crc,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..wanted])?;
        self.crc.update(&buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "content differs from its checksum",
            ));
        }
        Ok(count)
    }
}

fn read_at(file: &mut File, start: u64, bytes: u64) -> Result<Vec<u8>> {
    let mut content = vec![];
    file.seek(SeekFrom::Start(start))?;
    file.take(bytes).read_to_end(&mut content)?;
    ensure!(content.len() as u64 == bytes, "archive is cut off");
    Ok(content)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    bytes.get(at..at + length).context("damaged directory")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = slice(bytes, at, 2)?;
    Ok(u16::from_le_bytes([field[0], field[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from(u32_at(bytes, at)?) | u64::from(u32_at(bytes, at + 4)?) << 32)
}
