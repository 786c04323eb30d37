//! The committer: one thread that makes writes durable, group by group.
//!
//! While one group is being synced, the next one gathers in the queue: the more callers there are, the larger the
//! groups, and one sync serves them all. Nothing becomes visible before it is safe, and nobody is answered before it
//! is visible.
//!
//! What can go wrong: no room (the group is refused, deletes are tried once more by themselves in a reserve) and a
//! disk that fails (the committer stops for good: after a failed sync nobody knows what is on the disk, and trying
//! again would only hide it). Read on: [`crate::stage`] for how a group is decided.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::author;
use crate::disk::{File, is_full, write_full};
use crate::entry::{Entry, Event, EventKind};
use crate::hub::Hub;
use crate::key::{Key, Revision, Timestamp};
use crate::log::files::{Files, MainFile, Offsets};
use crate::log::format::{
    Chain, FileHeader, FileId, HEADER, RECORD, Record, RecordKind, SEALED, record_length,
};
use crate::log::index::{Place, Position, Version};
use crate::log::keeper::Keeper;
use crate::log::recover::Tail;
use crate::seal::{self, Seal};
use crate::stage::{Prepared, Staged};
use crate::state::State;
use crate::store::Clock;
use crate::write::{Change, WriteError, WriteResult};

/// Writes that somebody waits for.
pub(crate) struct Request {
    pub(crate) writes: Vec<Result<Prepared, WriteError>>,
    pub(crate) reply: oneshot::Sender<Vec<WriteResult>>,
}

/// What waits for the committer.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: std::collections::VecDeque<Request>,
    closed: bool,
    failed: Option<Arc<str>>,
}

/// A group takes no more once it has so many bytes: what comes later shall not wait too long for it.
const GROUP_BYTES: usize = 4 << 20;

impl Queue {
    pub(crate) fn push(&self, request: Request) {
        let mut inner = self.inner.lock();
        let refusal = match &inner.failed {
            Some(reason) => WriteError::Failed { reason: reason.clone() },
            None if inner.closed => WriteError::Closed,
            None => {
                inner.requests.push_back(request);
                drop(inner);
                self.news.notify_one();
                return;
            }
        };
        drop(inner);
        refuse(request, &refusal);
    }

    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.news.notify_one();
    }

    /// The next group; none when the queue is closed and empty.
    fn take(&self) -> Option<Vec<Request>> {
        let mut inner = self.inner.lock();
        while inner.requests.is_empty() {
            if inner.closed {
                return None;
            }
            self.news.wait(&mut inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < GROUP_BYTES
            && let Some(request) = inner.requests.pop_front()
        {
            bytes +=
                request.writes.iter().flatten().map(|prepared| prepared.write.change.size()).sum::<usize>();
            group.push(request);
        }
        Some(group)
    }

    fn is_empty(&self) -> bool {
        self.inner.lock().requests.is_empty()
    }

    /// Refuses everything from now on.
    fn fail(&self, reason: Arc<str>) {
        let requests = {
            let mut inner = self.inner.lock();
            inner.failed = Some(reason.clone());
            std::mem::take(&mut inner.requests)
        };
        requests
            .into_iter()
            .for_each(|request| refuse(request, &WriteError::Failed { reason: reason.clone() }));
    }
}

fn refuse(request: Request, error: &WriteError) {
    let results = request.writes.iter().map(|_| Err(error.clone())).collect();
    // Whoever asked may have gone.
    let _ = request.reply.send(results);
}

/// Why a group was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// No room. Nothing of the group is on the disk.
    Full,
    /// The disk failed. Nobody knows what is on it.
    Broken(Arc<str>),
}

/// Decides, appends, publishes and answers.
pub(crate) struct Committer {
    hub: Arc<Hub>,
    clock: Clock,
    queue: Arc<Queue>,
    appender: Appender,
}

impl Committer {
    pub(crate) fn new(hub: Arc<Hub>, clock: Clock, queue: Arc<Queue>, appender: Appender) -> Committer {
        Committer { hub, clock, queue, appender }
    }

