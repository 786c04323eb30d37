//! Reading what the window in memory does not have any more: versions of a key, old states, old events.
//!
//! Readers hold the index's lock while they follow it into files, so that no file goes away under them. The committer
//! never takes that lock. Read on: [`crate::log::collect`] for what does go away.

use std::collections::HashMap;
use std::sync::Arc;

use crate::disk::read_full;
use crate::entry::{Entry, Event, EventKind, Extract, Extracted};
use crate::hub::Topic;
use crate::key::{Bucket, Key, Revision, Timestamp};
use crate::log::files::Reader;
use crate::log::format::{Record, RecordKind, parse};
use crate::log::index::{Index, IndexError, Version};
use crate::log::keeper::Keeper;
use crate::log::recover::open_value;
use crate::log::{LogOptions, Names};
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

    /// The same, and when it was written. The header of the oldest file has the time of the newest write before it.
    pub(crate) fn reaches_back_to(&self) -> (Revision, Timestamp) {
        let table = self.files.table.lock();
        let oldest = table.main.first_key_value();
        (table.compacted(), oldest.map_or(Timestamp::default(), |(_, file)| file.header.written))
    }

    fn check_kept(&self, asked: Revision) -> Result<(), ReadError> {
        let oldest = self.compacted();
        if asked < oldest { Err(ReadError::Compacted { asked, oldest }) } else { Ok(()) }
    }

    /// All versions of a key that are kept, newest first.
    pub(crate) fn history(&self, key: &Key, extract: &Extract) -> Result<Vec<Arc<Event>>, ReadError> {
        let index = self.index()?;
        let compacted = self.compacted();
        let mut newest_first: Vec<(RecordKind, Arc<Entry>)> = Vec::new();
        // Each life of the key ends with a version that the index knows; the records lead back to its beginning.
        for version in index.versions(key)?.iter().rev() {
            if newest_first.last().is_some_and(|(_, entry)| entry.revision <= version.revision) {
                continue;
            }
            let (kind, entry, mut previous) = self.fetch(key, version, extract)?;
            newest_first.push((kind, entry));
            while previous > Revision(0) {
                let Some((kind, entry, before)) = self.find(&index, key, previous, extract)? else {
                    break;
                };
                newest_first.push((kind, entry));
                // What is older than the history is known once at most.
                previous = if previous <= compacted { Revision(0) } else { before };
            }
        }
        let mut events = Vec::with_capacity(newest_first.len());
        let mut later = newest_first.into_iter().peekable();
        while let Some((kind, entry)) = later.next() {
            let before =
                later.peek().filter(|(kind, _)| *kind == RecordKind::Put).map(|(_, entry)| entry.clone());
            events.push(Arc::new(Event::new(event_kind(kind), entry, before)));
        }
        Ok(events)
    }

    /// The state at a revision: the newest one, with what was written since undone.
    pub(crate) fn state_at(&self, revision: Revision, extract: &Extract) -> Result<Arc<State>, ReadError> {
        let index = self.index()?;
        self.check_kept(revision)?;
        let newest = self.hub.state();
        let mut names = Names::default();
        // The version that each key had before it was first written after the revision.
        let mut before: HashMap<Key, Revision> = HashMap::new();
        self.walk(revision.next(), |record| {
            if record.revision > newest.revision {
                return false;
            }
            if let Some(key) = names.key(record.bucket, record.path) {
                before.entry(key).or_insert(record.previous);
            }
            true
        })?;
        let mut state = (*newest).clone();
        for (key, previous) in before {
            match previous {
                Revision(0) => state.remove(&key),
                previous => {
                    let found = self.find(&index, &key, previous, extract)?;
                    let (_, entry, _) =
                        found.ok_or_else(|| failed(format!("{key}@{previous} is not in the log")))?;
                    state.put(entry)
                }
            };
        }
        state.revision = revision;
        state.written = self.time_of(revision)?;
        Ok(Arc::new(state))
    }

    /// When a revision was written.
    fn time_of(&self, revision: Revision) -> Result<Timestamp, ReadError> {
        if revision <= self.compacted() {
            // A file's header has the time of the newest write before it.
            let table = self.files.table.lock();
            return Ok(table
                .main
                .first_key_value()
                .map_or(Timestamp::default(), |(_, file)| file.header.written));
        }
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

    /// Visits the records from a revision on until the visitor has enough.
    fn walk(&self, from: Revision, mut visit: impl FnMut(&Record<'_>) -> bool) -> Result<(), ReadError> {
        let files: Vec<_> = self.files.table.lock().main.values().cloned().collect();
        for file in files.into_iter().filter(|file| file.last >= from) {
            let mut reader = file.reader_at(from).map_err(failed)?;
            while let Some((_, parsed)) = reader.next().map_err(failed)? {
                let wanted = parsed.record.kind != RecordKind::Mark && parsed.record.revision >= from;
                if wanted && !visit(&parsed.record) {
                    return Ok(());
                }
            }
            if reader.offset() != file.end {
                return Err(failed(format!(
                    "{} is damaged at offset {}",
                    file.header.id.name(),
                    reader.offset()
                )));
            }
        }
        Ok(())
    }

    /// Reads one version where the index says that it is. Gives also the revision of the version before it.
    fn fetch(&self, key: &Key, version: &Version, extract: &Extract) -> Result<Found, ReadError> {
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
        Ok((record.kind, entry(key.clone(), &record, extract, &self.options)?, record.previous))
    }

    /// Reads one version by its revision, if it is kept.
    fn find(
        &self,
        index: &Index,
        key: &Key,
        revision: Revision,
        extract: &Extract,
    ) -> Result<Option<Found>, ReadError> {
        let main = self.files.table.lock().main_of(revision).cloned();
        let Some(main) = main else {
            let versions = index.versions(key)?;
            let version = versions.iter().find(|version| version.revision == revision);
            return version.map(|version| self.fetch(key, version, extract)).transpose();
        };
        let mut reader = main.reader_at(revision).map_err(failed)?;
        while let Some((_, parsed)) = reader.next().map_err(failed)? {
            let record = parsed.record;
            if record.kind != RecordKind::Mark && record.revision >= revision {
                if record.revision != revision || !key.is(record.bucket, record.path) {
                    return Ok(None);
                }
                let entry = entry(key.clone(), &record, extract, &self.options)?;
                return Ok(Some((record.kind, entry, record.previous)));
            }
        }
        Err(failed(format!("{} is damaged at offset {}", main.header.id.name(), reader.offset())))
    }
}

/// A version that was read, and the revision of the one before it.
type Found = (RecordKind, Arc<Entry>, Revision);

fn event_kind(kind: RecordKind) -> EventKind {
    match kind {
        RecordKind::Delete => EventKind::Delete,
        RecordKind::Put | RecordKind::Mark => EventKind::Put,
    }
}

fn entry(
    key: Key,
    record: &Record<'_>,
    extract: &Extract,
    options: &LogOptions,
) -> Result<Arc<Entry>, ReadError> {
    let (author, value) = open_value(record, options.seal.as_ref())
        .map_err(|error| failed(format!("{key}@{} cannot be decrypted: {error}", record.revision)))?;
    let extracted = extract(&key, &value).unwrap_or_else(|reason| {
        tracing::error!(%key, %reason, "a stored value is not understood");
        Extracted::nothing()
    });
    let (revision, written) = (record.revision, record.written);
    Ok(Arc::new(Entry { key, value, revision, written, author, extracted }))
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
        let (number, file) = (*number, file.clone());
        drop(table);
        Ok((number, file.reader_at(self.position.next()).map_err(failed)?))
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
                let found = self.find(index, &key, revision, extract)?;
                Some(found.ok_or_else(|| failed(format!("{key}@{revision} is not in the log")))?.1)
            }
        };
        let entry = entry(key, record, extract, &self.options)?;
        Ok(Event::new(event_kind(record.kind), entry, previous))
    }
}
