//! Trimming: the oldest files go when there are more than the budget, and what is still needed of them is copied.
//!
//! Some files of writes are trimmed together, the fewer copies for it: of each key the newest version in them is
//! needed, since it belongs to the oldest state that can still be read. A deletion is needed while an older version of
//! the key may stand in a file of copies: without it, making the index anew would bring the key back. What is needed
//! goes to a new file of copies, which gets its name when it is whole and safe; then the old files are removed, and
//! then the index is changed. A crash in between leaves an index that does not fit, and it is made anew.
//!
//! Files of copies are collected the same way, oldest first, once they hold much more than what is needed.
//! Read on: [`crate::log::keeper`] for when.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{File, Open, is_full, read_full, write_full};
use crate::key::{Key, Revision, Timestamp};
use crate::log::Names;
use crate::log::files::{KeptFile, MainFile, Reader};
use crate::log::format::{Chain, FileHeader, FileId, FileKind, HEADER, Parsed, Record, RecordKind, parse};
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
        if self.stale.load(Ordering::Acquire) {
            return Ok(());
        }
        let batch = self.over_budget();
        if !batch.is_empty() {
            self.trim_main(&batch)?;
        }
        self.count_needed()?;
        // Each file is looked at once: what is made meanwhile has a higher number.
        let newest = self.files.table.lock().kept.last_key_value().map_or(0, |(number, _)| *number);
        loop {
            let batch = self.over_needed(newest);
            if batch.is_empty() {
                return Ok(());
            }
            self.trim_kept(&batch)?;
        }
    }

    /// The oldest files of copies below a number, if they hold much that is not needed.
    fn over_needed(&self, below: u32) -> Vec<FileId> {
        let table = self.files.table.lock();
        let needed: u64 = table.kept.values().filter_map(|file| file.needed).sum();
        let most = 4 * self.options.segment_bytes;
        let mut batch = Vec::new();
        if table.kept_bytes() > needed + needed / 2 + 2 * self.options.segment_bytes {
            let mut bytes = 0;
            for (number, file) in table.kept.range(..below) {
                bytes += file.end;
                if bytes > most && !batch.is_empty() {
                    break;
                }
                batch.push(FileId::kept(*number));
            }
        }
        batch
    }

    /// The oldest files of writes, if there are more than the budget: so many that some time passes until the next.
    fn over_budget(&self) -> Vec<MainFile> {
        let budget = self.options.history_bytes;
        let table = self.files.table.lock();
        let mut left = table.main_bytes();
        let mut batch = Vec::new();
        if left > budget {
            let most = table.main.len().saturating_sub(2);
            for file in table.main.values().take(most) {
                if left <= budget - budget / 8 {
                    break;
                }
                left -= file.size;
                batch.push(file.clone());
            }
        }
        batch
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

    fn trim_main(&self, batch: &[MainFile]) -> Result<(), TrimError> {
        let Some(last) = batch.last().map(|file| file.last) else { return Ok(()) };
        let newest = newest_versions(batch)?;
        let mut needed: Vec<(&Key, &Seen)> = newest
            .iter()
            .filter(|(_, seen)| match seen.version.place.kind {
                RecordKind::Put => true,
                // One whose life began here hides nothing older.
                RecordKind::Delete => !seen.born_here,
                RecordKind::Mark => false,
            })
            .collect();
        needed.sort_by_key(|(_, seen)| (seen.version.place.file, seen.version.place.offset));
        let copied = self.copy(last, |copies| {
            // Even if nothing is needed: the file says that the history begins here now, whatever is removed when.
            copies.begin()?;
            for (key, seen) in needed {
                let place = seen.version.place;
                let file = batch.iter().find(|file| file.header.id == place.file);
                let mut bytes = vec![0; place.length as usize];
                if let Some(file) = file {
                    read_full(&*file.file, &mut bytes, u64::from(place.offset))?;
                }
                match parse(&bytes, place.file) {
                    Some(parsed) => copies.add(key.clone(), &parsed.record)?,
                    None => return Err(damaged(place.file, u64::from(place.offset))),
                }
            }
            Ok(())
        })?;
        let mut index = self.index()?;
        let mut change = IndexChange::new(copied);
        for key in newest.keys() {
            for version in index.versions(key)? {
                if version.revision <= last {
                    change.remove(key, &version);
                }
            }
        }
        let gone: Vec<_> = batch.iter().map(|file| file.header.id).collect();
        self.switch(&mut index, &gone, change)
    }

    /// Copies what is needed of the oldest files of copies, and removes them.
    fn trim_kept(&self, batch: &[FileId]) -> Result<(), TrimError> {
        let mut names = Names::default();
        let compacted = self.compacted();
        let copied = self.copy(compacted, |copies| {
            for id in batch {
                let Some((file, end)) = self.files.table.lock().file(*id) else { continue };
                let mut reader = Reader::new(*id, file, HEADER, end, None);
                while let Some((_, parsed)) = reader.next()? {
                    let record = parsed.record;
                    // What a deletion here hides stood in this file or in an older one.
                    if record.kind != RecordKind::Put {
                        continue;
                    }
                    let Some(key) = names.key(record.bucket, record.path) else { continue };
                    let versions = self.index()?.versions(&key)?;
                    let here =
                        |version: &Version| version.revision == record.revision && version.place.file == *id;
                    if versions.iter().any(here) {
                        copies.add(key, &record)?;
                    }
                }
                if reader.offset() != end {
                    return Err(damaged(*id, reader.offset()));
                }
            }
            Ok(())
        })?;
        let mut index = self.index()?;
        self.switch(&mut index, batch, IndexChange::new(copied))
    }

    /// Makes a file of copies. Gives what it holds.
    fn copy(
        &self,
        compacted: Revision,
        fill: impl FnOnce(&mut Copies<'_>) -> Result<(), TrimError>,
    ) -> Result<Vec<(Key, Version)>, TrimError> {
        let mut copies = Copies::new(self, compacted);
        let done = fill(&mut copies).and_then(|()| Ok(copies.finish()?));
        if done.is_err() {
            copies.discard();
        }
        done
    }

    /// Removes files and changes the index to what is left.
    fn switch(&self, index: &mut Index, gone: &[FileId], change: IndexChange) -> Result<(), TrimError> {
        let removed = gone.iter().try_for_each(|id| {
            self.files.disk.remove(&self.files.path(*id))?;
            let mut table = self.files.table.lock();
            match id.kind {
                FileKind::Main => table.main.remove(&id.number).map(drop),
                FileKind::Kept => table.kept.remove(&id.number).map(drop),
            };
            Ok::<(), io::Error>(())
        });
        let removed = removed.and_then(|()| self.files.disk.sync_dir(&self.files.dir));
        if let Err(error) = removed {
            // Which files are there and which the index knows may differ now.
            self.stale.store(true, Ordering::Release);
            index.invalidate()?;
            return Err(error.into());
        }
        {
            let mut table = self.files.table.lock();
            for (number, (more, less)) in change.needs {
                if let Some(needed) = table.kept.get_mut(&number).and_then(|file| file.needed.as_mut()) {
                    *needed = (*needed + more).saturating_sub(less);
                }
            }
        }
        if let Some(position) = index.position()? {
            index.compacted = self.compacted();
            index.apply(&change.updates, position)?;
            index.checkpoint()?;
        }
        Ok(())
    }
}

fn damaged(id: FileId, offset: u64) -> TrimError {
    let reason = format!("{} is damaged at offset {offset}", id.name());
    io::Error::new(io::ErrorKind::InvalidData, reason).into()
}

/// The newest version of a key in some files of writes.
struct Seen {
    version: Version,
    /// Whether the first version of the key in these files had none before it.
    born_here: bool,
}

fn newest_versions(batch: &[MainFile]) -> Result<HashMap<Key, Seen>, TrimError> {
    let mut names = Names::default();
    let mut newest: HashMap<Key, Seen> = HashMap::new();
    for file in batch {
        let id = file.header.id;
        let mut reader = Reader::new(id, file.file.clone(), HEADER, file.end, None);
        while let Some((offset, parsed)) = reader.next()? {
            let Parsed { record, length, .. } = parsed;
            if record.kind == RecordKind::Mark {
                continue;
            }
            let Some(key) = names.key(record.bucket, record.path) else { continue };
            let place = Place { kind: record.kind, file: id, offset: offset as u32, length: length as u32 };
            let version = Version { revision: record.revision, place };
            match newest.entry(key) {
                Entry::Occupied(mut seen) => seen.get_mut().version = version,
                Entry::Vacant(vacant) => {
                    vacant.insert(Seen { version, born_here: record.previous == Revision(0) });
                }
            }
        }
        if reader.offset() != file.end {
            return Err(damaged(id, reader.offset()));
        }
    }
    Ok(newest)
}

/// How the index changes, and what is needed then of each file of copies: bytes more, bytes less.
struct IndexChange {
    updates: Vec<Update>,
    moved: HashSet<Revision>,
    needs: HashMap<u32, (u64, u64)>,
}

impl IndexChange {
    fn new(copied: Vec<(Key, Version)>) -> IndexChange {
        let mut change = IndexChange { updates: Vec::new(), moved: HashSet::new(), needs: HashMap::new() };
        for (key, version) in copied {
            change.moved.insert(version.revision);
            change.needs.entry(version.place.file.number).or_default().0 += u64::from(version.place.length);
            change.updates.push(Update::Set(key, version));
        }
        change
    }

    fn remove(&mut self, key: &Key, version: &Version) {
        if self.moved.contains(&version.revision) {
            return;
        }
        if version.place.file.kind == FileKind::Kept {
            self.needs.entry(version.place.file.number).or_default().1 += u64::from(version.place.length);
        }
        self.updates.push(Update::Remove(key.clone(), version.revision));
    }
}

/// A file of copies while it is written.
struct Copies<'a> {
    keeper: &'a Keeper,
    /// Where the history begins once this file has its name.
    compacted: Revision,
    id: FileId,
    file: Option<Arc<dyn File>>,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    offset: u64,
    chain: Chain,
    newest: (Revision, Timestamp),
    copied: Vec<(Key, Version)>,
}

