//! The bytes of the log's files.
//!
//! A file begins with a header of one sector and holds records one after the other, each a multiple of 8 bytes.
//! What is behind the last record is zero. All numbers are little-endian.
//!
//! ```text
//! header   0 magic  8 version u32  12 kind u32  16 number u32  20 chain u32  24 base revision u64
//!          32 end of the previous file u64  40 written i64  ...  508 crc u32 over all before it
//! record   0 length u32  4 crc u32  8 chain u32  12 kind u8  13 flags u8  14 bucket length u16
//!          16 revision u64  24 written i64  32 previous revision of the key u64  40 synced u64
//!          48 path length u16  50 zero u16  52 value length u32  56 bucket, path, value, zeros
//! ```
//! The crc covers which file it is, so a record never passes for one of another file. The chain is a checksum over
//! the checksums of all records before it: records left over from a write that failed do not continue it. `synced`
//! is how much of the file was safe when the record was written: a record that is not whole, but lies before the
//! `synced` of a later whole one, was safe once and is damaged now; otherwise it was never acknowledged.
//! Read on: [`crate::log::recover`] for how that is used.

use crate::key::{Revision, Timestamp};

/// The format that this build writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 2;

/// Size of a file's header. One sector, so that it is whole or not there.
pub(crate) const HEADER: u64 = 512;

/// Size of a record without bucket, path and value.
pub(crate) const RECORD: usize = 56;

const MAGIC: &[u8; 8] = b"COXLOG\r\n";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    /// Live records of trimmed files, copied forward. Before the main files in order.
    Kept = 1,
    /// The writes, in the order of their revisions.
    Main = 2,
}

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub(crate) kind: FileKind,
    pub(crate) number: u32,
}

impl FileId {
    pub(crate) fn main(number: u32) -> FileId {
        FileId { kind: FileKind::Main, number }
    }

    pub(crate) fn kept(number: u32) -> FileId {
        FileId { kind: FileKind::Kept, number }
    }

    pub(crate) fn next(self) -> FileId {
        FileId { number: self.number + 1, ..self }
    }

    pub(crate) fn name(self) -> String {
        match self.kind {
            FileKind::Main => format!("main-{:08}.log", self.number),
            FileKind::Kept => format!("kept-{:08}.log", self.number),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<FileId> {
        let (kind, number) = name.strip_suffix(".log")?.split_once('-')?;
        let number = number.parse().ok()?;
        let id = match kind {
            "main" => FileId::main(number),
            "kept" => FileId::kept(number),
            _ => return None,
        };
        (id.name() == name).then_some(id)
    }

    /// The checksum that every checksum of the file begins with.
    fn seed(self) -> u32 {
        let number = self.number.to_le_bytes();
        crc32c::crc32c(&[self.kind as u8, number[0], number[1], number[2], number[3]])
    }
}

/// The first sector of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) id: FileId,
    /// The chain that the first record continues.
    pub(crate) chain: Chain,
    /// The newest revision before this file.
    pub(crate) base: Revision,
    /// Where the records of the previous main file end; 0 for the first one and for kept files.
    pub(crate) previous_end: u64,
    /// When the file was begun.
    pub(crate) written: Timestamp,
}

/// What stands where a header should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    Valid(FileHeader),
    /// Written by a newer build.
    Newer(u32),
    /// Neither: zeros, a torn write, or damage.
    Nothing,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.id.kind as u32).to_le_bytes());
        bytes.extend_from_slice(&self.id.number.to_le_bytes());
        bytes.extend_from_slice(&self.chain.0.to_le_bytes());
        bytes.extend_from_slice(&self.base.0.to_le_bytes());
        bytes.extend_from_slice(&self.previous_end.to_le_bytes());
        bytes.extend_from_slice(&self.written.0.to_le_bytes());
        bytes.resize(HEADER as usize - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], id: FileId) -> HeaderFound {
        let end = HEADER as usize - 4;
        let Some(header) = bytes.get(..HEADER as usize) else { return HeaderFound::Nothing };
        if &header[..8] != MAGIC || crc32c::crc32c(&header[..end]) != u32_at(header, end) {
            return HeaderFound::Nothing;
        }
        let version = u32_at(header, 8);
        if version > VERSION {
            return HeaderFound::Newer(version);
        }
        if u32_at(header, 12) != id.kind as u32 || u32_at(header, 16) != id.number {
            return HeaderFound::Nothing;
        }
        HeaderFound::Valid(FileHeader {
            id,
            chain: Chain(u32_at(header, 20)),
            base: Revision(u64_at(header, 24)),
            previous_end: u64_at(header, 32),
            written: Timestamp(u64_at(header, 40) as i64),
        })
    }
}

