//! The handle that everybody holds: opens a store, reads, writes, watches.
//!
//! Read on: [`crate::stage`] for what a write does, [`crate::hub`] for what readers and watchers see.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::entry::{Entry, Event, Extract, Extracted};
use crate::etcd::{Etcd, EtcdOptions};
use crate::hub::{Hub, Window};
use crate::key::{Bucket, Key, Revision, Timestamp};
use crate::log::recover::OpenError;
use crate::log::{Log, LogOptions};
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
    /// In a log of revisions on a disk.
    Log(LogOptions),
    /// In etcd, together with other stores.
    Etcd(EtcdOptions),
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

/// The largest value that a write may have.
pub const MAX_VALUE: usize = 32 << 20;

/// A store. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    extract: Extract,
    engine: Engine,
}

/// Who commits.
enum Engine {
    /// The caller does, under a lock.
    Memory { clock: Clock, commit: Mutex<()> },
    /// The log's committer does.
    Log(Box<Log>),
    /// etcd does.
    Etcd(Etcd),
}

impl Store {
    /// Opens a store. Blocks until everything that it holds is in memory.
    pub fn open(options: Options) -> Result<Store, OpenError> {
        let Options { backend, extract, clock, window } = options;
        let (hub, engine) = match backend {
            Backend::Memory => {
                let hub = Arc::new(Hub::new(State::empty(), window));
                (hub, Engine::Memory { clock, commit: Mutex::new(()) })
            }
            Backend::Log(options) => {
                let log = Log::open(options, extract.clone(), clock, window)?;
                (log.hub().clone(), Engine::Log(Box::new(log)))
            }
            Backend::Etcd(options) => {
                let etcd = Etcd::open(options, extract.clone(), clock, window)?;
                (etcd.hub().clone(), Engine::Etcd(etcd))
            }
        };
        Ok(Store(Arc::new(Inner { hub, extract, engine })))
    }