    /// Works until the queue is closed.
    pub(crate) fn run(mut self) {
        // If this thread ever dies of a mistake of ours, callers get an answer.
        let _guard = FailOnPanic(self.queue.clone());
        self.start();
        let mut state = (*self.hub.state()).clone();
        while let Some(group) = self.queue.take() {
            match self.commit(&state, group) {
                Ok(Some(next)) => state = next,
                Ok(None) => {}
                Err(reason) => {
                    tracing::error!(%reason, "the disk failed, the store takes no more writes");
                    self.queue.fail(reason);
                    return;
                }
            }
            if self.queue.is_empty() {
                self.rest();
            }
        }
        self.rest();
    }

    /// Before the first group.
    pub(crate) fn start(&mut self) {
        self.appender.start();
        self.appender.mark();
    }

    /// When nothing is left to do.
    pub(crate) fn rest(&mut self) {
        self.appender.mark();
    }

    /// Makes one group durable and visible. Gives the new state if there is one, and why the disk failed if it did.
    pub(crate) fn commit(&mut self, state: &State, group: Vec<Request>) -> Result<Option<State>, Arc<str>> {
        let now = (self.clock)().into();
        let mut staged = stage(state, &group, now, false);
        let mut appended = self.appender.append(&staged.events, false);
        if let Err(AppendError::Full) = appended {
            staged = stage(state, &group, now, true);
            appended = self.appender.append(&staged.events, true);
        }
        let mut failure = None;
        let mut next = None;
        let mut news = Vec::new();
        let Staged { state, events, mut results } = staged;
        match appended {
            Ok(versions) => {
                if !events.is_empty() {
                    next = Some(state.clone());
                    // First, so that the index knows every key of every state that anyone sees.
                    if let Some((versions, position)) = versions {
                        self.appender.keeper.indexed_later(versions, position);
                    }
                    news = self.hub.publish(state, &events);
                }
            }
            Err(AppendError::Full) => {
                results
                    .iter_mut()
                    .filter(|result| result.is_ok())
                    .for_each(|result| *result = Err(WriteError::Full));
            }
            Err(AppendError::Broken(reason)) => {
                let unknown = WriteError::Unknown { reason: reason.clone() };
                // What a failed write says about the key was never visible either.
                results.iter_mut().for_each(|result| *result = Err(unknown.clone()));
                failure = Some(reason);
            }
        }
        let mut results = results.into_iter();
        for request in group {
            let answers = results.by_ref().take(request.writes.len()).collect();
            // Whoever asked may have gone.
            let _ = request.reply.send(answers);
        }
        news.iter().for_each(|stream| stream.news.notify_waiters());
        failure.map_or(Ok(next), Err)
    }
}

fn stage(state: &State, group: &[Request], now: Timestamp, only_deletes: bool) -> Staged {
    let mut staged = Staged::on(state);
    for write in group.iter().flat_map(|request| &request.writes) {
        match write {
            Ok(prepared) if only_deletes && matches!(prepared.write.change, Change::Put(_)) => {
                staged.results.push(Err(WriteError::Full));
            }
            Ok(prepared) => staged.add(prepared, now),
            Err(error) => staged.results.push(Err(error.clone())),
        }
    }
    staged
}

struct FailOnPanic(Arc<Queue>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the committer panicked".into());
        }
    }
}

/// Room at the end of a file that only deletes may use when there is no next file. The record of a deletion holds the
/// whole last state, so this is more than the largest object that the API takes.
const RESERVE: u64 = 2 << 20;

/// What the index has to know of a group.
type Appended = (Vec<(Key, Version)>, Position);

/// Appends groups to the newest file.
pub(crate) struct Appender {
    files: Arc<Files>,
    keeper: Arc<Keeper>,
    id: FileId,
    file: Arc<dyn File>,
    size: u64,
    segment_bytes: u64,
    /// The header, while it is not on the disk.
    header: Option<FileHeader>,
    /// Where the next record goes.
    end: u64,
    chain: Chain,
    /// How much is safe, and the chain up to there. Behind it stands a mark at most.
    synced: u64,
    synced_chain: Chain,
    last: Revision,
    written: Timestamp,
    offsets: Arc<Mutex<Offsets>>,
    seal: Option<Arc<dyn Seal>>,
}