/// Checksum over the checksums of all records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chain(pub(crate) u32);

impl Chain {
    pub(crate) fn after(self, crc: u32) -> Chain {
        Chain(crc32c::crc32c_append(self.0, &crc.to_le_bytes()))
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A key got a value.
    Put = 1,
    /// A key went away.
    Delete = 2,
    /// Nothing, but that all before it is safe.
    Mark = 3,
}

impl RecordKind {
    pub(crate) fn from_byte(byte: u8) -> Option<RecordKind> {
        [RecordKind::Put, RecordKind::Delete, RecordKind::Mark].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The value is encrypted.
pub(crate) const SEALED: u8 = 1;

/// The value begins with who wrote it: a byte of length, and a text.
pub(crate) const AUTHORED: u8 = 2;

/// A record, its texts borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) flags: u8,
    pub(crate) revision: Revision,
    pub(crate) written: Timestamp,
    /// Revision of the version of the key before this one; 0 if there was none.
    pub(crate) previous: Revision,
    pub(crate) synced: u64,
    pub(crate) chain: Chain,
    pub(crate) bucket: &'a str,
    pub(crate) path: &'a str,
    pub(crate) value: &'a [u8],
}

/// A record that was read, with what its neighbours need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parsed<'a> {
    pub(crate) record: Record<'a>,
    /// Bytes that it takes.
    pub(crate) length: usize,
    pub(crate) crc: u32,
}

/// Bytes that a record takes.
pub(crate) fn record_length(bucket: usize, path: usize, value: usize) -> usize {
    (RECORD + bucket + path + value).next_multiple_of(8)
}

impl Record<'_> {
    /// A record that only says that all before it is safe.
    pub(crate) fn mark(revision: Revision, written: Timestamp, synced: u64, chain: Chain) -> Record<'static> {
        let previous = Revision(0);
        let kind = RecordKind::Mark;
        Record {
            kind,
            flags: 0,
            revision,
            written,
            previous,
            synced,
            chain,
            bucket: "",
            path: "",
            value: &[],
        }
    }

    /// Appends the record to a buffer. Gives its checksum, which the chain continues with.
    pub(crate) fn encode(&self, id: FileId, buffer: &mut Vec<u8>) -> u32 {
        let start = buffer.len();
        let length = record_length(self.bucket.len(), self.path.len(), self.value.len());
        buffer.extend_from_slice(&(length as u32).to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&self.chain.0.to_le_bytes());
        buffer.extend_from_slice(&[self.kind as u8, self.flags]);
        buffer.extend_from_slice(&(self.bucket.len() as u16).to_le_bytes());
        buffer.extend_from_slice(&self.revision.0.to_le_bytes());
        buffer.extend_from_slice(&self.written.0.to_le_bytes());
        buffer.extend_from_slice(&self.previous.0.to_le_bytes());
        buffer.extend_from_slice(&self.synced.to_le_bytes());
        buffer.extend_from_slice(&(self.path.len() as u16).to_le_bytes());
        buffer.extend_from_slice(&[0; 2]);
        buffer.extend_from_slice(&(self.value.len() as u32).to_le_bytes());
        buffer.extend_from_slice(self.bucket.as_bytes());
        buffer.extend_from_slice(self.path.as_bytes());
        buffer.extend_from_slice(self.value);
        buffer.resize(start + length, 0);
        let crc = checksum(&buffer[start..], id);
        buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// The record that the bytes begin with, if it is whole.
pub(crate) fn parse(bytes: &[u8], id: FileId) -> Option<Parsed<'_>> {
    if bytes.len() < RECORD {
        return None;
    }
    let length = u32_at(bytes, 0) as usize;
    if length < RECORD || length > bytes.len() || !length.is_multiple_of(8) {
        return None;
    }
    let bytes = &bytes[..length];
    let kind = RecordKind::from_byte(bytes[12])?;
    let bucket_length = u16_at(bytes, 14) as usize;
    let path_length = u16_at(bytes, 48) as usize;
    let value_length = u32_at(bytes, 52) as usize;
    if record_length(bucket_length, path_length, value_length) != length {
        return None;
    }
    let crc = u32_at(bytes, 4);
    if checksum(bytes, id) != crc {
        return None;
    }
    let (bucket, rest) = bytes[RECORD..].split_at(bucket_length);
    let (path, rest) = rest.split_at(path_length);
    let record = Record {
        kind,
        flags: bytes[13],
        revision: Revision(u64_at(bytes, 16)),
        written: Timestamp(u64_at(bytes, 24) as i64),
        previous: Revision(u64_at(bytes, 32)),
        synced: u64_at(bytes, 40),
        chain: Chain(u32_at(bytes, 8)),
        bucket: std::str::from_utf8(bucket).ok()?,
        path: std::str::from_utf8(path).ok()?,
        value: &rest[..value_length],
    };
    Some(Parsed { record, length, crc })
}

