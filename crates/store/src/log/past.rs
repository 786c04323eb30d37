//! Reading what the window in memory does not have any more: versions of a key, old states, old events.
//!
//! Readers hold the index's lock while they follow it into files, so that no file goes away under them. The committer
//! never takes that lock. Read on: [`crate::log::collect`] for what does go away.

use std::sync::Arc;

use crate::disk::read_full;
use crate::entry::{Entry, Event, EventKind, Extract, Extracted};
use crate::hub::Topic;
use crate::key::{Bucket, Key, Revision, Timestamp};
use crate::log::Names;
use crate::log::files::Reader;
use crate::log::format::{FileId, HEADER, Record, RecordKind, parse};
use crate::log::index::{Index, IndexError, Version};
use crate::log::keeper::Keeper;
use crate::log::recover::open_value;
use crate::state::State;
use crate::watch::ReadError;

fn failed(reason: impl std::fmt::Display) -> ReadError {
    ReadError::Failed { reason: reason.to_string().into() }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> ReadError {
        failed(error)
    }
}

impl Keeper {
    /// The oldest revision whose state is known.
    pub(crate) fn compacted(&self) -> Revision {
        self.files.table.lock().compacted()
    }

    fn check_kept(&self, asked: Revision) -> Result<(), ReadError> {
        let oldest = self.compacted();
        if asked < oldest { Err(ReadError::Compacted { asked, oldest }) } else { Ok(()) }
    }

    /// All versions of a key that are kept, newest first.
    pub(crate) fn history(&self, key: &Key, extract: &Extract) -> Result<Vec<Arc<Event>>, ReadError> {
        let index = self.index()?;
        let mut events = Vec::new();
        let mut previous: Option<Arc<Entry>> = None;
        for version in index.versions(key)? {
            let entry = self.fetch(key, &version, extract)?;
            let before = previous.take();
            let kind = match version.place.kind {
                RecordKind::Delete => EventKind::Delete,
                RecordKind::Put | RecordKind::Mark => EventKind::Put,
            };
            if kind == EventKind::Put {
                previous = Some(entry.clone());
            }
            events.push(Arc::new(Event::new(kind, entry, before)));
        }
        events.reverse();
        Ok(events)
    }

    /// The state at a revision.
    pub(crate) fn state_at(&self, revision: Revision, extract: &Extract) -> Result<Arc<State>, ReadError> {
        // The order matters: the index then knows every key that this state has.
        let newest = self.hub.state();
        let index = self.index()?;
        self.check_kept(revision)?;
        let mut state = (*newest).clone();
        let mut names = Names::default();
        let mut key: Option<Key> = None;
        let mut then: Option<Version> = None;
        let mut changes: Vec<(Key, Option<Version>)> = Vec::new();
        index.scan(|bucket, path, version| {
            if key.as_ref().is_none_or(|key| !key.is(bucket, path)) {
                changes.extend(key.take().map(|key| (key, then.take())));
                key = names.key(bucket, path);
                then = None;
            }
            if version.revision <= revision {
                then = Some(version);
            }
        })?;
        changes.extend(key.map(|key| (key, then)));
        for (key, then) in changes {
            let then = then.filter(|version| version.place.kind == RecordKind::Put);
            let now = newest.get(&key).map(|entry| entry.revision);
            if then.as_ref().map(|version| version.revision) == now {
                continue;
            }
            match then {
                Some(version) => state.put(self.fetch(&key, &version, extract)?),
                None => state.remove(&key),
            };
        }
        state.revision = revision;
        state.written = self.time_of(revision)?;
        Ok(Arc::new(state))
    }

    /// When a revision was written.
    fn time_of(&self, revision: Revision) -> Result<Timestamp, ReadError> {
        let mut found = None;
        self.walk(revision, |record| {
            found = Some(record.written);
            false
        })?;
        found.ok_or_else(|| failed("the log does not have the revision"))
    }

    /// The newest revision that was written at a time or before it.
    pub(crate) fn revision_at(&self, time: Timestamp) -> Result<Revision, ReadError> {
        let _index = self.index()?;
        let start = {
            let table = self.files.table.lock();
            // A header's time is that of the newest write before the file.
            let before = table.main.values().rev().find(|file| file.header.written <= time);
            before.map(|file| file.header.base)
        };
        let oldest = self.compacted();
        let start = start.ok_or(ReadError::Compacted { asked: Revision(0), oldest })?;
        let mut found = start;
        self.walk(start.next(), |record| {
            let goes_on = record.written <= time;
            if goes_on {
                found = record.revision;
            }
            goes_on
        })?;
        Ok(found)
    }

