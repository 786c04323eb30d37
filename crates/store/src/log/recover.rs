//! Start-up: from the files to the newest state.
//!
//! With an index that fits to the log, only the live records are read, and what the log has beyond the index.
//! Without one, every record is read and the index made anew. Either way the newest file is walked to its end:
//! - the first record that is not whole ends the log, if no later record says that the place was safe. It was on its
//!   way when power went and nobody was told that it is done: it is cut off, with all behind it;
//! - otherwise it was safe and is damaged: [`OpenError::Damaged`] names the file and the offset. Nothing behind it is
//!   ever served, since what is missing might be what it says.
//!
//! Read on: [`crate::log::committer`] for what goes on from here.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::author::{self, Author};
use crate::disk::{Disk, Open, read_full, write_full};
use crate::entry::{Entry, Extract, Extracted};
use crate::key::{Key, Revision, Timestamp};
use crate::log::files::{Files, KeptFile, MainFile, Reader, Table, first_nonzero, is_leftover, was_safe};
use crate::log::format::{
    Chain, FileHeader, FileId, FileKind, HEADER, HeaderFound, Record, RecordKind, SEALED, VERSION, parse,
};
use crate::log::index::{Index, IndexError, Place, Position, Update, Version};
use crate::log::{LogOptions, Names};
use crate::seal::{self, Seal, SealError};
use crate::state::State;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer build wrote the file.
    #[error("{} has format {found}, this build reads up to {VERSION}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// The format that it has.
        found: u32,
    },
    /// Something that was acknowledged is damaged or missing. Nothing is served; restore a backup.
    #[error("{} is damaged at offset {offset}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// A live value cannot be decrypted.
    #[error("{key} cannot be decrypted")]
    Sealed {
        /// The object.
        key: Key,
        /// Why.
        #[source]
        source: SealError,
    },
    /// etcd cannot be used.
    #[error("cannot open the store in etcd")]
    Etcd(#[from] crate::etcd::EtcdError),
    /// The disk failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// How it failed.
        #[source]
        source: io::Error,
    },
}

/// What start-up finds.
pub(crate) struct Recovered {
    pub(crate) files: Arc<Files>,
    pub(crate) index: Index,
    pub(crate) state: State,
    /// Where the next record goes.
    pub(crate) tail: Tail,
    /// What the log has and the index not yet.
    pub(crate) unindexed: Option<(Vec<(Key, Version)>, Position)>,
    pub(crate) lock: Box<dyn Send + Sync>,
}

/// The end of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) id: FileId,
    pub(crate) end: u64,
    pub(crate) chain: Chain,
    /// Everything before here was safe before this start. What follows may stand in memory only.
    synced: u64,
}

/// The newest version of a key while the log is read.
struct Latest {
    revision: Revision,
    written: Timestamp,
    /// None when the key was deleted.
    value: Option<Bytes>,
    /// How the value stands in the record.
    flags: u8,
    place: Place,
}

const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";
const INDEX_DIR: &str = "index";

/// Size of a fresh store's first file: small, so that the first start does not wait for zeros to be written.
const FIRST_SIZE: u64 = 1 << 20;

pub(crate) fn recover(options: &LogOptions, extract: &Extract) -> Result<Recovered, OpenError> {
    let (disk, dir) = (&options.disk, &options.dir);
    disk.create_dir(dir).map_err(failed("create", dir))?;
    let lock_path = dir.join(LOCK_FILE);
    let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { dir: dir.clone() },
        _ => OpenError::Io { what: "lock", path: lock_path.clone(), source: error },
    })?;
    check_format(&**disk, dir)?;
    let files = Arc::new(Files { disk: disk.clone(), dir: dir.clone(), table: Mutex::new(Table::default()) });
    *files.table.lock() = open_files(&files)?;
    if files.table.lock().main.is_empty() {
        create_first(&files, options)?;
    }
    let mut log = Log::new(&files);
    let index_dir = disk.real_path(&dir.join(INDEX_DIR));
    let (index, tail) = match &index_dir {
        None => log.read_all(Index::in_memory())?,
        Some(index_dir) => match log.load(index_dir) {
            Ok(loaded) => loaded?,
            Err(reason) => {
                tracing::info!(%reason, "making the index of the log anew");
                log = Log::new(&files);
                let index = Index::create(index_dir).unwrap_or_else(|reason| {
                    tracing::warn!(%reason, "the index of the log stays in memory");
                    Index::in_memory()
                });
                log.read_all(index)?
            }
        },
    };
    cut_tail(&files, tail)?;
    let newest = log.newest(tail);
    let unindexed = log.position.map(|position| (log.unindexed, position));
    let state = build_state(log.latest, newest, extract, options.seal.as_ref())?;
    Ok(Recovered { files, index, state, tail, unindexed, lock })
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { what, path: path.to_owned(), source }
}

