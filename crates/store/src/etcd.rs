//! The etcd backend: several stores over one etcd cluster, each with the whole state in memory.
//!
//! Writes go to etcd as transactions; whatever is written, by this store or by another one, comes back through one
//! watch and becomes an event of the store's hub. A thread of its own has a runtime for all of it.
//!
//! ```text
//! callers -> requests -> commit --txn--> etcd --watch--> follow -> hub (state, events)
//!               ^                                           |
//!               `-------- answers, when it has arrived -----'
//! ```
//! **Invariant:** only this folder of the store names tonic. Read on: [`stored`] for what stands in etcd, [`link`],
//! [`follow`], [`commit`].

mod wire;

mod stored;

mod link;

mod follow;

mod commit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use self::follow::{Arrivals, Follower, Stopped};
use self::link::{CallError, Link};
use self::stored::{Codec, Nonce};
use crate::entry::Extract;
use crate::hub::{Hub, Window};
use crate::key::Key;
use crate::seal::{Seal, SealError};
use crate::stage::Prepared;
use crate::state::State;
use crate::store::Clock;
use crate::write::{WriteError, WriteResult};

/// Where etcd is and how it is used.
#[derive(Clone)]
pub struct EtcdOptions {
    /// Its members, each as `host:port`.
    pub endpoints: Vec<String>,
    /// What all keys begin with. Ends with a slash.
    pub prefix: String,
    /// How members prove who they are, and how we do. Without it connections are not encrypted.
    pub tls: Option<EtcdTls>,
    /// Name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// How old replaced values become before etcd is told to forget them; zero leaves that to others. Each store
    /// does it, and the first one counts: none of them forgets what is younger.
    pub compaction_interval: Duration,
    /// How long a write, or opening the store, tries to reach etcd.
    pub timeout: Duration,
    /// Encrypts values on their way to etcd. All stores of a cluster need the same keys.
    pub seal: Option<Arc<dyn Seal>>,
}

/// TLS, all as PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// Who signs the members' certificates.
    pub authority: Vec<u8>,
    /// Our certificate and its key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl EtcdOptions {
    /// The usual options: no TLS, no password, five minutes of history.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdOptions {
        EtcdOptions {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "/coxswain/".to_owned(),
            tls: None,
            user: None,
            compaction_interval: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            seal: None,
        }
    }
}

impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither keys nor passwords.
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