    /// Visits the records from a revision on, or the oldest that there are, until the visitor has enough.
    fn walk(&self, from: Revision, mut visit: impl FnMut(&Record<'_>) -> bool) -> Result<(), ReadError> {
        let files: Vec<_> =
            self.files.table.lock().main.iter().map(|(number, file)| (*number, file.clone())).collect();
        if from <= self.compacted() {
            // What is before the oldest record is known only as a whole.
            let written = files.first().map_or(Timestamp::default(), |(_, file)| file.header.written);
            let mark = Record::mark(from, written, 0, Default::default());
            if !visit(&mark) {
                return Ok(());
            }
        }
        for (number, file) in files {
            if file.last < from {
                continue;
            }
            let id = FileId::main(number);
            let mut reader = Reader::new(id, file.file, HEADER, file.end, None);
            while let Some((_, parsed)) = reader.next().map_err(failed)? {
                let wanted = parsed.record.kind != RecordKind::Mark && parsed.record.revision >= from;
                if wanted && !visit(&parsed.record) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads one version.
    fn fetch(&self, key: &Key, version: &Version, extract: &Extract) -> Result<Arc<Entry>, ReadError> {
        let place = version.place;
        let file = self.files.table.lock().file(place.file);
        let (file, _) = file.ok_or_else(|| failed(format!("{} is not there", place.file.name())))?;
        let mut bytes = vec![0; place.length as usize];
        let read = read_full(&*file, &mut bytes, u64::from(place.offset)).map_err(failed)?;
        let record = parse(&bytes[..read], place.file).map(|parsed| parsed.record);
        let record = record.filter(|record| {
            key.is(record.bucket, record.path)
                && (record.revision, record.kind) == (version.revision, place.kind)
        });
        let record = record
            .ok_or_else(|| failed(format!("{} is damaged at offset {}", place.file.name(), place.offset)))?;
        Ok(entry(key.clone(), &record, extract))
    }
}

fn entry(key: Key, record: &Record<'_>, extract: &Extract) -> Arc<Entry> {
    let value = open_value(record);
    let extracted = extract(&key, &value).unwrap_or_else(|reason| {
        tracing::error!(%key, %reason, "a stored value is not understood");
        Extracted::nothing()
    });
    Arc::new(Entry { key, value, revision: record.revision, written: record.written, extracted })
}

/// Reads old events of a scope, in order, some at a time.
pub(crate) struct PastReader {
    keeper: Arc<Keeper>,
    extract: Extract,
    names: Names,
    at: Option<(u32, Reader)>,
    position: Revision,
}

impl PastReader {
    pub(crate) fn new(keeper: Arc<Keeper>, extract: Extract, after: Revision) -> PastReader {
        PastReader { keeper, extract, names: Names::default(), at: None, position: after }
    }

    /// Every event of the scope up to here was given out.
    pub(crate) fn position(&self) -> Revision {
        self.position
    }

    /// Up to `most` further events, and none only when the position is `until` or above.
    pub(crate) fn read(
        &mut self,
        bucket: &Bucket,
        topic: &Topic,
        until: Revision,
        most: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let keeper = self.keeper.clone();
        let index = keeper.index()?;
        keeper.check_kept(self.position)?;
        let mut events = Vec::new();
        while events.len() < most && self.position < until {
            let Some((number, reader)) = &mut self.at else {
                self.at = Some(self.open()?);
                continue;
            };
            let record = match reader.next().map_err(failed)? {
                Some((_, parsed)) => parsed.record,
                None => {
                    // Either the file was read to its end, or it has grown since it was opened.
                    let number = *number;
                    let last = keeper.files.table.lock().main.get(&number).map(|file| file.last);
                    if last.is_some_and(|last| last == self.position) || last.is_none() {
                        self.at = None;
                    } else {
                        self.at = Some(self.open()?);
                    }
                    continue;
                }
            };
            if record.kind == RecordKind::Mark || record.revision <= self.position {
                continue;
            }
            self.position = record.revision;
            let of_scope = record.bucket == bucket.as_str()
                && match topic {
                    Topic::Namespace(namespace) => record.path.split('\0').next() == Some(namespace),
                    Topic::All | Topic::Term(_) => true,
                };
            if of_scope && let Some(key) = self.names.key(record.bucket, record.path) {
                let event = keeper.event(&index, key, &record, &self.extract)?;
                if topic.carries(&event) {
                    events.push(Arc::new(event));
                }
            }
        }
        Ok(events)
    }

    /// Opens the file that holds what comes after the position.
    fn open(&self) -> Result<(u32, Reader), ReadError> {
        let table = self.keeper.files.table.lock();
        let file = table.main.iter().find(|(_, file)| file.last > self.position);
        let (number, file) = file.ok_or_else(|| failed("the log ends before the state"))?;
        let reader = Reader::new(FileId::main(*number), file.file.clone(), HEADER, file.end, None);
        Ok((*number, reader))
    }
}

impl Keeper {
    fn event(
        &self,
        index: &Index,
        key: Key,
        record: &Record<'_>,
        extract: &Extract,
    ) -> Result<Event, ReadError> {
        let previous = match record.previous {
            Revision(0) => None,
            revision => {
                let versions = index.versions(&key)?;
                let version = versions.iter().find(|version| version.revision == revision);
                let version =
                    version.ok_or_else(|| failed(format!("{key}@{revision} is not in the index")))?;
                Some(self.fetch(&key, version, extract)?)
            }
        };
        let kind = match record.kind {
            RecordKind::Delete => EventKind::Delete,
            RecordKind::Put | RecordKind::Mark => EventKind::Put,
        };
        Ok(Event::new(kind, entry(key, record, extract), previous))
    }
}
