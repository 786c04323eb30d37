//! The ordered index: key and revision to a place in the log.
//!
//! It knows where the newest version of each key stands, each deletion, and what stands in files of copies. All else
//! is found from there through the records, so its size goes with what is stored and not with what is remembered.
//!
//! It is kept in sled where there is a real disk, and in memory otherwise. It holds small entries only and nothing
//! that the log does not say as well: when sled does not open, panics, or does not fit to the log, it is deleted and
//! made anew. One batch carries entries and the position of the log that they reach to, so the two always agree;
//! a digest over all entries, kept beside the position, tells when one of them is missing.
//!
//! Rules that sled 0.34 asks for: one thread, `flush` and then an fdatasync of its file at checkpoints (its own flush
//! does not reach the disk), never `flush_async` (it deadlocks), no timer, leftovers of its snapshots removed before
//! it is opened. Read on: [`crate::log::recover`] for who checks it, [`crate::log::keeper`] for who feeds it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::key::{Key, Revision};
use crate::log::format::{FileId, FileKind, RecordKind, u32_at, u64_at};

/// Where a version of a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: RecordKind,
    pub(crate) file: FileId,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    pub(crate) place: Place,
}

/// A change of the index.
#[derive(Debug, Clone)]
pub(crate) enum Update {
    Set(Key, Version),
    Remove(Key, Revision),
}

/// How far into the log the index reaches: a record, and the chain up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) file: FileId,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) chain: u32,
    pub(crate) revision: Revision,
}

/// Why the index cannot be used. Never a reason to give up: it is made anew.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct IndexError(Arc<str>);

impl IndexError {
    pub(crate) fn new(reason: impl std::fmt::Display) -> IndexError {
        IndexError(reason.to_string().into())
    }
}

type Pairs<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), IndexError>> + 'a>;

/// An ordered map of bytes.
enum Tree {
    Memory(BTreeMap<Vec<u8>, Vec<u8>>),
    Sled { db: sled::Db, file: PathBuf },
}

/// The index.
pub(crate) struct Index {
    tree: Tree,
    digest: u64,
    count: u64,
    /// Where the history begins that it knows.
    pub(crate) compacted: Revision,
}

/// Key of the entry that holds position and digest. Before all others: no bucket has an empty name.
const META: &[u8] = b"\0meta";

const META_LENGTH: usize = 60;

const FORMAT: u32 = 1;

/// Updates in one batch: enough to spare work, few enough for one message of sled's own log.
const BATCH: usize = 32 << 10;

/// Waits until nobody holds sled's lock on its file.
///
/// sled's own threads let go of the file some time after its handle was dropped, and a process that was just forked
/// holds it until it runs its program; sled itself does not wait. Whoever comes here holds the lock of the whole
/// directory, so no other store is waited for.
fn await_release(file: &Path) -> Result<(), IndexError> {
    match fs::File::open(file) {
        Ok(file) => file.lock().map_err(IndexError::new),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(IndexError::new(error)),
    }
}

impl Index {
    pub(crate) fn in_memory() -> Index {
        Index { tree: Tree::Memory(BTreeMap::new()), digest: 0, count: 0, compacted: Revision::FIRST }
    }

