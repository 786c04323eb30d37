//! Reads a backup and checks it on the way: nothing is given out that its checksum or its chain does not vouch for.

use std::io::{self, Read};

use super::{ID, RestoreError};
use crate::key::Key;
use crate::log::format::{
    AUTHORED, Chain, FileHeader, HEADER, HeaderFound, RECORD, Record, RecordKind, parse, u32_at,
};
use crate::store::MAX_VALUE;

/// A backup that is being read.
pub(super) struct Checked<R> {
    backup: R,
    /// What it says of itself.
    pub(super) header: FileHeader,
    chain: Chain,
    /// Where the next record begins.
    start: u64,
    bytes: Vec<u8>,
}

/// What comes next.
pub(super) enum Item<'b> {
    /// An object and its record.
    Object(Key, Record<'b>),
    /// The mark at the end, after which there is nothing.
    End(Record<'b>),
}

impl<R: Read> Checked<R> {
    /// Reads the header.
    pub(super) fn open(mut backup: R) -> Result<Self, RestoreError> {
        let mut bytes = vec![0; HEADER as usize];
        fill(&mut backup, &mut bytes, 0)?;
        match FileHeader::decode(&bytes, ID) {
            HeaderFound::Valid(header) => {
                Ok(Self { backup, header, chain: Chain::default(), start: HEADER, bytes })
            }
            HeaderFound::Newer(found) => Err(RestoreError::NewerFormat { found }),
            HeaderFound::Nothing => Err(RestoreError::Damaged { offset: 0 }),
        }
    }

    /// Reads the next record. Not to be called after the end.
    pub(super) fn next(&mut self) -> Result<Item<'_>, RestoreError> {
        let start = self.start;
        let damaged = || RestoreError::Damaged { offset: start };
        self.bytes.resize(RECORD, 0);
        fill(&mut self.backup, &mut self.bytes, start)?;
        let length = u32_at(&self.bytes, 0) as usize;
        if !(RECORD..=MAX_VALUE + (16 << 10)).contains(&length) {
            return Err(damaged());
        }
        self.bytes.resize(length, 0);
        fill(&mut self.backup, &mut self.bytes[RECORD..], start)?;
        let parsed = parse(&self.bytes, ID).filter(|parsed| parsed.record.chain == self.chain);
        let parsed = parsed.ok_or_else(damaged)?;
        self.chain = self.chain.after(parsed.crc);
        self.start += length as u64;
        let record = parsed.record;
        if record.kind == RecordKind::Mark {
            if self.backup.read(&mut [0])? != 0 {
                return Err(RestoreError::Damaged { offset: self.start });
            }
            return Ok(Item::End(record));
        }
        let key = Key::from_path(record.bucket.into(), record.path);
        let key = key.filter(|_| record.revision <= self.header.base && record.flags & !AUTHORED == 0);
        Ok(Item::Object(key.ok_or_else(damaged)?, record))
    }
}

/// Reads exactly so much; a stream that ends too early is damaged.
fn fill(backup: &mut impl Read, bytes: &mut [u8], offset: u64) -> Result<(), RestoreError> {
    backup.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => RestoreError::Damaged { offset },
        _ => RestoreError::Io(error),
    })
}