impl Appender {
    pub(crate) fn new(files: Arc<Files>, tail: Tail, keeper: Arc<Keeper>) -> Appender {
        let segment_bytes = keeper.options.segment_bytes;
        let seal = keeper.options.seal.clone();
        let main = files
            .table
            .lock()
            .main
            .get(&tail.id.number)
            .cloned()
            .expect("recovery gives a file that is open");
        Appender {
            files,
            keeper,
            id: tail.id,
            file: main.file,
            size: main.size,
            segment_bytes,
            header: None,
            end: tail.end,
            chain: tail.chain,
            synced: tail.end,
            synced_chain: tail.chain,
            last: main.last,
            written: main.header.written,
            offsets: main.offsets,
            seal,
        }
    }

    fn start(&self) {
        self.keeper.want_spare(self.id.next(), self.next_size());
    }

    fn next_size(&self) -> u64 {
        (self.size * 4).min(self.segment_bytes)
    }

    /// Makes the events of one group safe. Gives what the index has to know of them.
    fn append(&mut self, events: &[Arc<Event>], only_deletes: bool) -> Result<Option<Appended>, AppendError> {
        if events.is_empty() {
            return Ok(None);
        }
        let values = events.iter().map(|event| self.value(event)).collect::<Result<Vec<_>, _>>()?;
        let lengths = events.iter().zip(&values).map(|(event, (_, value))| event_length(event, value) as u64);
        let length = lengths.sum();
        self.make_room(length, only_deletes)?;
        let mut buffer = Vec::with_capacity(length as usize + HEADER as usize);
        let start = match &self.header {
            Some(header) => {
                buffer.extend_from_slice(&header.encode());
                0
            }
            None => self.end,
        };
        let synced = if self.header.is_some() { 0 } else { self.synced };
        let mut chain = self.chain;
        let mut versions = Vec::with_capacity(events.len());
        let mut at = start + buffer.len() as u64;
        let mut last = at;
        for (event, (flags, value)) in events.iter().zip(&values) {
            let record = Record { flags: *flags, value, ..event_record(event, synced, chain) };
            let crc = record.encode(self.id, &mut buffer);
            chain = chain.after(crc);
            let end = start + buffer.len() as u64;
            versions.push(version(event, self.id, at, end));
            last = at;
            at = end;
        }
        if let Err(error) = write_full(&*self.file, &buffer, start) {
            return Err(self.undo(&error, start, buffer.len()));
        }
        if let Err(error) = self.file.sync() {
            return Err(AppendError::Broken(format!("sync of {}: {error}", self.id.name()).into()));
        }
        self.end = start + buffer.len() as u64;
        self.chain = chain;
        (self.synced, self.synced_chain) = (self.end, chain);
        if let Some(event) = events.last() {
            (self.last, self.written) = (event.revision(), event.entry.written);
        }
        self.tell_table();
        {
            let mut offsets = self.offsets.lock();
            versions
                .iter()
                .for_each(|(_, version)| offsets.note(version.revision, u64::from(version.place.offset)));
        }
        let position =
            Position { file: self.id, start: last, end: self.end, chain: chain.0, revision: self.last };
        Ok(Some((versions, position)))
    }

