//! Trimming: the oldest files go when there are more than the budget, and what is still needed of them is copied.
//!
//! A file of writes is read from its beginning, some at a time. A version is needed when it is the newest of its key,
//! or when the version that replaced it is newer than the file: then it belongs to a state that can still be read.
//! A deletion is needed while an older version of the key may stand in a file of copies: without it, making the index
//! anew would bring the key back. What is needed goes to a new file of copies, which gets its name when it is whole
//! and safe; then the old file is removed, and then the index is changed. A crash in between leaves an index that
//! does not fit, and it is made anew.
//!
//! Files of copies are collected the same way, oldest first, once they hold much more than what is live.
//! Read on: [`crate::log::keeper`] for when.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::disk::{File, Open, is_full, write_full};
use crate::key::{Key, Revision, Timestamp};
use crate::log::Names;
use crate::log::files::{KeptFile, Reader};
use crate::log::format::{Chain, FileHeader, FileId, FileKind, HEADER, Record, RecordKind};
use crate::log::index::{Index, IndexError, Place, Update, Version};
use crate::log::keeper::Keeper;

/// Why nothing was trimmed. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrimError {
    #[error("the disk failed")]
    Io(#[from] io::Error),
    #[error("the index cannot be used")]
    Index(#[from] IndexError),
}

/// Bytes of copies that are written at once.
const SLICE: usize = 256 << 10;

impl Keeper {
    /// Trims until the files are within the budget.
    pub(crate) fn trim(&self) -> Result<(), TrimError> {
        loop {
            let oldest = {
                let table = self.files.table.lock();
                let over = table.main_bytes() > self.options.history_bytes && table.main.len() > 2;
                over.then(|| table.main.first_key_value().map(|(number, _)| FileId::main(*number))).flatten()
            };
            match oldest {
                Some(id) => self.trim_file(id)?,
                None => break,
            }
        }
        self.count_needed()?;
        loop {
            let oldest = {
                let table = self.files.table.lock();
                let needed: u64 = table.kept.values().filter_map(|file| file.needed).sum();
                let over = table.kept_bytes() > needed + needed / 2 + 2 * self.options.segment_bytes;
                over.then(|| table.kept.first_key_value().map(|(number, _)| FileId::kept(*number))).flatten()
            };
            match oldest {
                Some(id) => self.trim_file(id)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Counts what is needed of files of copies that were there at start-up.
    fn count_needed(&self) -> Result<(), TrimError> {
        let known = self.files.table.lock().kept.values().all(|file| file.needed.is_some());
        if known {
            return Ok(());
        }
        let mut needed: HashMap<u32, u64> = HashMap::new();
        let index = self.index()?;
        index.scan(|_, _, version| {
            if version.place.file.kind == FileKind::Kept {
                *needed.entry(version.place.file.number).or_default() += u64::from(version.place.length);
            }
        })?;
        for (number, file) in &mut self.files.table.lock().kept {
            file.needed = Some(needed.get(number).copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Copies what is needed of the oldest file of its kind, and removes it.
    fn trim_file(&self, id: FileId) -> Result<(), TrimError> {
        let (file, end, last) = {
            let table = self.files.table.lock();
            let last = match id.kind {
                FileKind::Main => table.main.get(&id.number).map_or(Revision(0), |file| file.last),
                FileKind::Kept => table.compacted(),
            };
            let Some((file, end)) = table.file(id) else { return Ok(()) };
            (file, end, last)
        };
        // All of the file must be in the index before anything is decided by it.
        drop(self.index()?);
        let mut copies = Copies::new(self);
        let copied = self.copy_needed(id, file, end, last, &mut copies);
        let (keys, copied) = match copied.and_then(|keys| Ok((keys, copies.finish()?))) {
            Ok(done) => done,
            Err(error) => {
                copies.discard();
                return Err(error);
            }
        };
        let mut index = self.index()?;
        let mut needs = Vec::new();
        let mut moved: HashMap<Key, Vec<Revision>> = HashMap::new();
        for update in &copied {
            if let Update::Set(key, version) = update {
                moved.entry(key.clone()).or_default().push(version.revision);
                needs.push((version.place.file, u64::from(version.place.length), 0));
            }
        }
        let mut updates = copied;
        for key in keys.keys() {
            let moved = moved.get(key).map_or(&[][..], Vec::as_slice);
            for version in unneeded(&index, key, last, id, moved)? {
                if version.place.file.kind == FileKind::Kept {
                    needs.push((version.place.file, 0, u64::from(version.place.length)));
                }
                updates.push(Update::Remove(key.clone(), version.revision));
            }
        }
        self.files.disk.remove(&self.files.path(id))?;
        {
            let mut table = self.files.table.lock();
            match id.kind {
                FileKind::Main => table.main.remove(&id.number).map(drop),
                FileKind::Kept => table.kept.remove(&id.number).map(drop),
            };
            for (file, more, less) in needs {
                if let Some(needed) = table.kept.get_mut(&file.number).and_then(|file| file.needed.as_mut()) {
                    *needed = (*needed + more).saturating_sub(less);
                }
            }
        }
        // The name is gone for us, whether that is safe or not.
        let safe = self.files.disk.sync_dir(&self.files.dir);
        if let Some(position) = index.position()? {
            index.apply(&updates, position)?;
            index.checkpoint()?;
        }
        Ok(safe?)
    }

    /// Gives the keys that the file names.
    fn copy_needed(
        &self,
        id: FileId,
        file: Arc<dyn File>,
        end: u64,
        last: Revision,
        copies: &mut Copies<'_>,
    ) -> Result<HashMap<Key, bool>, TrimError> {
        let mut names = Names::default();
        // For each key whether its life began in this file: then no older version of it stands anywhere.
        let mut born: HashMap<Key, bool> = HashMap::new();
        let mut reader = Reader::new(id, file, HEADER, end, None);
        while let Some((_, parsed)) = reader.next()? {
            let record = parsed.record;
            if record.kind == RecordKind::Mark {
                continue;
            }
            let Some(key) = names.key(record.bucket, record.path) else { continue };
            let born_here = *born.entry(key.clone()).or_insert(record.previous == Revision(0));
            let versions = self.index_as_it_is().versions(&key)?;
            let here = versions.iter().find(|version| version.revision == record.revision);
            let successor = versions.iter().find(|version| version.revision > record.revision);
            let replaced = successor.is_some_and(|version| version.revision <= last);
            let needed = match (record.kind, id.kind) {
                (RecordKind::Put, _) => here.is_some_and(|version| version.place.file == id) && !replaced,
                (RecordKind::Delete, FileKind::Main) => !replaced && !born_here,
                // What it hides stood in this file or in an older one.
                (RecordKind::Delete, FileKind::Kept) | (RecordKind::Mark, _) => false,
            };
            if needed {
                copies.add(key, &record)?;
            }
        }
        if reader.offset() != end {
            let reason = format!("{} is damaged at offset {}", id.name(), reader.offset());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason).into());
        }
        Ok(born)
    }
}

/// The versions of a key that no state needs that can still be read, and those that went with a file.
fn unneeded(
    index: &Index,
    key: &Key,
    last: Revision,
    gone: FileId,
    moved: &[Revision],
) -> Result<Vec<Version>, IndexError> {
    let versions = index.versions(key)?;
    let needed = |number: usize, version: &Version| {
        let replaced = versions.get(number + 1).is_some_and(|next| next.revision <= last);
        let deleted = version.place.kind == RecordKind::Delete && version.revision <= last;
        let lost = version.place.file == gone && !moved.contains(&version.revision);
        !(replaced || deleted || lost)
    };
    let unneeded = versions.iter().enumerate().filter(|(number, version)| !needed(*number, version));
    Ok(unneeded.map(|(_, version)| version.clone()).collect())
}

/// A file of copies while it is written.
struct Copies<'a> {
    keeper: &'a Keeper,
    id: FileId,
    file: Option<Arc<dyn File>>,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    offset: u64,
    chain: Chain,
    newest: (Revision, Timestamp),
    updates: Vec<Update>,
}

impl<'a> Copies<'a> {
    fn new(keeper: &'a Keeper) -> Copies<'a> {
        let newest = keeper.files.table.lock().kept.last_key_value().map_or(0, |(number, _)| *number);
        Copies {
            keeper,
            id: FileId::kept(newest + 1),
            file: None,
            buffer: Vec::new(),
            offset: 0,
            chain: Chain::default(),
            newest: Default::default(),
            updates: Vec::new(),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.keeper.files.dir.join(format!("{}.tmp", self.id.name()))
    }

    fn add(&mut self, key: Key, record: &Record<'_>) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.keeper.files.disk.open(&self.path(), Open::New)?);
            let header = FileHeader {
                id: self.id,
                chain: Chain::default(),
                base: Revision(0),
                previous_end: 0,
                written: record.written,
            };
            self.buffer = header.encode();
        }
        let start = self.offset + self.buffer.len() as u64;
        let copy = Record { synced: 0, chain: self.chain, ..*record };
        let crc = copy.encode(self.id, &mut self.buffer);
        self.chain = self.chain.after(crc);
        self.newest = (record.revision, record.written);
        let length = (self.offset + self.buffer.len() as u64 - start) as u32;
        if record.kind == RecordKind::Put {
            let place = Place { kind: record.kind, file: self.id, offset: start as u32, length };
            self.updates.push(Update::Set(key, Version { revision: record.revision, place }));
        }
        if self.buffer.len() >= SLICE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            write_full(&**file, &self.buffer, self.offset)?;
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes the file whole and safe, and gives it its name. Gives what changes in the index.
    fn finish(&mut self) -> io::Result<Vec<Update>> {
        if self.file.is_none() {
            return Ok(Vec::new());
        }
        Record::mark(self.newest.0, self.newest.1, 0, self.chain).encode(self.id, &mut self.buffer);
        self.flush()?;
        let files = &self.keeper.files;
        if let Some(file) = &self.file {
            file.sync()?;
            files.disk.rename(&self.path(), &files.path(self.id))?;
            files.disk.sync_dir(&files.dir)?;
            let kept = KeptFile { file: file.clone(), end: self.offset, needed: Some(0) };
            files.table.lock().kept.insert(self.id.number, kept);
        }
        Ok(std::mem::take(&mut self.updates))
    }

    /// Removes what was written of the file.
    fn discard(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = self.keeper.files.disk.remove(&self.path())
            && error.kind() != io::ErrorKind::NotFound
            && !is_full(&error)
        {
            tracing::debug!(%error, "a file of copies is left over: the next start removes it");
        }
    }
}
