//! Backup and restore: a consistent snapshot as one stream of bytes.
//!
//! The stream is a file of copies as the log has them (see the log's format): a header with the revision, a record
//! for each object, a mark at the end, each with its checksum and the chain over all before it. So it says itself
//! whether it is whole, a backup of one backend restores into any other, and to restore into a log is to check the
//! stream and to put its records where the log expects its oldest file, sealed where the log seals. Read on:
//! [`Snapshot`] for what is in it, [`restore_into`] for backends that are no log.

mod checked;
mod into;

use std::io::{self, Read};
use std::path::PathBuf;

use bytes::Bytes;

use self::checked::{Checked, Item};
pub use self::into::{restore_into, was_interrupted};
use crate::author;
use crate::disk::{File, Open, write_full};
use crate::key::{Bucket, Key, Revision};
use crate::log::LogOptions;
use crate::log::format::{Chain, FileHeader, FileId, Record, RecordKind, SEALED};
use crate::seal::{self, Seal, SealError};
use crate::state::{Scope, Snapshot};
use crate::write::WriteError;

/// The name under which a backup counts its checksums.
const ID: FileId = FileId { kind: crate::log::format::FileKind::Kept, number: 1 };

/// Bytes of one piece of the stream, about.
const PIECE: usize = 256 << 10;

/// The bytes of a backup, piece by piece. Holds a snapshot, and costs one piece of memory.
pub struct Backup {
    snapshot: Snapshot,
    buckets: Vec<Bucket>,
    after: Option<Key>,
    chain: Chain,
    state: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Begin,
    Objects,
    End,
}

impl Snapshot {
    /// The snapshot as a backup.
    pub fn backup(&self) -> Backup {
        let mut buckets: Vec<_> = self.buckets().cloned().collect();
        buckets.reverse();
        Backup {
            snapshot: self.clone(),
            buckets,
            after: None,
            chain: Chain::default(),
            state: Progress::Begin,
        }
    }
}

impl Iterator for Backup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        match self.state {
            Progress::Begin => {
                let (base, written) = (self.snapshot.revision(), self.snapshot.written());
                let header = FileHeader { id: ID, chain: Chain::default(), base, previous_end: 0, written };
                piece = header.encode();
                self.state = Progress::Objects;
            }
            Progress::Objects => {}
            Progress::End => return None,
        }
        while piece.len() < PIECE {
            let Some(bucket) = self.buckets.last() else {
                let (revision, written) = (self.snapshot.revision(), self.snapshot.written());
                Record::mark(revision, written, 0, self.chain).encode(ID, &mut piece);
                self.state = Progress::End;
                break;
            };
            let mut last = None;
            for entry in self.snapshot.list(bucket, Scope::All, self.after.as_ref()) {
                let (flags, value) = author::with_author(entry.author.as_deref(), &entry.value);
                let record = Record {
                    kind: RecordKind::Put,
                    flags,
                    revision: entry.revision,
                    written: entry.written,
                    previous: Revision(0),
                    synced: 0,
                    chain: self.chain,
                    bucket: bucket.as_str(),
                    path: &entry.key.path().0,
                    value: &value,
                };
                self.chain = self.chain.after(record.encode(ID, &mut piece));
                last = Some(entry.key.clone());
                if piece.len() >= PIECE {
                    break;
                }
            }
            if last.is_none() {
                self.buckets.pop();
            }
            self.after = last;
        }
        Some(piece.into())
    }
}

