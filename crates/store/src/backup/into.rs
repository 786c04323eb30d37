//! Restore into an open store of any backend: object by object, as if they were written anew.
//!
//! Only a log can take over the revisions of a backup; elsewhere the backend gives new ones. So that nobody takes half
//! of a backup for the whole, the first write is a mark and the last one takes it away: whoever opens the store asks
//! [`was_interrupted`], and another try begins by removing what the one before has left.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::checked::{Checked, Item};
use super::{RestoreError, Restored};
use crate::author;
use crate::entry::Template;
use crate::key::{Bucket, Key};
use crate::state::{Scope, Snapshot};
use crate::store::Store;
use crate::write::{Change, Precondition, Write};

/// How many writes are under way at once.
const IN_FLIGHT: usize = 64;

/// Where the mark stands.
const MARK: &str = "unfinished-restore";

/// Whether the store has a part of a backup only.
pub fn was_interrupted(snapshot: &Snapshot) -> bool {
    snapshot.get(&mark()).is_some()
}

/// Checks a backup from where it stands, and writes its objects into a store that has none. `template` finds the hole
/// for the revision in a value.
///
/// Nothing is written before all of the backup was checked. The revision that is returned is that of the last write.
pub async fn restore_into(
    store: &Store,
    backup: &mut (impl Read + Seek),
    template: impl Fn(&Key, &[u8]) -> Option<Template>,
) -> Result<Restored, RestoreError> {
    let snapshot = store.snapshot();
    if !snapshot.is_empty() && !was_interrupted(&snapshot) {
        return Err(RestoreError::InUse);
    }
    let of = |key: &Key, value: &[u8]| {
        template(key, value).ok_or_else(|| RestoreError::Malformed { key: key.clone() })
    };
    let begin = backup.stream_position()?;
    let mut checked = Checked::open(&mut *backup)?;
    while let Item::Object(key, record) = checked.next()? {
        let (_author, value) = author::split(record.flags, Bytes::copy_from_slice(record.value));
        of(&key, &value)?;
    }
    backup.seek(SeekFrom::Start(begin))?;

    let mut writes = Writes { store, flying: JoinSet::new() };
    let hollow =
        || Template::new(&b"{\"metadata\":{\"name\":\"unfinished\",\"resourceVersion\":\""[..], &b"\"}}"[..]);
    if was_interrupted(&snapshot) {
        let left = snapshot.buckets().filter(|bucket| bucket.as_str() != MARK);
        for entry in left.flat_map(|bucket| snapshot.list(bucket, Scope::All, None)) {
            let last = of(&entry.key, &entry.value)?;
            writes.begin(entry.key.clone(), Change::Delete { last }, None).await?;
        }
        writes.finish().await?;
    } else {
        writes.begin(mark(), Change::Put(hollow()), None).await?;
        writes.finish().await?;
    }
    let (mut checked, mut objects) = (Checked::open(backup)?, 0);
    while let Item::Object(key, record) = checked.next()? {
        let (author, value) = author::split(record.flags, Bytes::copy_from_slice(record.value));
        let put = Change::Put(of(&key, &value)?);
        writes.begin(key, put, author).await?;
        objects += 1;
    }
    writes.finish().await?;
    writes.begin(mark(), Change::Delete { last: hollow() }, None).await?;
    writes.finish().await?;
    Ok(Restored { objects, revision: store.snapshot().revision() })
}

fn mark() -> Key {
    Key::new(&Bucket::from(MARK), "", "unfinished")
}

/// Some writes at a time.
struct Writes<'s> {
    store: &'s Store,
    flying: JoinSet<Result<(), RestoreError>>,
}

impl Writes<'_> {
    /// Begins a write; waits for another one where there are many. A delete is of what is there, a put of what is not.
    async fn begin(
        &mut self,
        key: Key,
        change: Change,
        author: Option<author::Author>,
    ) -> Result<(), RestoreError> {
        if self.flying.len() >= IN_FLIGHT {
            self.settle().await?;
        }
        let precondition = match change {
            Change::Put(_) => Precondition::Absent,
            Change::Delete { .. } => Precondition::None,
        };
        let store = self.store.clone();
        self.flying.spawn(async move {
            let written = store.write(Write { key, precondition, change, author }).await;
            written.map(drop).map_err(RestoreError::Write)
        });
        Ok(())
    }

    /// Waits for all.
    async fn finish(&mut self) -> Result<(), RestoreError> {
        while !self.flying.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), RestoreError> {
        match self.flying.join_next().await {
            Some(Ok(written)) => written,
            Some(Err(error)) => Err(RestoreError::Io(io::Error::other(error))),
            None => Ok(()),
        }
    }
}
