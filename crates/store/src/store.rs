//! The handle that everybody holds: opens a store, reads, writes, watches.
//!
//! Read on: [`crate::stage`] for what a write does, [`crate::hub`] for what readers and watchers see.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::entry::{Entry, Event, Extract, Extracted};
use crate::hub::{Hub, Window};
use crate::key::{Bucket, Key, Revision};
use crate::stage::{Prepared, Staged};
use crate::state::{Scope, Snapshot, State};
use crate::watch::{ReadError, Watch};
use crate::write::{Change, Write, WriteError, WriteResult};

/// Where the time of a record comes from.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Where objects are kept.
#[derive(Clone)]
pub enum Backend {
    /// In memory only: gone with the process.
    Memory,
    /// In a log of revisions in this directory, which is made if it is not there.
    Log(PathBuf),
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Where objects are kept.
    pub backend: Backend,
    /// Reads headers and terms of values.
    pub extract: Extract,
    /// Tells the time of records.
    pub clock: Clock,
    /// How many recent events stay in memory.
    pub window: Window,
}

impl Options {
    /// The usual options.
    pub fn new(backend: Backend, extract: Extract) -> Options {
        Options { backend, extract, clock: Arc::new(SystemTime::now), window: Window::default() }
    }

    /// A store in memory that knows nothing about its values.
    pub fn memory() -> Options {
        Options::new(Backend::Memory, Arc::new(|_, _| Ok(Extracted::nothing())))
    }
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This build does not have the backend.
    #[error("the backend is not supported")]
    Unsupported,
}

/// The largest value that a write may have.
pub const MAX_VALUE: usize = 32 << 20;

/// A store. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    extract: Extract,
    clock: Clock,
    commit: Mutex<()>,
}

impl Store {
    /// Opens a store. Blocks until everything that it holds is in memory.
    pub fn open(options: Options) -> Result<Store, OpenError> {
        match options.backend {
            Backend::Memory => Ok(Store(Arc::new(Inner {
                hub: Arc::new(Hub::new(State::empty(), options.window)),
                extract: options.extract,
                clock: options.clock,
                commit: Mutex::new(()),
            }))),
            Backend::Log(_) => Err(OpenError::Unsupported),
        }
    }

    /// The newest acknowledged state. Costs nothing, whatever is stored.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.hub.state())
    }

    /// The state as it was at a revision.
    pub async fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, ReadError> {
        self.check_not_future(revision)?;
        match self.0.hub.state_at(revision) {
            Ok(state) => Ok(Snapshot(state)),
            Err(oldest) => Err(ReadError::Compacted { asked: revision, oldest }),
        }
    }

    /// The versions of one key that are kept, newest first: what was put, and when it was deleted.
    pub async fn history(&self, key: &Key) -> Result<Vec<Arc<Event>>, ReadError> {
        Ok(self.0.hub.events_of(key))
    }

    /// The oldest revision that [`Store::snapshot_at`] and [`Store::watch`] can go back to.
    pub fn oldest(&self) -> Revision {
        self.0.hub.floor()
    }

    /// Makes one write. When this returns an entry, the write is durable and every reader sees it.
    /// Once it is polled the write happens, even if the future is dropped.
    pub async fn write(&self, write: Write) -> WriteResult {
        let mut results = self.write_all(vec![write]).await;
        results.pop().unwrap_or(Err(WriteError::Closed))
    }

    /// Makes many writes, in their order and in one group, each by itself: one that fails does not stop the others.
    /// Gives one result for each.
    pub async fn write_all(&self, writes: Vec<Write>) -> Vec<WriteResult> {
        let inner = &self.0;
        let prepared: Vec<_> = writes.into_iter().map(|write| inner.prepare(write)).collect();
        let _commit = inner.commit.lock();
        if inner.hub.is_closed() {
            return prepared.iter().map(|_| Err(WriteError::Closed)).collect();
        }
        let now = (inner.clock)().into();
        let mut staged = Staged::on(&inner.hub.state());
        for prepared in prepared {
            match prepared {
                Ok(prepared) => staged.add(prepared, now),
                Err(error) => staged.results.push(Err(error)),
            }
        }
        let Staged { state, events, results } = staged;
        if !events.is_empty() {
            let news = inner.hub.publish(state, &events);
            news.iter().for_each(|stream| stream.news.notify_waiters());
        }
        results
    }

    /// All writes to a scope of the bucket after a revision, as they happen.
    pub fn watch<'a>(
        &self,
        bucket: &Bucket,
        after: Revision,
        scope: impl Into<Scope<'a>>,
    ) -> Result<Watch, ReadError> {
        self.check_not_future(after)?;
        let oldest = self.oldest();
        if after < oldest {
            return Err(ReadError::Compacted { asked: after, oldest });
        }
        Ok(Watch::new(self.0.hub.clone(), bucket, scope.into(), after))
    }

    /// Closes the store: what was written is safe, further writes fail, watches end. Reads go on.
    pub async fn close(&self) {
        let _commit = self.0.commit.lock();
        self.0.hub.close();
    }

    fn check_not_future(&self, asked: Revision) -> Result<(), ReadError> {
        let newest = self.0.hub.state().revision;
        if asked > newest { Err(ReadError::Future { asked, newest }) } else { Ok(()) }
    }
}

impl Inner {
    /// Does what needs no knowledge of the state, on the caller's thread.
    fn prepare(&self, write: Write) -> Result<Prepared, WriteError> {
        if !write.key.is_valid() {
            return Err(WriteError::InvalidKey { key: write.key });
        }
        let (Change::Put(template) | Change::Delete { last: template }) = &write.change;
        let size = template.head.len() + template.tail.len();
        if size > MAX_VALUE {
            return Err(WriteError::TooLarge { size });
        }
        let value = template.fill(Revision::default());
        let extracted = (self.extract)(&write.key, &value).map_err(WriteError::malformed)?;
        Ok(Prepared { write, extracted })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store@{}", self.0.hub.state().revision)
    }
}

/// An entry as one line, for logs and tests.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}