/// Over everything but the checksum itself.
fn checksum(record: &[u8], id: FileId) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(id.seed(), &record[..4]), &record[8..])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: &[u8]) -> Record<'_> {
        Record {
            kind: RecordKind::Put,
            flags: 0,
            revision: Revision(7),
            written: Timestamp(-5),
            previous: Revision(3),
            synced: 1024,
            chain: Chain(99),
            bucket: "pods",
            path: "default\0web",
            value,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let id = FileId::main(3);
        for size in 0..20 {
            let value = vec![b'x'; size];
            let mut bytes = Vec::new();
            let crc = sample(&value).encode(id, &mut bytes);
            let length = bytes.len();
            bytes.extend_from_slice(&[0xff; 16]);
            let parsed = parse(&bytes, id).expect("whole");
            assert_eq!((parsed.record, parsed.length, parsed.crc), (sample(&value), length, crc));
        }
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_not_a_record() {
        let id = FileId::main(3);
        let mut bytes = Vec::new();
        sample(b"some value").encode(id, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes, id).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(parse(&bytes, id).is_some());
        assert!(parse(&bytes, FileId::main(4)).is_none(), "a record of another file");
        assert!(parse(&bytes, FileId::kept(3)).is_none(), "a record of another kind of file");
        assert!(parse(&bytes[..bytes.len() - 1], id).is_none(), "a record that is cut off");
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_a_newer_one_is_named() {
        let id = FileId::kept(12);
        let header =
            FileHeader { id, chain: Chain(5), base: Revision(17), previous_end: 4711, written: Timestamp(1) };
        let mut bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER);
        assert_eq!(FileHeader::decode(&bytes, id), HeaderFound::Valid(header));
        assert_eq!(FileHeader::decode(&bytes, FileId::kept(13)), HeaderFound::Nothing);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bytes, id), HeaderFound::Nothing, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes[8] = 3;
        let end = bytes.len() - 4;
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes, id), HeaderFound::Newer(3));
    }

    #[test]
    fn names_of_files_are_read_back_and_others_are_not() {
        for id in [FileId::main(1), FileId::kept(99_999_999)] {
            assert_eq!(FileId::from_name(&id.name()), Some(id));
        }
        for name in ["main-1.log", "main-00000001.tmp", "other-00000001.log", "LOCK", "index"] {
            assert_eq!(FileId::from_name(name), None);
        }
    }
}
