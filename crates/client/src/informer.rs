//! Keeps a [`Store`] equal to what the apiserver has, by list and watch, and tells handlers what has changed.
//!
//! The task is a state machine, the enum `State` below. What it needs of the network is the small trait [`Source`], so that
//! it is tested with a scripted one.
//!
//! - It starts with a watch that sends the present objects first and a bookmark after them. A server that does
//!   not know that is asked for a list instead.
//! - After a broken connection it resumes from the last version it has seen; only where that version is no
//!   longer kept does it start over. Starting over tells differences only.
//! - An object that does not decode is logged and left out; nothing else stops for it.

mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::status::Reason;
use component::{Backoff, ErrorChain, Shutdown, spawn};
use futures_util::StreamExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use source::{ApiSource, From, ItemStream, Source, SourceItem};

use crate::store::{Handler, IndexKeys};
use crate::{Api, ClientError, RawObject, Resource, Store};

/// The first and the longest wait after a failure. An apiserver that was killed is back in a fraction of a
/// second, and a daemon should be, too; one that stays away is asked every second or two. All informers of a
/// client try at once when the first of them has had an answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How long a watch lives that is not a failure, whatever ends it.
const LIVED: Duration = Duration::from_secs(1);

/// The failure in a row that is logged for people: about half a second without an apiserver.
const WORTH_A_LINE: u32 = 6;

/// An informer in the making: what it selects, its indexes and handlers. [`Informer::spawn`] starts it.
pub struct Informer<K> {
    namespace: String,
    labels: String,
    fields: String,
    indexes: Vec<(&'static str, IndexKeys<K>)>,
    handlers: Vec<Handler<K>>,
    rng: StdRng,
}

impl<K: Resource> Default for Informer<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Resource> Informer<K> {
    /// An informer of all objects of the kind.
    pub fn new() -> Self {
        Self {
            namespace: String::new(),
            labels: String::new(),
            fields: String::new(),
            indexes: Vec::new(),
            handlers: Vec::new(),
            rng: StdRng::from_os_rng(),
        }
    }

    /// Of one namespace only.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Of those only whose labels match.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = selector.into();
        self
    }

    /// Of those only whose fields match, as `spec.nodeName=a`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = selector.into();
        self
    }

    /// Declares an index for [`Store::by_index`].
    #[must_use]
    pub fn index(
        mut self,
        name: &'static str,
        keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.indexes.push((name, Box::new(keys)));
        self
    }

    /// Adds a handler that is told of each change (see [`Store::subscribe`]).
    #[must_use]
    pub fn on_change(
        mut self,
        handler: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static,
    ) -> Self {
        self.handlers.push(Box::new(handler));
        self
    }

    /// Chance for the jitter of delays, instead of that of the system.
    #[must_use]
    pub fn rng(mut self, rng: StdRng) -> Self {
        self.rng = rng;
        self
    }

    /// Starts it against the apiserver.
    pub fn spawn(self, api: &Api<K>, shutdown: &Shutdown) -> Store<K> {
        let source = ApiSource::new(
            api.dynamic().clone(),
            self.namespace.clone(),
            self.labels.clone(),
            self.fields.clone(),
        );
        self.spawn_from(source, shutdown)
    }

    /// Starts it against another source (a scripted one in tests).
    pub fn spawn_from(self, source: impl Source, shutdown: &Shutdown) -> Store<K> {
        let store = Store::new(self.indexes, self.handlers);
        let reflector = Reflector {
            store: store.clone(),
            source,
            state: State::Empty,
            initial_events: true,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1).with_jitter(0.5),
            warned: false,
            opened_at: Instant::now(),
            rng: self.rng,
        };
        let stop = shutdown.clone();
        spawn(shutdown, format!("informer-{}", K::PLURAL), async move {
            tokio::select! {
                () = stop.triggered() => {}
                () = reflector.run() => {}
            }
        });
        store
    }
}

/// Where an informer stands.
enum State {
    /// Nothing is known of the present: a beginning, or the version we had is no longer kept.
    Empty,
    /// The present objects are coming. `stale` are those of the store that have not come (yet).
    Filling { stream: ItemStream, stale: BTreeSet<NamespacedName> },
    /// Everything up to `version` is in the store; no watch runs.
    Disconnected { version: u64 },
    /// Everything up to `version` is in the store, and changes are coming.
    Watching { stream: ItemStream, version: u64 },
}

struct Reflector<K, S> {
    store: Store<K>,
    source: S,
    state: State,
    /// Whether the server can send the present objects in a watch; assumed until it says otherwise.
    initial_events: bool,
    backoff: Backoff,
    /// Whether the log says that it fails.
    warned: bool,
    /// When the stream of the present state was opened.
    opened_at: Instant,
    rng: StdRng,
}

impl<K: Resource, S: Source> Reflector<K, S> {
    async fn run(mut self) {
        loop {
            let state = std::mem::replace(&mut self.state, State::Empty);
            self.state = self.step(state).await;
        }
    }

