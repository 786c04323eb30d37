//! The log's files: which there are, and reading records from them.
//!
//! The table is shared by the committer (which appends to the newest main file), the keeper (which adds and removes
//! files) and readers of the past. Read on: [`crate::log::format`] for what is inside.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, File, Open, read_full};
use crate::key::Revision;
use crate::log::format::{Chain, FileHeader, FileId, HEADER, Parsed, RECORD, RecordKind, parse, u32_at};

/// A file of writes.
#[derive(Clone)]
pub(crate) struct MainFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: FileHeader,
    /// The newest revision in it, or before it.
    pub(crate) last: Revision,
    /// Where its records end.
    pub(crate) end: u64,
    /// Bytes on the disk.
    pub(crate) size: u64,
    pub(crate) offsets: Arc<Mutex<Offsets>>,
}

/// Where some of the revisions of a file stand, one for each stretch of it.
#[derive(Default)]
pub(crate) struct Offsets {
    known: BTreeMap<Revision, u64>,
    newest: u64,
    /// Whether they reach from the beginning to the end of the file: of files from before this start nothing is
    /// known until somebody asks.
    pub(crate) complete: bool,
}

/// Bytes from one known offset to the next: what is read to find one record.
const STRETCH: u64 = 32 << 10;

impl Offsets {
    pub(crate) fn complete() -> Arc<Mutex<Offsets>> {
        Arc::new(Mutex::new(Offsets { complete: true, ..Offsets::default() }))
    }

    /// Takes note of a record.
    pub(crate) fn note(&mut self, revision: Revision, offset: u64) {
        if self.known.is_empty() || offset >= self.newest + STRETCH {
            self.known.insert(revision, offset);
            self.newest = offset;
        }
    }

    fn before(&self, revision: Revision) -> u64 {
        self.known.range(..=revision).next_back().map_or(HEADER, |(_, offset)| *offset)
    }
}

impl MainFile {
    /// A reader that begins at a revision, or shortly before it.
    pub(crate) fn reader_at(&self, revision: Revision) -> io::Result<Reader> {
        let id = self.header.id;
        let mut offsets = self.offsets.lock();
        if !offsets.complete {
            let mut found = Offsets { complete: true, ..Offsets::default() };
            let mut reader = Reader::new(id, self.file.clone(), HEADER, self.end, None);
            while let Some((offset, parsed)) = reader.next()? {
                if parsed.record.kind != RecordKind::Mark {
                    found.note(parsed.record.revision, offset);
                }
            }
            *offsets = found;
        }
        let start = offsets.before(revision);
        Ok(Reader::with_slice(id, self.file.clone(), start, self.end, STRETCH as usize * 2))
    }
}

/// A file of records that were copied forward.
#[derive(Clone)]
pub(crate) struct KeptFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) end: u64,
    /// Bytes of records that are needed; none while nobody has counted.
    pub(crate) needed: Option<u64>,
}

/// All files, oldest first.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) main: BTreeMap<u32, MainFile>,
    pub(crate) kept: BTreeMap<u32, KeptFile>,
}

impl Table {
    /// The oldest revision whose state is still known.
    pub(crate) fn compacted(&self) -> Revision {
        self.main.first_key_value().map_or(Revision::FIRST, |(_, file)| file.header.base)
    }

    /// The file that a revision stands in, if it is one of writes.
    pub(crate) fn main_of(&self, revision: Revision) -> Option<&MainFile> {
        self.main.values().rev().find(|file| file.header.base < revision).filter(|file| revision <= file.last)
    }

    /// The open file, and where its records end.
    pub(crate) fn file(&self, id: FileId) -> Option<(Arc<dyn File>, u64)> {
        match id.kind {
            super::format::FileKind::Main => {
                self.main.get(&id.number).map(|file| (file.file.clone(), file.end))
            }
            super::format::FileKind::Kept => {
                self.kept.get(&id.number).map(|file| (file.file.clone(), file.end))
            }
        }
    }

    pub(crate) fn main_bytes(&self) -> u64 {
        self.main.values().map(|file| file.size).sum()
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept.values().map(|file| file.end).sum()
    }
}

/// The directory with its files.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) table: Mutex<Table>,
}

impl Files {
    pub(crate) fn path(&self, id: FileId) -> PathBuf {
        self.dir.join(id.name())
    }