    /// The value as it stands in the record, and the flag that says how.
    fn value<'a>(&self, event: &'a Event) -> Result<(u8, Cow<'a, [u8]>), AppendError> {
        let Entry { key, value, revision, author, .. } = &*event.entry;
        let (flags, value) = author::with_author(author.as_deref(), value);
        match &self.seal {
            Some(seal) if seal.seals(key.bucket()) => {
                let context = seal::context(key.bucket().as_str(), &key.path().0, *revision);
                let sealed = seal.seal(&context, &value);
                // A disk that takes no more secrets is as good as one that takes nothing.
                let sealed = sealed.map_err(|error| AppendError::Broken(error.to_string().into()))?;
                Ok((flags | SEALED, Cow::Owned(sealed)))
            }
            _ => Ok((flags, value)),
        }
    }

    /// A group of which only a part fitted must not come back after a restart: it is refused.
    fn undo(&mut self, error: &std::io::Error, start: u64, length: usize) -> AppendError {
        let broken = |error: &std::io::Error| {
            AppendError::Broken(format!("write to {}: {error}", self.id.name()).into())
        };
        if !is_full(error) {
            return broken(error);
        }
        let size = self.file.length().unwrap_or(self.size);
        let zeros = vec![0; length.min(size.saturating_sub(start) as usize)];
        match write_full(&*self.file, &zeros, start).and_then(|()| self.file.sync()) {
            Ok(()) => AppendError::Full,
            Err(error) => broken(&error),
        }
    }

    fn tell_table(&mut self) {
        let mut table = self.files.table.lock();
        if let Some(header) = self.header.take() {
            let (file, offsets) = (self.file.clone(), self.offsets.clone());
            let main = MainFile { file, header, last: self.last, end: self.end, size: self.size, offsets };
            table.main.insert(self.id.number, main);
            drop(table);
            self.keeper.want_spare(self.id.next(), self.next_size());
        } else if let Some(main) = table.main.get_mut(&self.id.number) {
            (main.end, main.last) = (self.end, self.last);
        }
    }

    /// Goes on to the next file if the group does not fit into this one.
    fn make_room(&mut self, length: u64, only_deletes: bool) -> Result<(), AppendError> {
        let fits = self.end + length <= self.size;
        let reserve =
            if only_deletes || self.keeper.spare_is_ready() { 0 } else { RESERVE.min(self.size / 4) };
        if self.end + length + reserve <= self.size {
            return Ok(());
        }
        if self.header.is_some() {
            // Its first group was refused. Its number must not be skipped: it has to do.
            let size = self.end + length;
            return match self.file.allocate(size) {
                Ok(()) => {
                    self.size = size;
                    Ok(())
                }
                Err(error) if is_full(&error) => Err(AppendError::Full),
                Err(error) => Err(AppendError::Broken(format!("extend {}: {error}", self.id.name()).into())),
            };
        }
        let id = self.id.next();
        let size = self.next_size().max(HEADER + length);
        let (file, size) = match self.keeper.take_spare(id, size) {
            Ok(spare) => spare,
            Err(error) if is_full(&error) && only_deletes && fits => return Ok(()),
            Err(error) if is_full(&error) => return Err(AppendError::Full),
            Err(error) => return Err(AppendError::Broken(format!("make {}: {error}", id.name()).into())),
        };
        self.header = Some(FileHeader {
            id,
            chain: self.synced_chain,
            base: self.last,
            previous_end: self.synced,
            written: self.written,
        });
        (self.id, self.file, self.size, self.end) = (id, file, size, HEADER);
        (self.chain, self.synced) = (self.synced_chain, HEADER);
        self.offsets = Offsets::complete();
        Ok(())
    }

    /// Says, when nothing else is to do, that all before it is safe: so that damage to the last group is told from
    /// a group that never was whole. Needs no sync: the mark is either there or not.
    fn mark(&mut self) {
        if self.end != self.synced || self.header.is_some() || self.end + RECORD as u64 > self.size {
            return;
        }
        let mut buffer = Vec::with_capacity(RECORD);
        let mark = Record::mark(self.last, self.written, self.synced, self.chain);
        let crc = mark.encode(self.id, &mut buffer);
        if write_full(&*self.file, &buffer, self.end).is_ok() {
            self.end += buffer.len() as u64;
            self.chain = self.chain.after(crc);
        }
    }
}

fn event_length(event: &Event, value: &[u8]) -> usize {
    let key = &event.entry.key;
    record_length(key.bucket().as_str().len(), key.path().0.len(), value.len())
}

fn record_kind(kind: EventKind) -> RecordKind {
    match kind {
        EventKind::Put => RecordKind::Put,
        EventKind::Delete => RecordKind::Delete,
    }
}

fn event_record(event: &Event, synced: u64, chain: Chain) -> Record<'_> {
    let entry = &event.entry;
    Record {
        kind: record_kind(event.kind),
        flags: 0,
        revision: entry.revision,
        written: entry.written,
        previous: event.previous.as_ref().map_or(Revision(0), |previous| previous.revision),
        synced,
        chain,
        bucket: entry.key.bucket().as_str(),
        path: &entry.key.path().0,
        value: &entry.value,
    }
}

fn version(event: &Event, file: FileId, start: u64, end: u64) -> (Key, Version) {
    let length = (end - start) as u32;
    let place = Place { kind: record_kind(event.kind), file, offset: start as u32, length };
    (event.entry.key.clone(), Version { revision: event.revision(), place })
}