    async fn step(&mut self, state: State) -> State {
        match state {
            State::Empty => {
                let from = if self.initial_events { From::Beginning } else { From::List };
                match self.source.open(from).await {
                    Ok(stream) => {
                        self.opened();
                        State::Filling { stream, stale: self.store.names() }
                    }
                    Err(error) if self.initial_events && refuses_initial_events(&error) => {
                        debug!(resource = K::PLURAL, "no initial events in a watch: listing");
                        self.initial_events = false;
                        State::Empty
                    }
                    Err(error) => self.pause(&error, State::Empty).await,
                }
            }
            State::Filling { mut stream, mut stale } => match stream.next().await {
                Some(Ok(item)) => match item {
                    SourceItem::Applied(raw) => {
                        stale.remove(&name(&raw));
                        self.apply(&raw);
                        State::Filling { stream, stale }
                    }
                    SourceItem::Deleted(raw) => {
                        // Of a change that came after the snapshot.
                        stale.remove(&name(&raw));
                        self.delete(&raw);
                        State::Filling { stream, stale }
                    }
                    SourceItem::Bookmark(_) => State::Filling { stream, stale },
                    SourceItem::Complete { version, watching } => {
                        for name in &stale {
                            self.store.remove(name, None);
                        }
                        self.backoff.reset();
                        if !self.store.has_synced() {
                            debug!(resource = K::PLURAL, objects = self.store.len(), "synced");
                            self.store.set_synced();
                        }
                        if watching {
                            State::Watching { stream, version }
                        } else {
                            State::Disconnected { version }
                        }
                    }
                },
                Some(Err(error)) if self.initial_events && refuses_initial_events(&error) => {
                    self.initial_events = false;
                    State::Empty
                }
                Some(Err(error)) => self.pause(&error, State::Empty).await,
                None => self.pause(&ClientError::Protocol("a list is complete"), State::Empty).await,
            },
            State::Disconnected { version } => match self.source.open(From::Version(version)).await {
                Ok(stream) => {
                    self.opened();
                    State::Watching { stream, version }
                }
                Err(error) if is_outdated(&error) => self.start_over(&error),
                Err(error) => self.pause(&error, State::Disconnected { version }).await,
            },
            State::Watching { mut stream, version } => match stream.next().await {
                Some(Ok(item)) => {
                    self.backoff.reset();
                    let seen = match item {
                        SourceItem::Applied(raw) => self.apply(&raw),
                        SourceItem::Deleted(raw) => self.delete(&raw),
                        SourceItem::Bookmark(version) | SourceItem::Complete { version, .. } => version,
                    };
                    State::Watching { stream, version: version.max(seen) }
                }
                Some(Err(error)) if is_outdated(&error) => self.start_over(&error),
                Some(Err(error)) => {
                    self.ended();
                    self.pause(&error, State::Disconnected { version }).await
                }
                None => {
                    self.ended();
                    // The server ends watches now and then; ends without any event between them must not spin.
                    if self.backoff.failures() > 0 {
                        let delay = self.backoff.next(&mut self.rng);
                        tokio::time::sleep(delay).await;
                    } else {
                        self.backoff.next(&mut self.rng);
                    }
                    State::Disconnected { version }
                }
            },
        }
    }

    fn start_over(&mut self, error: &ClientError) -> State {
        info!(resource = K::PLURAL, reason = %ErrorChain(error), "the version is no longer kept: listing again");
        State::Empty
    }

    async fn pause(&mut self, error: &ClientError, next: State) -> State {
        let delay = self.backoff.next(&mut self.rng);
        // An apiserver that restarts is back within the first tries. One that stays away is worth one line, and
        // another one when it is back.
        if self.backoff.failures() == WORTH_A_LINE {
            warn!(resource = K::PLURAL, error = %ErrorChain(error), "watch failed, trying on");
            self.warned = true;
        } else {
            debug!(resource = K::PLURAL, error = %ErrorChain(error), ?delay, "watch failed");
        }
        if matches!(error, ClientError::Transport(_)) {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.source.recovered() => {}
            }
        } else {
            tokio::time::sleep(delay).await;
        }
        next
    }

    fn opened(&mut self) {
        self.opened_at = Instant::now();
        if std::mem::take(&mut self.warned) {
            info!(resource = K::PLURAL, "watching again");
        }
    }

    /// A watch that has lived for a while was a success, even if nothing happened.
    fn ended(&mut self) {
        if self.opened_at.elapsed() >= LIVED {
            self.backoff.reset();
        }
    }

    /// Returns the version of the object.
    fn apply(&self, raw: &RawObject) -> u64 {
        match serde_json::from_slice::<K>(&raw.payload) {
            Ok(object) => {
                let version = version(raw, &object);
                self.store.upsert(object);
                version
            }
            Err(error) => {
                warn!(resource = K::PLURAL, object = %name(raw), %error, "left out: the object does not decode");
                raw.resource_version
            }
        }
    }

    fn delete(&self, raw: &RawObject) -> u64 {
        match serde_json::from_slice::<K>(&raw.payload) {
            Ok(object) => {
                let version = version(raw, &object);
                let name = object.metadata().namespaced_name();
                self.store.remove(&name, Some(object));
                version
            }
            Err(_) => {
                self.store.remove(&name(raw), None);
                raw.resource_version
            }
        }
    }
}

fn name(raw: &RawObject) -> NamespacedName {
    NamespacedName::new(&*raw.namespace, &*raw.name)
}

fn version<K: Resource>(raw: &RawObject, object: &K) -> u64 {
    if raw.resource_version != 0 {
        return raw.resource_version;
    }
    object.metadata().resource_version.parse().unwrap_or_default()
}

/// Whether the version that a watch was to resume from means nothing to the server.
fn is_outdated(error: &ClientError) -> bool {
    error.is_expired() || error.is_too_large_resource_version()
}

fn refuses_initial_events(error: &ClientError) -> bool {
    let reason = error.status().and_then(|status| status.reason);
    matches!(reason, Some(Reason::BadRequest | Reason::Invalid | Reason::MethodNotAllowed))
}

/// Waits until every store has synced, or the shutdown is triggered (then it says `false`).
pub async fn wait_all_synced(
    stores: impl IntoIterator<Item = impl Future<Output = ()>>,
    shutdown: &Shutdown,
) -> bool {
    let all = futures_util::future::join_all(stores);
    tokio::select! {
        () = shutdown.triggered() => false,
        _ = all => true,
    }
}