    /// Makes an empty file of this size, safe on the disk: its writes will not need space nor its name a sync.
    pub(crate) fn create_blank(&self, id: FileId, size: u64) -> io::Result<Arc<dyn File>> {
        let path = self.path(id);
        let file = self.disk.open(&path, Open::New)?;
        let made =
            file.allocate(size).and_then(|()| file.sync()).and_then(|()| self.disk.sync_dir(&self.dir));
        match made {
            Ok(()) => Ok(file),
            Err(error) => {
                drop(file);
                // If this fails too, the next start removes the file.
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }
}

/// Bytes read from a file at once.
const SLICE: usize = 256 << 10;

/// Reads the records of a file one after the other, some at a time.
pub(crate) struct Reader {
    id: FileId,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    /// Bytes of the buffer that are given out already.
    used: usize,
    end: u64,
    chain: Option<Chain>,
    slice: usize,
}

impl Reader {
    /// Reads from an offset up to `end`. With a chain, only records that continue it are whole.
    pub(crate) fn new(id: FileId, file: Arc<dyn File>, from: u64, end: u64, chain: Option<Chain>) -> Reader {
        Reader { id, file, buffer: Vec::new(), base: from, used: 0, end, chain, slice: SLICE }
    }

    /// Reads so many bytes at once.
    fn with_slice(id: FileId, file: Arc<dyn File>, from: u64, end: u64, slice: usize) -> Reader {
        Reader { slice, ..Reader::new(id, file, from, end, None) }
    }

    /// Where the next record begins.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.used as u64
    }

    /// What the next record must continue.
    pub(crate) fn chain(&self) -> Option<Chain> {
        self.chain
    }

    /// The next record and its offset; none where the next bytes are not a whole record.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Parsed<'_>)>> {
        if !self.have(RECORD)? {
            return Ok(None);
        }
        let length = u32_at(&self.buffer[self.used..], 0) as usize;
        if length < RECORD || !self.have(length)? {
            return Ok(None);
        }
        let offset = self.offset();
        let Some(parsed) = parse(&self.buffer[self.used..self.used + length], self.id) else {
            return Ok(None);
        };
        if let Some(chain) = &mut self.chain {
            if parsed.record.chain != *chain {
                return Ok(None);
            }
            *chain = chain.after(parsed.crc);
        }
        self.used += parsed.length;
        Ok(Some((offset, parsed)))
    }

    /// Makes so many bytes ready behind the used ones, if the file has them.
    fn have(&mut self, count: usize) -> io::Result<bool> {
        let ready = self.buffer.len() - self.used;
        if ready >= count {
            return Ok(true);
        }
        if self.offset() + count as u64 > self.end {
            return Ok(false);
        }
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        let left = self.end - self.base - ready as u64;
        let more = left.min(count.max(self.slice) as u64) as usize;
        self.buffer.resize(ready + more, 0);
        let read = read_full(&*self.file, &mut self.buffer[ready..], self.base + ready as u64)?;
        self.buffer.truncate(ready + read);
        Ok(self.buffer.len() >= count)
    }
}

/// Looks behind an offset, where no whole record begins, for a later record that says that this place was safe.
/// If there is one, something that was acknowledged is damaged; if not, the place was on its way when power went.
pub(crate) fn was_safe(id: FileId, file: &dyn File, offset: u64, size: u64) -> io::Result<bool> {
    let start = offset.max(HEADER);
    let mut bytes = vec![0; size.saturating_sub(start) as usize];
    let read = read_full(file, &mut bytes, start)?;
    bytes.truncate(read);
    let mut at = 0;
    while at + RECORD <= bytes.len() {
        if bytes[at..at + 8] == [0; 8] {
            at += 8;
            continue;
        }
        if parse(&bytes[at..], id).is_some_and(|parsed| parsed.record.synced > offset) {
            return Ok(true);
        }
        at += 8;
    }
    Ok(false)
}

/// Whether anything but zeros stands from an offset on.
pub(crate) fn first_nonzero(file: &dyn File, offset: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let mut buffer = vec![0; SLICE];
    let mut at = offset;
    let mut found: Option<(u64, u64)> = None;
    while at < size {
        let count = buffer.len().min((size - at) as usize);
        let read = read_full(file, &mut buffer[..count], at)?;
        if read == 0 {
            break;
        }
        if let Some(first) = buffer[..read].iter().position(|byte| *byte != 0) {
            let last = buffer[..read].iter().rposition(|byte| *byte != 0).unwrap_or(first);
            let start = found.map_or(at + first as u64, |(start, _)| start);
            found = Some((start, at + last as u64 + 1));
        }
        at += read as u64;
    }
    Ok(found)
}

/// Whether a name in the directory is a leftover of something unfinished.
pub(crate) fn is_leftover(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}
