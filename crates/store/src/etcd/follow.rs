//! From etcd into memory: the whole state once, and from there on every change.
//!
//! What is loaded is not the newest state but one from a while before, and the changes since then are read as any
//! others are: so watches that began before this store was opened go on. All changes come through one watch, in the
//! order of their revisions, and become the store's events; a writer is answered when its own has come.
//!
//! What this cannot follow (changes that were compacted while etcd was away, or that somebody made by hand and that
//! are no single write of one object) makes it load the state anew; watches end with `Compacted` then, and their
//! clients list again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::link::{CallError, Connection, next};
use super::stored::{Place, Stored};
use super::wire::event::EventType;
use super::wire::{self, RangeRequest};
use super::{EtcdError, Shared};
use crate::author::Author;
use crate::entry::{Event, EventKind};
use crate::key::{Key, Revision, Timestamp};
use crate::log::Names;
use crate::state::State;

/// How far before the newest revision a store begins, if etcd still has what happened since.
const REPLAY: i64 = 10_000;

/// Objects that are loaded at once.
const PAGE: i64 = 500;

/// How long to wait before the first and at most before any further try to reach etcd.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Why following stopped.
pub(crate) enum Stopped {
    /// A call failed. Begin again where it stopped.
    Call(CallError),
    /// What happened since cannot be followed. Load the state anew.
    Reload(&'static str),
    /// It cannot go on.
    Fatal(EtcdError),
}

impl From<CallError> for Stopped {
    fn from(error: CallError) -> Stopped {
        Stopped::Call(error)
    }
}

impl From<EtcdError> for Stopped {
    fn from(error: EtcdError) -> Stopped {
        Stopped::Fatal(error)
    }
}

/// Who waits for which revision to be in memory.
#[derive(Default)]
pub(crate) struct Arrivals {
    waiting: Mutex<Waiting>,
    /// Something has arrived.
    pub(crate) news: Notify,
}

#[derive(Default)]
struct Waiting {
    reached: Revision,
    count: u64,
    by_revision: BTreeMap<(Revision, u64), oneshot::Sender<()>>,
}

impl Arrivals {
    /// Waits until everything up to the revision is in memory.
    pub(crate) async fn reached(&self, revision: Revision) {
        let arrival = {
            let mut waiting = self.waiting.lock();
            if waiting.reached >= revision {
                return;
            }
            let (sender, arrival) = oneshot::channel();
            waiting.count += 1;
            let count = waiting.count;
            waiting.by_revision.insert((revision, count), sender);
            arrival
        };
        // The sender goes with the store, and then nobody waits any more.
        let _ = arrival.await;
    }

    fn announce(&self, revision: Revision) {
        let arrived = {
            let mut waiting = self.waiting.lock();
            waiting.reached = waiting.reached.max(revision);
            let later = waiting.by_revision.split_off(&(revision.next(), 0));
            std::mem::replace(&mut waiting.by_revision, later)
        };
        for sender in arrived.into_values() {
            // A writer that has given up does not listen.
            let _ = sender.send(());
        }
        self.news.notify_waiters();
    }
}

/// Keeps memory up to date.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    names: Names,
    /// One copy of each in memory: there are few.
    authors: HashSet<Author>,
    /// Everything up to here is in memory.
    position: i64,
    /// Which cluster it is.
    cluster: u64,
}

impl Follower {
    /// Loads the state, and all changes up to the newest at the time of the call.
    pub(crate) async fn begin(shared: Arc<Shared>) -> Result<Follower, Stopped> {
        let connection = shared.link.connection().await?;
        let begun = Follower::begin_on(shared.clone(), &connection).await;
        if let Err(Stopped::Call(_)) = &begun {
            shared.link.broken(&connection).await;
        }
        begun
    }

    async fn begin_on(shared: Arc<Shared>, connection: &Connection) -> Result<Follower, Stopped> {
        let header = connection.header(shared.codec.started()).await?;
        let mut follower = Follower {
            shared,
            names: Names::default(),
            authors: HashSet::new(),
            position: 0,
            cluster: header.cluster_id,
        };
        match follower.replay(connection, header.revision).await {
            Err(Stopped::Reload(why)) => follower.reload(why).await?,
            Err(Stopped::Call(CallError::Compacted)) => follower.reload("it is compacted").await?,
            // It may be in the past only.
            Err(Stopped::Fatal(error)) => follower.reload(&crate::log::chain(&error)).await?,
            done => done?,
        }
        Ok(follower)
    }