    /// Opens what is in the directory, or begins anew if it is empty.
    pub(crate) fn open(dir: &Path) -> Result<Index, IndexError> {
        if let Ok(names) = fs::read_dir(dir) {
            for entry in names.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with("snap.") && name.ends_with(".generating") {
                    fs::remove_file(entry.path()).map_err(IndexError::new)?;
                }
            }
        }
        await_release(&dir.join("db"))?;
        let config = sled::Config::new()
            .path(dir)
            .flush_every_ms(None)
            .cache_capacity(8 << 20)
            .print_profile_on_drop(false);
        // A damaged file makes sled panic here as often as it makes it return an error.
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| IndexError::new("sled panicked"))?
            .map_err(IndexError::new)?;
        let mut index = Index {
            tree: Tree::Sled { db, file: dir.join("db") },
            digest: 0,
            count: 0,
            compacted: Revision::FIRST,
        };
        if let Some(bytes) = index.get(META)?.filter(|bytes| bytes.len() == META_LENGTH) {
            index.compacted = Revision(u64_at(&bytes, 52));
        }
        Ok(index)
    }

    /// Deletes what is in the directory and begins anew.
    pub(crate) fn create(dir: &Path) -> Result<Index, IndexError> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IndexError::new(error)),
            _ => Index::open(dir),
        }
    }

    /// How far it reaches, if it reaches anywhere and says so in a form that is known.
    pub(crate) fn position(&self) -> Result<Option<Position>, IndexError> {
        Ok(self.meta()?.map(|(position, ..)| position))
    }

    fn meta(&self) -> Result<Option<(Position, u64, u64)>, IndexError> {
        let Some(bytes) = self.get(META)? else { return Ok(None) };
        if bytes.len() != META_LENGTH || u32_at(&bytes, 0) != FORMAT {
            return Err(IndexError::new("the index has another format"));
        }
        let position = Position {
            file: FileId::main(u32_at(&bytes, 4)),
            chain: u32_at(&bytes, 8),
            start: u64_at(&bytes, 12),
            end: u64_at(&bytes, 20),
            revision: Revision(u64_at(&bytes, 28)),
        };
        Ok(Some((position, u64_at(&bytes, 36), u64_at(&bytes, 44))))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match &self.tree {
            Tree::Memory(map) => Ok(map.get(key).cloned()),
            Tree::Sled { db, .. } => guarded(|| db.get(key)).map(|value| value.map(|value| value.to_vec())),
        }
    }

    /// Takes versions that were appended to the log, in order, and from then on reaches to the position.
    ///
    /// Of each key the newest version is kept, every deletion, and what stands in files of copies. Other versions
    /// are found through the records: each names the one before it, and where a revision stands in the files of
    /// writes follows from the revision.
    pub(crate) fn feed(&mut self, versions: &[(Key, Version)], position: Position) -> Result<(), IndexError> {
        let mut newest: HashMap<&Key, &Version> = HashMap::with_capacity(versions.len());
        let mut updates = Vec::new();
        for (key, version) in versions {
            if version.place.kind == RecordKind::Delete {
                updates.push(Update::Set(key.clone(), version.clone()));
            }
            newest.insert(key, version);
        }
        for (key, version) in newest {
            let replaced = |old: &&Version| {
                let put_in_main = old.place.kind == RecordKind::Put && old.place.file.kind == FileKind::Main;
                put_in_main && old.revision < version.revision
            };
            let old = self.versions(key)?;
            updates.extend(old.iter().filter(replaced).map(|old| Update::Remove(key.clone(), old.revision)));
            if version.place.kind == RecordKind::Put {
                updates.push(Update::Set(key.clone(), version.clone()));
            }
        }
        self.apply(&updates, position)
    }

    /// Forgets how far it reaches: it is made anew at the next start.
    pub(crate) fn invalidate(&mut self) -> Result<(), IndexError> {
        self.apply_batch(&[], None)?;
        self.checkpoint()
    }

    /// Makes the changes, and from then on reaches to the position.
    pub(crate) fn apply(&mut self, updates: &[Update], position: Position) -> Result<(), IndexError> {
        let chunks: Vec<_> = updates.chunks(BATCH).collect();
        let last = chunks.len().saturating_sub(1);
        if chunks.is_empty() {
            return self.apply_batch(&[], Some(position));
        }
        for (number, chunk) in chunks.into_iter().enumerate() {
            self.apply_batch(chunk, (number == last).then_some(position))?;
        }
        Ok(())
    }

    fn apply_batch(&mut self, updates: &[Update], position: Option<Position>) -> Result<(), IndexError> {
        let mut batch: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for update in updates {
            let (key, value) = match update {
                Update::Set(key, version) => {
                    (version_key(key, version.revision), Some(place_bytes(&version.place)))
                }
                Update::Remove(key, revision) => (version_key(key, *revision), None),
            };
            let before = match batch.get(&key) {
                Some(before) => before.clone(),
                None => self.get(&key)?,
            };
            if let Some(before) = before {
                self.digest ^= digest(&key, &before);
                self.count -= 1;
            }
            if let Some(value) = &value {
                self.digest ^= digest(&key, value);
                self.count += 1;
            }
            batch.insert(key, value);
        }
        // Without a new position the old one must not stand beside entries that it does not cover: then there is
        // none until the last batch, and a crash in between makes the index anew.
        let meta = position.map(|position| self.meta_bytes(position));
        batch.insert(META.to_vec(), meta);
        match &mut self.tree {
            Tree::Memory(map) => {
                for (key, value) in batch {
                    match value {
                        Some(value) => map.insert(key, value),
                        None => map.remove(&key),
                    };
                }
                Ok(())
            }
            Tree::Sled { db, .. } => {
                let mut changes = sled::Batch::default();
                for (key, value) in batch {
                    match value {
                        Some(value) => changes.insert(key, value),
                        None => changes.remove(key),
                    }
                }
                guarded(|| db.apply_batch(changes))
            }
        }
    }

    fn meta_bytes(&self, position: Position) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(META_LENGTH);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&position.file.number.to_le_bytes());
        bytes.extend_from_slice(&position.chain.to_le_bytes());
        bytes.extend_from_slice(&position.start.to_le_bytes());
        bytes.extend_from_slice(&position.end.to_le_bytes());
        bytes.extend_from_slice(&position.revision.0.to_le_bytes());
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.compacted.0.to_le_bytes());
        bytes
    }

    /// Makes everything safe.
    pub(crate) fn checkpoint(&mut self) -> Result<(), IndexError> {
        match &self.tree {
            Tree::Memory(_) => Ok(()),
            Tree::Sled { db, file } => {
                guarded(|| db.flush())?;
                fs::File::open(file).and_then(|file| file.sync_data()).map_err(IndexError::new)
            }
        }
    }

    /// Reads every entry, in the order of keys and then of revisions, and checks that they are the ones that were
    /// written: as many, and with the same digest.
    pub(crate) fn load(&mut self, visit: impl FnMut(&str, &str, Version)) -> Result<(), IndexError> {
        let Some((_, digest_said, count_said)) = self.meta()? else {
            return Err(IndexError::new("the index says not how far it reaches"));
        };
        let (digest_seen, count_seen) = self.scan(visit)?;
        if (digest_seen, count_seen) != (digest_said, count_said) {
            return Err(IndexError::new("entries of the index are missing"));
        }
        (self.digest, self.count) = (digest_seen, count_seen);
        Ok(())
    }

    /// Reads every entry. Gives digest and number of them.
    pub(crate) fn scan(&self, mut visit: impl FnMut(&str, &str, Version)) -> Result<(u64, u64), IndexError> {
        let (mut digest_seen, mut count_seen) = (0, 0);
        for pair in self.pairs(b"\x01")? {
            let (key, value) = pair?;
            digest_seen ^= digest(&key, &value);
            count_seen += 1;
            let parts = split_key(&key).zip(place_from(&value));
            let ((bucket, path, revision), place) = parts.ok_or_else(|| IndexError::new("not an entry"))?;
            visit(bucket, path, Version { revision, place });
        }
        Ok((digest_seen, count_seen))
    }

    /// The versions of a key that it knows, oldest first.
    pub(crate) fn versions(&self, key: &Key) -> Result<Vec<Version>, IndexError> {
        let prefix = key_prefix(key);
        let mut versions = Vec::new();
        for pair in self.pairs(&prefix)? {
            let (key, value) = pair?;
            if !key.starts_with(&prefix) {
                break;
            }
            let revision = split_key(&key).map(|(.., revision)| revision);
            let version = revision.zip(place_from(&value)).ok_or_else(|| IndexError::new("not an entry"))?;
            versions.push(Version { revision: version.0, place: version.1 });
        }
        Ok(versions)
    }

    /// Number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    fn pairs(&self, from: &[u8]) -> Result<Pairs<'_>, IndexError> {
        match &self.tree {
            Tree::Memory(map) => {
                let range = map.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
                Ok(Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone())))))
            }
            Tree::Sled { db, .. } => {
                let mut pairs = guarded(|| Ok(db.range(from.to_vec()..)))?;
                Ok(Box::new(std::iter::from_fn(move || {
                    guarded(|| pairs.next().transpose())
                        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
                        .transpose()
                })))
            }
        }
    }
}