/// Why a backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is a store already.
    #[error("{} has a store already", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The store has objects already.
    #[error("the store has objects already")]
    InUse,
    /// Not a backup, or a damaged one, or not all of it.
    #[error("the backup is damaged at offset {offset}")]
    Damaged {
        /// Where.
        offset: u64,
    },
    /// A newer build made it.
    #[error("the backup has format {found}, which is newer than what this build reads")]
    NewerFormat {
        /// Its format.
        found: u32,
    },
    /// A value could not be encrypted for the disk.
    #[error("a value cannot be sealed")]
    Seal(#[from] SealError),
    /// An object of the backup has not the form of one.
    #[error("{key} in the backup is not an object")]
    Malformed {
        /// Which one.
        key: Key,
    },
    /// The store refused an object.
    #[error("an object cannot be written")]
    Write(#[source] WriteError),
    /// Reading the backup or writing the store failed.
    #[error("the restore failed")]
    Io(#[from] io::Error),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Number of objects.
    pub objects: u64,
    /// The revision that the store begins with.
    pub revision: Revision,
}

/// Checks a backup and makes a store of it. The store begins `skip` revisions after the backup's: clients that saw
/// more of the old cluster than the backup has must not take what comes now for what they know.
///
/// Nothing is there before all of the backup was checked.
pub fn restore(options: &LogOptions, backup: &mut dyn Read, skip: u64) -> Result<Restored, RestoreError> {
    let (disk, dir) = (&options.disk, &options.dir);
    disk.create_dir(dir)?;
    let _lock = disk.lock(&dir.join("LOCK"))?;
    let names = disk.list(dir)?;
    if names.iter().filter_map(|name| FileId::from_name(name)).any(|id| id.kind != ID.kind) {
        return Err(RestoreError::NotEmpty { dir: dir.clone() });
    }
    // What an unfinished restore left.
    for name in names.iter().filter(|name| FileId::from_name(name).is_some() || name.ends_with(".tmp")) {
        disk.remove(&dir.join(name))?;
    }
    let path = dir.join(ID.name());
    let unchecked = dir.join(format!("{}.tmp", ID.name()));
    let file = disk.open(&unchecked, Open::New)?;
    let (header, objects) = copy_checked(backup, &*file, options.seal.as_deref())?;
    file.sync()?;
    let base = Revision(header.base.0 + skip);
    let main = FileId::main(1);
    let first =
        FileHeader { id: main, chain: Chain::default(), base, previous_end: 0, written: header.written };
    let unfinished = dir.join(format!("{}.tmp", main.name()));
    let main_file = disk.open(&unfinished, Open::New)?;
    main_file.allocate(options.segment_bytes.min(1 << 20))?;
    write_full(&*main_file, &first.encode(), 0)?;
    main_file.sync()?;
    disk.rename(&unchecked, &path)?;
    disk.sync_dir(dir)?;
    // From here on it is a store.
    disk.rename(&unfinished, &dir.join(main.name()))?;
    disk.sync_dir(dir)?;
    Ok(Restored { objects, revision: base })
}

/// Copies the stream while it is checked. Gives its header and the number of objects.
fn copy_checked(
    backup: &mut dyn Read,
    file: &dyn File,
    seal: Option<&dyn Seal>,
) -> Result<(FileHeader, u64), RestoreError> {
    let mut backup = Checked::open(backup)?;
    let header = backup.header;
    let mut out = header.encode();
    // The file has a chain of its own: in it some values are sealed.
    let (mut chain, mut objects, mut offset) = (Chain::default(), 0, 0);
    loop {
        let (key, mut record) = match backup.next()? {
            Item::Object(key, record) => (key, record),
            Item::End(mark) => {
                Record { chain, ..mark }.encode(ID, &mut out);
                break;
            }
        };
        record.chain = chain;
        let sealed = match seal {
            Some(seal) if seal.seals(key.bucket()) => {
                let context = seal::context(record.bucket, record.path, record.revision);
                Some(seal.seal(&context, record.value)?)
            }
            _ => None,
        };
        if let Some(sealed) = &sealed {
            (record.flags, record.value) = (record.flags | SEALED, sealed);
        }
        chain = chain.after(record.encode(ID, &mut out));
        objects += 1;
        if out.len() >= PIECE {
            write_full(file, &out, offset)?;
            offset += out.len() as u64;
            out.clear();
        }
    }
    write_full(file, &out, offset)?;
    Ok((header, objects))
}