    /// Loads the state of a while before the newest revision, and follows from there.
    async fn replay(&mut self, connection: &Connection, newest: i64) -> Result<(), Stopped> {
        let wanted = (newest - REPLAY).max(1);
        let state = match self.load(connection, wanted).await {
            Err(Stopped::Call(CallError::Compacted)) => {
                let oldest = self.oldest_after(connection, wanted).await?;
                self.load(connection, oldest).await?
            }
            loaded => loaded?,
        };
        self.begin_at(state);
        if newest > self.position {
            let end = self.mark_end(connection).await?;
            self.follow(connection, Some(end)).await?;
        }
        Ok(())
    }

    /// Follows for good. Gives why it cannot go on.
    pub(crate) async fn run(mut self) -> EtcdError {
        let status = self.shared.status.clone();
        let mut backoff = BACKOFF.0;
        loop {
            let position = self.position;
            let stopped = match self.shared.link.connection().await {
                Ok(connection) => {
                    let stopped = self.follow(&connection, None).await;
                    if let Err(Stopped::Call(_)) = &stopped {
                        self.shared.link.broken(&connection).await;
                    }
                    stopped.err()
                }
                Err(error) => Some(error.into()),
            };
            let why = match stopped {
                None => continue,
                Some(Stopped::Call(CallError::Compacted)) => Some("it is compacted"),
                Some(Stopped::Reload(why)) => Some(why),
                Some(Stopped::Fatal(error)) => return error,
                Some(Stopped::Call(error)) => {
                    status.away(&error.to_string());
                    None
                }
            };
            if let Some(why) = why {
                match self.reload(why).await {
                    Ok(()) => continue,
                    Err(Stopped::Fatal(error)) => return error,
                    Err(Stopped::Call(error)) => status.away(&error.to_string()),
                    Err(Stopped::Reload(reason)) => status.away(reason),
                }
            }
            if self.position != position {
                backoff = BACKOFF.0;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Follows on one connection: up to a revision, or until it fails.
    async fn follow(&mut self, connection: &Connection, until: Option<i64>) -> Result<(), Stopped> {
        let header = connection.header(self.shared.codec.started()).await?;
        if header.cluster_id != self.cluster {
            return Err(EtcdError::OtherCluster.into());
        }
        if header.revision < self.position {
            return Err(EtcdError::WentBack { seen: self.position, found: header.revision }.into());
        }
        let range = self.shared.codec.everything();
        let mut stream = connection.watch(range, self.position + 1).await?;
        loop {
            let response = tokio::select! {
                response = next(&mut stream) => response?,
                () = self.shared.link.doubted() => {
                    // A silent watch may be one that nothing happens on, or one whose member is gone.
                    connection.answers(self.shared.codec.started()).await?;
                    continue;
                }
            };
            if response.canceled && response.compact_revision > 0 {
                return Err(CallError::Compacted.into());
            }
            if response.canceled {
                return Err(CallError::Lost(response.cancel_reason.into()).into());
            }
            if response.created {
                self.shared.status.here();
            }
            self.apply(response.events)?;
            if until.is_some_and(|until| self.position >= until) {
                return Ok(());
            }
        }
    }

    /// The state as of a revision.
    async fn load(&mut self, connection: &Connection, at: i64) -> Result<State, Stopped> {
        let mut state = State::empty();
        let (mut key, range_end) = self.shared.codec.objects();
        loop {
            let request =
                RangeRequest { key: key.clone(), range_end: range_end.clone(), limit: PAGE, revision: at };
            let answer = connection.range(request).await?;
            if let Some(last) = answer.kvs.last() {
                // The first key behind it.
                key = [&last.key[..], &[0]].concat().into();
            }
            for kv in answer.kvs {
                let Place::Object(key) = self.shared.codec.place(&kv.key, &mut self.names) else { continue };
                let stored = self.read(&key, &kv.value)?;
                state.written = state.written.max(stored.written);
                let revision = Revision(kv.mod_revision as u64);
                let entry = stored.entry(key, revision, Timestamp::default(), &self.shared.extract);
                state.put(entry);
            }
            if !answer.more {
                state.revision = Revision(at as u64);
                return Ok(state);
            }
        }
    }

    fn read(&mut self, key: &Key, value: &Bytes) -> Result<Stored, EtcdError> {
        let mut stored = self.shared.codec.decode(key, value)?;
        if let Some(author) = &mut stored.author {
            match self.authors.get(&**author) {
                Some(known) => *author = known.clone(),
                None => drop(self.authors.insert(author.clone())),
            }
        }
        Ok(stored)
    }

    /// The oldest revision that etcd can still tell, given one that it cannot.
    async fn oldest_after(&self, connection: &Connection, compacted: i64) -> Result<i64, Stopped> {
        let mut stream = connection.watch(self.shared.codec.everything(), compacted).await?;
        loop {
            let response = next(&mut stream).await?;
            if response.compact_revision > 0 {
                return Ok(response.compact_revision);
            }
            if response.canceled || !response.created {
                return Err(CallError::Lost("etcd does not say what it has".into()).into());
            }
        }
    }

    fn begin_at(&mut self, state: State) {
        self.position = state.revision.0 as i64;
        let revision = state.revision;
        let news = self.shared.hub.reset(state);
        self.shared.arrivals.announce(revision);
        news.iter().for_each(|stream| stream.news.notify_waiters());
    }

    /// Writes something that comes back after everything that has happened.
    async fn mark_end(&self, connection: &Connection) -> Result<i64, Stopped> {
        let put = wire::PutRequest { key: self.shared.codec.started(), value: Bytes::new() };
        let put = wire::request_op::Request::RequestPut(put);
        let request = wire::TxnRequest {
            success: vec![wire::RequestOp { request: Some(put) }],
            ..wire::TxnRequest::default()
        };
        let answer = connection.txn(request).await?;
        Ok(answer.header.map_or(self.position, |header| header.revision))
    }

    /// Loads the newest state, after something that cannot be followed.
    async fn reload(&mut self, why: &str) -> Result<(), Stopped> {
        tracing::warn!(after = self.position, why, "read the whole state from etcd again");
        let connection = self.shared.link.connection().await?;
        let loaded = async {
            let header = connection.header(self.shared.codec.started()).await?;
            self.load(&connection, header.revision).await
        };
        match loaded.await {
            Ok(state) => {
                self.begin_at(state);
                Ok(())
            }
            Err(stopped) => {
                self.shared.link.broken(&connection).await;
                Err(stopped)
            }
        }
    }

    /// Makes changes visible. All changes of one revision are there.
    fn apply(&mut self, changes: Vec<wire::Event>) -> Result<(), Stopped> {
        let mut state: Option<State> = None;
        let mut events = Vec::new();
        let mut trouble = None;
        let mut reached = self.position;
        let mut changes = changes.into_iter().peekable();
        while let Some(revision) = changes.peek().map(revision_of) {
            let mut of_revision = Vec::new();
            while let Some(change) = changes.next_if(|change| revision_of(change) == revision) {
                of_revision.push(change);
            }
            // What a member tells twice was told.
            if revision <= self.position {
                continue;
            }
            let state = state.get_or_insert_with(|| (*self.shared.hub.state()).clone());
            match self.event(state, revision, of_revision) {
                Ok(event) => {
                    events.extend(event);
                    reached = revision;
                }
                Err(stopped) => {
                    trouble = Some(stopped);
                    break;
                }
            }
        }
        if let Some(state) = state.filter(|_| !events.is_empty()) {
            let news = self.shared.hub.publish(state, &events);
            news.iter().for_each(|stream| stream.news.notify_waiters());
        }
        if reached > self.position {
            self.position = reached;
            self.shared.arrivals.announce(Revision(reached as u64));
        }
        trouble.map_or(Ok(()), Err)
    }

    /// The event that the changes of one revision are, if they are one of ours.
    fn event(
        &mut self,
        state: &mut State,
        revision: i64,
        changes: Vec<wire::Event>,
    ) -> Result<Option<Arc<Event>>, Stopped> {
        let mut object: Option<(Key, EventKind, Bytes)> = None;
        let mut last = None;
        for change in changes {
            let kind = match change.r#type() {
                EventType::Put => EventKind::Put,
                EventType::Delete => EventKind::Delete,
            };
            let Some(kv) = change.kv else { continue };
            match self.shared.codec.place(&kv.key, &mut self.names) {
                Place::Object(key) if object.is_none() => object = Some((key, kind, kv.value)),
                Place::Object(_) => return Err(Stopped::Reload("many objects changed at once")),
                Place::Last => last = Some(kv.value),
                Place::Other => {}
            }
        }
        let Some((key, kind, value)) = object else { return Ok(None) };
        let value = match (kind, last) {
            (EventKind::Put, _) => value,
            (EventKind::Delete, Some(last)) => last,
            (EventKind::Delete, None) if state.get(&key).is_none() => return Ok(None),
            (EventKind::Delete, None) => return Err(Stopped::Reload("an object was deleted by hand")),
        };
        let stored = self.read(&key, &value)?;
        // One copy of the name in memory, however often it is written.
        let key = state.get(&key).map_or(key, |current| current.key.clone());
        let revision = Revision(revision as u64);
        let entry = stored.entry(key, revision, state.written, &self.shared.extract);
        let previous = match kind {
            EventKind::Put => state.put(entry.clone()),
            EventKind::Delete => state.remove(&entry.key),
        };
        state.revision = revision;
        state.written = entry.written;
        Ok(Some(Arc::new(Event::new(kind, entry, previous))))
    }
}

fn revision_of(change: &wire::Event) -> i64 {
    change.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