/// Calls sled, which may panic on what it reads.
fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(IndexError::new),
        Err(_) => Err(IndexError::new("sled panicked")),
    }
}

/// `bucket NUL namespace NUL name NUL`.
fn key_prefix(key: &Key) -> Vec<u8> {
    let (bucket, path) = (key.bucket().as_str(), &*key.path().0);
    let mut bytes = Vec::with_capacity(bucket.len() + path.len() + 10);
    bytes.extend_from_slice(bucket.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    bytes
}

fn version_key(key: &Key, revision: Revision) -> Vec<u8> {
    let mut bytes = key_prefix(key);
    bytes.extend_from_slice(&revision.0.to_be_bytes());
    bytes
}

fn split_key(bytes: &[u8]) -> Option<(&str, &str, Revision)> {
    let (text, revision) = bytes.split_last_chunk::<8>()?;
    let text = std::str::from_utf8(text.strip_suffix(b"\0")?).ok()?;
    let (bucket, path) = text.split_once('\0')?;
    Some((bucket, path, Revision(u64::from_be_bytes(*revision))))
}

fn place_bytes(place: &Place) -> Vec<u8> {
    let mut bytes = vec![place.kind as u8, place.file.kind as u8];
    bytes.extend_from_slice(&place.file.number.to_le_bytes());
    bytes.extend_from_slice(&place.offset.to_le_bytes());
    bytes.extend_from_slice(&place.length.to_le_bytes());
    bytes
}

fn place_from(bytes: &[u8]) -> Option<Place> {
    if bytes.len() != 14 {
        return None;
    }
    let kind = match bytes[1] {
        kind if kind == FileKind::Kept as u8 => FileKind::Kept,
        kind if kind == FileKind::Main as u8 => FileKind::Main,
        _ => return None,
    };
    Some(Place {
        kind: RecordKind::from_byte(bytes[0])?,
        file: FileId { kind, number: u32_at(bytes, 2) },
        offset: u32_at(bytes, 6),
        length: u32_at(bytes, 10),
    })
}

fn digest(key: &[u8], value: &[u8]) -> u64 {
    let forward = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let backward = crc32c::crc32c_append(crc32c::crc32c(value), key);
    u64::from(forward) << 32 | u64::from(backward)
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