/// Why etcd cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No member was named.
    #[error("no member of etcd is named")]
    NoEndpoint,
    /// A member's address is none, or the certificates are none.
    #[error("cannot use the member {address}")]
    Endpoint {
        /// The address.
        address: String,
        /// What is wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// No member answered in time.
    #[error("etcd cannot be reached ({reason})")]
    Unreachable {
        /// What the last one that was tried said.
        reason: Arc<str>,
    },
    /// etcd does not let us.
    #[error("etcd refuses ({reason})")]
    Refused {
        /// What it said.
        reason: Arc<str>,
    },
    /// Something stands there that no store has written.
    #[error("{key} in etcd is not an object")]
    Malformed {
        /// The object that should stand there.
        key: Key,
    },
    /// A newer build wrote it.
    #[error("{key} in etcd has format {found}, which is newer than what this build reads")]
    NewerFormat {
        /// The object.
        key: Key,
        /// Its format.
        found: u8,
    },
    /// A value cannot be encrypted or decrypted.
    #[error("{key} cannot be encrypted or decrypted")]
    Sealed {
        /// The object.
        key: Key,
        /// Why.
        #[source]
        source: SealError,
    },
    /// A member of another cluster answered.
    #[error("a member belongs to another etcd cluster than before")]
    OtherCluster,
    /// etcd was restored from a backup that is older than what is in memory.
    #[error("etcd has gone back from revision {seen} to {found}")]
    WentBack {
        /// What this store has seen.
        seen: i64,
        /// What etcd says is its newest.
        found: i64,
    },
    /// There is no thread or no randomness.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

/// What all parts of the backend share.
pub(crate) struct Shared {
    link: Link,
    codec: Codec,
    hub: Arc<Hub>,
    extract: Extract,
    clock: Clock,
    timeout: Duration,
    arrivals: Arrivals,
    status: Arc<Status>,
    writer: u64,
    sequence: AtomicU64,
}

impl Shared {
    fn next_nonce(&self) -> Nonce {
        Nonce { writer: self.writer, sequence: self.sequence.fetch_add(1, Ordering::Relaxed) }
    }
}

/// Whether etcd is there.
#[derive(Default)]
pub(crate) struct Status(Mutex<Option<Arc<str>>>);

impl Status {
    fn here(&self) {
        if let Some(reason) = self.0.lock().take() {
            tracing::info!(before = %reason, "etcd is there again");
        }
    }

    fn away(&self, reason: &str) {
        let mut away = self.0.lock();
        if away.is_none() {
            tracing::warn!(reason, "etcd is away");
        }
        *away = Some(reason.into());
    }

    fn get(&self) -> Result<(), Arc<str>> {
        self.0.lock().clone().map_or(Ok(()), Err)
    }
}

struct Request {
    writes: Vec<Result<Prepared, WriteError>>,
    reply: oneshot::Sender<Vec<WriteResult>>,
}

/// An open store's way to etcd.
pub(crate) struct Etcd {
    requests: Mutex<Option<mpsc::UnboundedSender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    hub: Arc<Hub>,
    status: Arc<Status>,
}

impl Etcd {
    /// Opens the store: blocks until the whole state is in memory.
    pub(crate) fn open(
        options: EtcdOptions,
        extract: Extract,
        clock: Clock,
        window: Window,
    ) -> Result<Etcd, EtcdError> {
        let mut writer = [0; 8];
        rand::fill(&mut writer).map_err(|_| EtcdError::Start(std::io::Error::other("no randomness")))?;
        let hub = Arc::new(Hub::new(State::empty(), window));
        let status = Arc::new(Status::default());
        let (sender, requests) = mpsc::unbounded_channel();
        let (opened, opening) = std::sync::mpsc::sync_channel(1);
        let (shared_hub, shared_status) = (hub.clone(), status.clone());
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Whoever opens waits for this.
                    let _ = opened.send(Err(EtcdError::Start(error)));
                    return;
                }
            };
            let _closes = CloseOnDrop(shared_hub.clone());
            runtime.block_on(async move {
                let link = Link::new(&options);
                let shared = link.map(|link| {
                    Arc::new(Shared {
                        link,
                        codec: Codec::new(&options.prefix, options.seal.clone()),
                        hub: shared_hub,
                        extract,
                        clock,
                        timeout: options.timeout,
                        arrivals: Arrivals::default(),
                        status: shared_status,
                        writer: u64::from_le_bytes(writer),
                        sequence: AtomicU64::new(0),
                    })
                });
                let begun = match shared {
                    Ok(shared) => begin(&shared).await.map(|follower| (shared, follower)),
                    Err(error) => Err(error),
                };
                let (shared, follower) = match begun {
                    Ok(begun) => begun,
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        return;
                    }
                };
                if opened.send(Ok(())).is_ok() {
                    work(&shared, follower, requests, options.compaction_interval).await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("store-etcd".to_owned()).spawn(run);
        let thread = thread.map_err(EtcdError::Start)?;
        let gone = || Err(EtcdError::Start(std::io::Error::other("the thread panicked")));
        opening.recv().unwrap_or_else(|_| gone())?;
        Ok(Etcd { requests: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), hub, status })
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Whether etcd is there, and why it is not.
    pub(crate) fn reachable(&self) -> Result<(), Arc<str>> {
        self.status.get()
    }

    /// Begins writes. The answer comes when they are done.
    pub(crate) fn submit(
        &self,
        writes: Vec<Result<Prepared, WriteError>>,
    ) -> oneshot::Receiver<Vec<WriteResult>> {
        let (reply, answer) = oneshot::channel();
        if let Some(requests) = &*self.requests.lock() {
            // When it is closed the answer ends, too.
            let _ = requests.send(Request { writes, reply });
        }
        answer
    }

    /// Answers what was asked for and ends the thread. Blocks.
    pub(crate) fn close(&self) {
        drop(self.requests.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
        self.hub.close();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends watches when the thread goes, whatever the reason.
struct CloseOnDrop(Arc<Hub>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Loads the state; tries again while etcd is not there, for a while.
async fn begin(shared: &Arc<Shared>) -> Result<Follower, EtcdError> {
    let end = Instant::now() + shared.timeout;
    loop {
        let reason = match Follower::begin(shared.clone()).await {
            Ok(follower) => return Ok(follower),
            Err(Stopped::Fatal(error)) => return Err(error),
            Err(Stopped::Call(CallError::Refused(reason))) => return Err(EtcdError::Refused { reason }),
            Err(Stopped::Call(error)) => error.to_string().into(),
            Err(Stopped::Reload(reason)) => reason.into(),
        };
        if Instant::now() >= end {
            return Err(EtcdError::Unreachable { reason });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Serves until nobody can ask any more, or until following fails for good.
async fn work(
    shared: &Arc<Shared>,
    follower: Follower,
    mut requests: mpsc::UnboundedReceiver<Request>,
    compaction_interval: Duration,
) {
    let mut tasks = JoinSet::new();
    let serve = async {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => drop(tasks.spawn(serve(shared.clone(), request))),
                    None => break,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serve => {}
        error = follower.run() => {
            let reason = crate::log::chain(&error);
            tracing::error!(%reason, "cannot follow etcd any more: the store is closed");
            shared.status.away(&reason);
        }
        () = compact(shared, compaction_interval) => {}
    }
}

/// The writes of a group follow one another, as their revisions must.
async fn serve(shared: Arc<Shared>, Request { writes, reply }: Request) {
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        results.push(match write {
            Ok(prepared) => commit::write(&shared, &prepared).await,
            Err(error) => Err(error),
        });
    }
    // Whoever asked may have gone.
    let _ = reply.send(results);
}

/// Tells etcd to forget what was replaced an interval ago or earlier. Never ends.
async fn compact(shared: &Shared, interval: Duration) {
    if interval.is_zero() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut done) = (0, 0);
    loop {
        ticks.tick().await;
        if before > done
            && let Ok(connection) = shared.link.connection().await
        {
            match connection.compact(before).await {
                // Another one was first.
                Ok(()) | Err(CallError::Compacted) => done = before,
                Err(error) => tracing::warn!(%error, "compact etcd"),
            }
        }
        before = shared.hub.state().revision.0 as i64;
    }
}