impl<'a> Copies<'a> {
    fn new(keeper: &'a Keeper, compacted: Revision) -> Copies<'a> {
        let newest = keeper.files.table.lock().kept.last_key_value().map_or(0, |(number, _)| *number);
        Copies {
            keeper,
            compacted,
            id: FileId::kept(newest + 1),
            file: None,
            buffer: Vec::new(),
            offset: 0,
            chain: Chain::default(),
            newest: Default::default(),
            copied: Vec::new(),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.keeper.files.dir.join(format!("{}.tmp", self.id.name()))
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file = Some(self.keeper.files.disk.open(&self.path(), Open::New)?);
        let header = FileHeader {
            id: self.id,
            chain: Chain::default(),
            base: self.compacted,
            previous_end: 0,
            written: Timestamp::default(),
        };
        self.buffer = header.encode();
        Ok(())
    }

    fn add(&mut self, key: Key, record: &Record<'_>) -> io::Result<()> {
        if self.file.is_none() {
            self.begin()?;
        }
        let start = self.offset + self.buffer.len() as u64;
        let copy = Record { synced: 0, chain: self.chain, ..*record };
        let crc = copy.encode(self.id, &mut self.buffer);
        self.chain = self.chain.after(crc);
        self.newest = (record.revision, record.written);
        let length = (self.offset + self.buffer.len() as u64 - start) as u32;
        if record.kind == RecordKind::Put {
            let place = Place { kind: record.kind, file: self.id, offset: start as u32, length };
            self.copied.push((key, Version { revision: record.revision, place }));
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

    /// Makes the file whole and safe, and gives it its name. Gives the versions in it.
    fn finish(&mut self) -> io::Result<Vec<(Key, Version)>> {
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
        Ok(std::mem::take(&mut self.copied))
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