    /// The newest acknowledged state. Costs nothing, whatever is stored.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.hub.state())
    }

    /// The state as it was at a revision. What the window in memory does not have is read from the log.
    pub async fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, ReadError> {
        self.check_not_future(revision)?;
        let oldest = match self.0.hub.state_at(revision) {
            Ok(state) => return Ok(Snapshot(state)),
            Err(oldest) => oldest,
        };
        match &self.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => Err(ReadError::Compacted { asked: revision, oldest }),
            Engine::Log(log) => {
                let known = log.past.lock().clone().filter(|state| state.revision == revision);
                if let Some(state) = known {
                    return Ok(Snapshot(state));
                }
                let state = self
                    .blocking(move |log, extract| {
                        let state = log.keeper().state_at(revision, extract)?;
                        *log.past.lock() = Some(state.clone());
                        Ok(state)
                    })
                    .await?;
                Ok(Snapshot(state))
            }
        }
    }

    /// The versions of one key that are kept, newest first: what was put, and when it was deleted.
    pub async fn history(&self, key: &Key) -> Result<Vec<Arc<Event>>, ReadError> {
        match &self.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => Ok(self.0.hub.events_of(key)),
            Engine::Log(_) => {
                let key = key.clone();
                self.blocking(move |log, extract| log.keeper().history(&key, extract)).await
            }
        }
    }

    /// The newest revision that was written at this time or before.
    pub async fn revision_at(&self, time: Timestamp) -> Result<Revision, ReadError> {
        match self.0.hub.revision_at(time) {
            Ok(revision) => Ok(revision),
            Err(oldest) => match &self.0.engine {
                Engine::Memory { .. } | Engine::Etcd(_) => {
                    Err(ReadError::Compacted { asked: Revision(0), oldest })
                }
                Engine::Log(_) => self.blocking(move |log, _| log.keeper().revision_at(time)).await,
            },
        }
    }

    /// The oldest revision that [`Store::snapshot_at`] and [`Store::watch`] can go back to.
    pub fn oldest(&self) -> Revision {
        match &self.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => self.0.hub.floor().0,
            Engine::Log(log) => log.keeper().compacted(),
        }
    }

    /// The same, with the time at which that revision was written; 0 where it is the first one, of an empty store.
    pub fn reaches_back_to(&self) -> (Revision, Timestamp) {
        match &self.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => self.0.hub.floor(),
            Engine::Log(log) => log.keeper().reaches_back_to(),
        }
    }

    /// Reads the log on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Log, &Extract) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || match &store.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => Err(ReadError::Closed),
            Engine::Log(log) => read(log, &store.0.extract),
        });
        task.await.unwrap_or(Err(ReadError::Closed))
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
        match &inner.engine {
            Engine::Memory { clock, commit } => {
                let _commit = commit.lock();
                commit_in_memory(&inner.hub, &prepared, clock().into())
            }
            Engine::Log(log) => {
                let count = prepared.len();
                log.submit(prepared).await.unwrap_or_else(|_| vec![Err(WriteError::Closed); count])
            }
            Engine::Etcd(etcd) => {
                let count = prepared.len();
                etcd.submit(prepared).await.unwrap_or_else(|_| vec![Err(WriteError::Closed); count])
            }
        }
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
        let past = match &self.0.engine {
            Engine::Memory { .. } | Engine::Etcd(_) => None,
            Engine::Log(log) => Some((log.keeper().clone(), self.0.extract.clone())),
        };
        Ok(Watch::new(self.0.hub.clone(), bucket, scope.into(), after, past))
    }

    /// Closes the store: what was written is safe, further writes fail, watches end, and the directory is free. Reads
    /// of what is in memory go on.
    pub async fn close(&self) {
        match &self.0.engine {
            Engine::Memory { commit, .. } => {
                let _commit = commit.lock();
                self.0.hub.close();
            }
            Engine::Log(_) | Engine::Etcd(_) => {
                let store = self.clone();
                let closed = tokio::task::spawn_blocking(move || match &store.0.engine {
                    Engine::Memory { .. } => {}
                    Engine::Log(log) => log.close(),
                    Engine::Etcd(etcd) => etcd.close(),
                });
                // It fails only when the runtime goes away, and then the last handle closes the log.
                let _ = closed.await;
            }
        }
    }

    /// Whether writes can be made now, and why not: a backend may be out of reach for a while, and comes back by
    /// itself. Reads go on meanwhile, from what is known.
    pub fn reachable(&self) -> Result<(), Arc<str>> {
        match &self.0.engine {
            Engine::Memory { .. } | Engine::Log(_) => Ok(()),
            Engine::Etcd(etcd) => etcd.reachable(),
        }
    }

    fn check_not_future(&self, asked: Revision) -> Result<(), ReadError> {
        let newest = self.0.hub.state().revision;
        if asked > newest { Err(ReadError::Future { asked, newest }) } else { Ok(()) }
    }
}

fn commit_in_memory(hub: &Hub, writes: &[Result<Prepared, WriteError>], now: Timestamp) -> Vec<WriteResult> {
    if hub.is_closed() {
        return vec![Err(WriteError::Closed); writes.len()];
    }
    let mut staged = Staged::on(&hub.state());
    for write in writes {
        match write {
            Ok(prepared) => staged.add(prepared, now),
            Err(error) => staged.results.push(Err(error.clone())),
        }
    }
    let Staged { state, events, results } = staged;
    if !events.is_empty() {
        let news = hub.publish(state, &events);
        news.iter().for_each(|stream| stream.news.notify_waiters());
    }
    results
}

impl Inner {
    /// Does what needs no knowledge of the state, on the caller's thread.
    fn prepare(&self, write: Write) -> Result<Prepared, WriteError> {
        if !write.key.is_valid() {
            return Err(WriteError::InvalidKey { key: write.key });
        }
        let (Change::Put(template) | Change::Delete { last: template }) = &write.change;
        let size = write.change.size();
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