/// One line that says what the directory is. It matters only when a newer build wrote it: each file has its own.
fn check_format(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(FORMAT_FILE);
    let text = format!("coxswain store format {VERSION}\n");
    match disk.open(&path, Open::Existing) {
        Ok(file) => {
            let mut bytes = [0; 64];
            let read = read_full(&*file, &mut bytes, 0).map_err(failed("read", &path))?;
            let said = std::str::from_utf8(&bytes[..read]).ok().and_then(|said| said.lines().next());
            let found =
                said.and_then(|said| said.strip_prefix("coxswain store format ")?.parse::<u32>().ok());
            match found {
                Some(found) if found > VERSION => return Err(OpenError::NewerFormat { file: path, found }),
                Some(VERSION) => return Ok(()),
                // An older build wrote it, or power went while it was made.
                Some(_) | None => drop(file),
            }
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", &path)(error)),
    }
    let file = disk.open(&path, Open::New).map_err(failed("create", &path))?;
    write_full(&*file, text.as_bytes(), 0).and_then(|()| file.sync()).map_err(failed("write", &path))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

/// Opens all files, checks that none is missing, and removes what was never used.
fn open_files(files: &Files) -> Result<Table, OpenError> {
    let (disk, dir) = (&*files.disk, &files.dir);
    let mut ids = Vec::new();
    for name in disk.list(dir).map_err(failed("list", dir))? {
        if is_leftover(&name) {
            let path = dir.join(&name);
            disk.remove(&path).map_err(failed("remove", &path))?;
        } else if let Some(id) = FileId::from_name(&name) {
            ids.push(id);
        }
    }
    ids.sort();
    let mut table = Table::default();
    let newest = ids.last().copied();
    let mut bases = Vec::new();
    for id in ids {
        let path = files.path(id);
        let file = disk.open(&path, Open::Existing).map_err(failed("open", &path))?;
        let size = file.length().map_err(failed("measure", &path))?;
        let mut bytes = [0; HEADER as usize];
        let read = read_full(&*file, &mut bytes, 0).map_err(failed("read", &path))?;
        let header = match FileHeader::decode(&bytes[..read], id) {
            HeaderFound::Valid(header) => header,
            HeaderFound::Newer(found) => return Err(OpenError::NewerFormat { file: path, found }),
            HeaderFound::Nothing => {
                // The newest main file is made before it is needed. Without a header it was not in use.
                let spare = Some(id) == newest && id.kind == FileKind::Main;
                if !spare || was_safe(id, &*file, 0, size).map_err(failed("read", &path))? {
                    return Err(OpenError::Damaged { file: path, offset: 0 });
                }
                drop(file);
                disk.remove(&path).map_err(failed("remove", &path))?;
                continue;
            }
        };
        match id.kind {
            FileKind::Kept => {
                bases.push(header.base);
                table.kept.insert(id.number, KeptFile { file, end: size, needed: None });
            }
            FileKind::Main => {
                if table.main.last_key_value().is_some_and(|(last, _)| last + 1 != id.number) {
                    let missing = files.path(FileId::main(id.number - 1));
                    return Err(OpenError::Damaged { file: missing, offset: 0 });
                }
                let offsets = Default::default();
                let main = MainFile { file, header, last: header.base, end: HEADER, size, offsets };
                table.main.insert(id.number, main);
            }
        }
    }
    // A file of copies says where the history begins: what is before that was about to be removed.
    let compacted = bases.into_iter().max().unwrap_or_default();
    let starts: Vec<_> = table.main.values().map(|file| file.header.base).collect();
    let trimmed = starts.iter().skip(1).take_while(|base| **base <= compacted).count();
    for _ in 0..trimmed {
        if let Some((number, _)) = table.main.pop_first() {
            let path = files.path(FileId::main(number));
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
    }
    if trimmed > 0 {
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    // Each later header says where the records of the file before it end.
    let ends: Vec<_> = table.main.values().map(|file| (file.header.previous_end, file.header.base)).collect();
    for (file, (end, last)) in table.main.values_mut().zip(ends.into_iter().skip(1)) {
        (file.end, file.last) = (end, last);
    }
    if table.main.is_empty() && !table.kept.is_empty() {
        return Err(OpenError::Damaged { file: files.path(FileId::main(1)), offset: 0 });
    }
    Ok(table)
}

/// The first file of a store that is empty.
fn create_first(files: &Files, options: &LogOptions) -> Result<(), OpenError> {
    let id = FileId::main(1);
    let path = files.path(id);
    let size = FIRST_SIZE.min(options.segment_bytes);
    let file = files.create_blank(id, size).map_err(failed("create", &path))?;
    let header = FileHeader {
        id,
        chain: Chain::default(),
        base: Revision::FIRST,
        previous_end: 0,
        written: Timestamp::default(),
    };
    write_full(&*file, &header.encode(), 0).and_then(|()| file.sync()).map_err(failed("write", &path))?;
    let main = MainFile { file, header, last: header.base, end: HEADER, size, offsets: Default::default() };
    files.table.lock().main.insert(id.number, main);
    Ok(())
}

/// Removes what stands behind the last whole record, and makes safe what stands before it.
fn cut_tail(files: &Files, tail: Tail) -> Result<(), OpenError> {
    let path = files.path(tail.id);
    let mut table = files.table.lock();
    let Some(main) = table.main.get_mut(&tail.id.number) else { return Ok(()) };
    main.end = tail.end;
    let torn = first_nonzero(&*main.file, tail.end, main.size).map_err(failed("read", &path))?;
    if let Some((start, end)) = torn {
        if was_safe(tail.id, &*main.file, tail.end, main.size).map_err(failed("read", &path))? {
            return Err(OpenError::Damaged { file: path, offset: tail.end });
        }
        tracing::warn!(file = %path.display(), offset = tail.end, "cutting off writes that were not acknowledged");
        let zeros = vec![0; (end - start) as usize];
        write_full(&*main.file, &zeros, start).map_err(failed("cut", &path))?;
    }
    // The process before may have been killed, or have seen a sync fail, after it wrote the last group. The system
    // then shows bytes that are not on the disk and that it will not write again by itself.
    let mut last = vec![0; (tail.end - tail.synced) as usize];
    let read = read_full(&*main.file, &mut last, tail.synced).map_err(failed("read", &path))?;
    write_full(&*main.file, &last[..read], tail.synced)
        .and_then(|()| main.file.sync())
        .map_err(failed("make safe", &path))
}

/// The log while it is read.
struct Log {
    files: Arc<Files>,
    compacted: Revision,
    names: Names,
    latest: HashMap<Key, Latest>,
    /// For each key in the files of copies the version that it had when the history begins.
    base: HashMap<Key, Version>,
    /// What the index lacks; of a log that is read as a whole, the deletions only.
    unindexed: Vec<(Key, Version)>,
    whole: bool,
    position: Option<Position>,
}

impl Log {
    fn new(files: &Arc<Files>) -> Log {
        Log {
            files: files.clone(),
            compacted: files.table.lock().compacted(),
            names: Names::default(),
            latest: HashMap::new(),
            base: HashMap::new(),
            unindexed: Vec::new(),
            whole: false,
            position: None,
        }
    }

    /// Reads by the index. The outer error says why the index cannot be used.
    fn load(&mut self, dir: &Path) -> Result<Result<(Index, Tail), OpenError>, IndexError> {
        let mut index = Index::open(dir)?;
        let position = index.position()?.ok_or_else(|| IndexError::new("the index is new"))?;
        let synced = self.check_position(position)?;
        let mut live: Vec<(Key, Version)> = Vec::new();
        let mut newest: Option<(Key, Version)> = None;
        if index.compacted != self.compacted {
            return Err(IndexError::new("the history begins elsewhere"));
        }
        let mut all_there = true;
        let names = &mut self.names;
        let files = self.files.clone();
        let table = files.table.lock();
        index.load(|bucket, path, version| {
            all_there &= table.file(version.place.file).is_some();
            let same = newest.as_ref().is_some_and(|(key, _)| key.is(bucket, path));
            if same {
                if let Some((_, newest)) = &mut newest {
                    *newest = version;
                }
            } else if let Some(key) = names.key(bucket, path) {
                live.extend(newest.replace((key, version)));
            }
        })?;
        drop(table);
        if !all_there {
            return Err(IndexError::new("a file is missing"));
        }
        live.extend(newest);
        live.retain(|(_, version)| version.place.kind == RecordKind::Put);
        self.fetch_live(live)?;
        // All that the index says holds. From here on only the log itself can be wrong.
        Ok(self.walk_main(Some((position, synced))).map(|tail| (index, tail)))
    }

    /// Whether the record that the index ends with is there and is that record.
    /// Gives how much of the file was safe when it was written.
    fn check_position(&self, position: Position) -> Result<u64, IndexError> {
        let table = self.files.table.lock();
        let fits = |file: &MainFile| {
            let newest =
                table.main.last_key_value().is_some_and(|(number, _)| *number == position.file.number);
            position.revision >= file.header.base
                && position.end >= HEADER
                && if newest { position.end <= file.size } else { position.end <= file.end }
        };
        let main = table.main.get(&position.file.number).filter(|file| fits(file));
        let main = main.ok_or_else(|| IndexError::new("the index ends where the log is not"))?;
        if position.end == HEADER {
            let same = (position.chain, position.revision) == (main.header.chain.0, main.header.base);
            return if same { Ok(0) } else { Err(IndexError::new("the index begins with another file")) };
        }
        let mut reader = Reader::new(position.file, main.file.clone(), position.start, position.end, None);
        let last = reader.next().map_err(IndexError::new)?;
        let last = last.filter(|(_, parsed)| {
            parsed.record.revision == position.revision
                && position.start + parsed.length as u64 == position.end
                && parsed.record.chain.after(parsed.crc).0 == position.chain
        });
        let last = last.ok_or_else(|| IndexError::new("the log does not have what the index ends with"))?;
        Ok(last.1.record.synced)
    }

    /// Reads the live records in the order in which they stand.
    fn fetch_live(&mut self, mut live: Vec<(Key, Version)>) -> Result<(), IndexError> {
        const CHUNK: usize = 1 << 20;
        live.sort_by_key(|(_, version)| (version.place.file, version.place.offset));
        self.latest.reserve(live.len());
        let table = self.files.table.lock();
        let mut buffer: Vec<u8> = Vec::new();
        let mut at: Option<(FileId, u64)> = None;
        for (key, version) in live {
            let Place { file: id, offset, length, .. } = version.place;
            let (offset, length) = (u64::from(offset), length as usize);
            let inside = at.filter(|(file, start)| {
                *file == id && *start <= offset && offset + length as u64 <= start + buffer.len() as u64
            });
            let start = match inside {
                Some((_, start)) => start,
                None => {
                    let (file, _) = table.file(id).ok_or_else(|| IndexError::new("a file is missing"))?;
                    buffer.resize(length.max(CHUNK), 0);
                    let read = read_full(&*file, &mut buffer, offset).map_err(IndexError::new)?;
                    buffer.truncate(read);
                    at = Some((id, offset));
                    offset
                }
            };
            let bytes = buffer.get((offset - start) as usize..).and_then(|bytes| bytes.get(..length));
            let record = bytes.and_then(|bytes| parse(bytes, id)).map(|parsed| parsed.record);
            let record = record.filter(|record| {
                record.revision == version.revision
                    && record.kind == RecordKind::Put
                    && key.is(record.bucket, record.path)
            });
            let Some(record) = record else {
                return Err(IndexError::new(format!("no live record at {} of {}", offset, id.name())));
            };
            let value = Bytes::copy_from_slice(record.value);
            let latest = Latest {
                revision: record.revision,
                written: record.written,
                value: Some(value),
                flags: record.flags,
                place: version.place,
            };
            self.latest.insert(key, latest);
        }
        Ok(())
    }

    /// Reads every record.
    fn read_all(&mut self, mut index: Index) -> Result<(Index, Tail), OpenError> {
        self.whole = true;
        self.walk_kept()?;
        let tail = self.walk_main(None)?;
        // Without any write since a restore, or ever, the index reaches to the beginning of the first file.
        let position = self.position.take().or_else(|| {
            let table = self.files.table.lock();
            table.main.first_key_value().map(|(_, file)| Position {
                file: file.header.id,
                start: HEADER,
                end: HEADER,
                chain: file.header.chain.0,
                revision: file.header.base,
            })
        });
        if let Some(position) = position {
            let updates = self.index_entries();
            index.compacted = self.compacted;
            let filled = index.apply(&updates, position).and_then(|()| index.checkpoint());
            if let Err(reason) = filled {
                tracing::warn!(%reason, "the index of the log stays in memory");
                index = Index::in_memory();
                index.compacted = self.compacted;
                // Memory does not fail.
                let _ = index.apply(&updates, position);
            }
        }
        Ok((index, tail))
    }

    /// What the index has to know when all records have been read.
    fn index_entries(&mut self) -> Vec<Update> {
        let compacted = self.compacted;
        let mut updates = Vec::new();
        // Every deletion that the history still shows.
        let deletions = std::mem::take(&mut self.unindexed).into_iter();
        updates.extend(deletions.map(|(key, version)| Update::Set(key, version)));
        for (key, latest) in &self.latest {
            if latest.value.is_some() {
                let version = Version { revision: latest.revision, place: latest.place };
                updates.push(Update::Set(key.clone(), version));
            }
        }
        for (key, version) in self.base.drain().filter(|(_, version)| version.place.kind == RecordKind::Put) {
            debug_assert!(version.revision <= compacted);
            updates.push(Update::Set(key, version));
        }
        updates
    }

    /// Files of copied records are made whole before they get their name, and end with a mark.
    fn walk_kept(&mut self) -> Result<(), OpenError> {
        let kept: Vec<_> =
            self.files.table.lock().kept.iter().map(|(number, file)| (*number, file.clone())).collect();
        for (number, KeptFile { file, end, .. }) in kept {
            let id = FileId::kept(number);
            let path = self.files.path(id);
            let mut reader = Reader::new(id, file, HEADER, end, Some(Chain::default()));
            let mut marked = false;
            while let Some((offset, parsed)) = reader.next().map_err(failed("read", &path))? {
                marked = parsed.record.kind == RecordKind::Mark;
                self.add(id, offset, parsed.length, parsed.crc, &parsed.record);
            }
            if reader.offset() != end || !marked {
                return Err(OpenError::Damaged { file: path, offset: reader.offset() });
            }
        }
        Ok(())
    }

    /// Walks the main files, all or what is beyond a position, to the end of the log.
    fn walk_main(&mut self, from: Option<(Position, u64)>) -> Result<Tail, OpenError> {
        let main: Vec<_> =
            self.files.table.lock().main.iter().map(|(number, file)| (*number, file.clone())).collect();
        let count = main.len();
        let mut tail = Tail { id: FileId::main(1), end: HEADER, chain: Chain::default(), synced: 0 };
        let mut last = Revision::default();
        let mut synced;
        for (at, (number, main)) in main.into_iter().enumerate() {
            let id = FileId::main(number);
            let path = self.files.path(id);
            let newest = at + 1 == count;
            let (start, chain) = match from {
                Some((position, _)) if number < position.file.number => continue,
                Some((position, synced_then)) if number == position.file.number => {
                    last = position.revision;
                    synced = synced_then;
                    (position.end, Chain(position.chain))
                }
                _ => {
                    // Each file continues the one before it.
                    if at > 0 && (main.header.chain, main.header.base) != (tail.chain, last) {
                        return Err(OpenError::Damaged { file: path, offset: 0 });
                    }
                    last = main.header.base;
                    synced = 0;
                    (HEADER, main.header.chain)
                }
            };
            let end = if newest { main.size } else { main.end };
            let mut reader = Reader::new(id, main.file.clone(), start, end, Some(chain));
            let mut out_of_order = None;
            while let Some((offset, parsed)) = reader.next().map_err(failed("read", &path))? {
                let expected = match parsed.record.kind {
                    RecordKind::Mark => last,
                    RecordKind::Put | RecordKind::Delete => last.next(),
                };
                if parsed.record.revision != expected {
                    out_of_order = Some(offset);
                    break;
                }
                last = expected;
                let record = parsed.record;
                synced = record.synced;
                self.add(id, offset, parsed.length, parsed.crc, &record);
            }
            let chain = reader.chain().unwrap_or_default();
            tail = Tail { id, end: reader.offset(), chain, synced: synced.min(reader.offset()) };
            let ends_well = newest || (tail.end == main.end && last == main.last);
            if out_of_order.is_some() || !ends_well {
                return Err(OpenError::Damaged { file: path, offset: out_of_order.unwrap_or(tail.end) });
            }
            if let Some(file) = self.files.table.lock().main.get_mut(&number) {
                file.last = last;
                file.end = tail.end;
            }
        }
        Ok(tail)
    }

    fn add(&mut self, id: FileId, offset: u64, length: usize, crc: u32, record: &Record<'_>) {
        if record.kind == RecordKind::Mark {
            return;
        }
        let Some(key) = self.names.key(record.bucket, record.path) else { return };
        let place = Place { kind: record.kind, file: id, offset: offset as u32, length: length as u32 };
        let version = Version { revision: record.revision, place };
        match id.kind {
            FileKind::Main => {
                self.position = Some(Position {
                    file: id,
                    start: offset,
                    end: offset + length as u64,
                    chain: record.chain.after(crc).0,
                    revision: record.revision,
                });
                if !self.whole || record.kind == RecordKind::Delete {
                    self.unindexed.push((key.clone(), version));
                }
            }
            FileKind::Kept => {
                let older = self.base.get(&key).is_none_or(|base| base.revision <= record.revision);
                if older && record.revision <= self.compacted {
                    self.base.insert(key.clone(), version);
                }
            }
        }
        let newer = self.latest.get(&key).is_none_or(|latest| latest.revision <= record.revision);
        if newer {
            let value = (record.kind == RecordKind::Put).then(|| Bytes::copy_from_slice(record.value));
            let (revision, written, flags) = (record.revision, record.written, record.flags);
            let latest = Latest { revision, written, value, flags, place };
            self.latest.insert(key, latest);
        }
    }

    /// Revision and time of the newest write.
    fn newest(&self, tail: Tail) -> (Revision, Timestamp) {
        let table = self.files.table.lock();
        let revision = table.main.get(&tail.id.number).map_or(Revision::FIRST, |file| file.last);
        let begun = table.main.last_key_value().map_or(Timestamp::default(), |(_, file)| file.header.written);
        let written = self.latest.values().map(|latest| latest.written).max().unwrap_or_default();
        (revision, begun.max(written))
    }
}

/// Author and value of a record, as they stand there or opened.
pub(crate) fn open_value(
    record: &Record<'_>,
    seal: Option<&Arc<dyn Seal>>,
) -> Result<(Option<Author>, Bytes), SealError> {
    if record.flags & SEALED == 0 {
        return Ok(author::split(record.flags, Bytes::copy_from_slice(record.value)));
    }
    let context = seal::context(record.bucket, record.path, record.revision);
    let opened = seal.ok_or(SealError::NoKey)?.open(&context, record.value)?;
    Ok(author::split(record.flags, opened.into()))
}

/// Builds the maps. Values are opened and headers read on all cores: that is most of the work.
fn build_state(
    latest: HashMap<Key, Latest>,
    newest: (Revision, Timestamp),
    extract: &Extract,
    seal: Option<&Arc<dyn Seal>>,
) -> Result<State, OpenError> {
    let mut live: Vec<_> = latest.into_iter().filter(|(_, latest)| latest.value.is_some()).collect();
    live.sort_by(|one, other| one.0.cmp(&other.0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = live.len().div_ceil(threads).max(1000);
    let load = |part: &[(Key, Latest)]| -> Result<Vec<Arc<Entry>>, OpenError> {
        let mut authors = HashSet::new();
        part.iter().map(|(key, latest)| load_entry(key, latest, extract, seal, &mut authors)).collect()
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let parts: Vec<_> = live.chunks(share).map(|part| scope.spawn(move || load(part))).collect();
        parts.into_iter().map(|part| part.join().expect("reading a header does not panic")).collect()
    });
    let mut state = State::empty();
    for part in parts {
        for entry in part? {
            state.put(entry);
        }
    }
    (state.revision, state.written) = newest;
    Ok(state)
}

fn load_entry(
    key: &Key,
    latest: &Latest,
    extract: &Extract,
    seal: Option<&Arc<dyn Seal>>,
    authors: &mut HashSet<Author>,
) -> Result<Arc<Entry>, OpenError> {
    let mut value = latest.value.clone().unwrap_or_default();
    if latest.flags & SEALED != 0 {
        let context = seal::context(key.bucket().as_str(), &key.path().0, latest.revision);
        let opened = seal.ok_or(SealError::NoKey).and_then(|seal| seal.open(&context, &value));
        value = opened.map_err(|source| OpenError::Sealed { key: key.clone(), source })?.into();
    }
    let (author, value) = author::split(latest.flags, value);
    let author = author.map(|author| match authors.get(&author) {
        // One copy of each in memory: there are few.
        Some(known) => known.clone(),
        None => {
            authors.insert(author.clone());
            author
        }
    });
    let extracted = extract(key, &value).unwrap_or_else(|reason| {
        tracing::error!(%key, %reason, "a stored value is not understood");
        Extracted::nothing()
    });
    let (revision, written) = (latest.revision, latest.written);
    Ok(Arc::new(Entry { key: key.clone(), value, revision, written, author, extracted }))
}
