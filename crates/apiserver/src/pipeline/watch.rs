//! Watch: the changes of one resource, as one watcher sees them.
//!
//! The store hands every watcher the same events; here each is judged by the watcher's selectors, now and before
//! (an object that starts to match was ADDED, one that stops was DELETED). Bytes are shared, not copied.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::encode;
use api::registry::ResourceDef;
use api::status::Status;
use bytes::{Bytes, BytesMut};
use serde_json::json;
use store::{Entry, Event, EventKind, ReadError, Revision, Watch};
use tokio::time::{Instant, Sleep};

use super::list::{expired, too_large};
use super::options::{self, shortened};
use super::selection::Selection;
use super::types::{Answer, RequestContext, Target, WatchEventType, WatchItem, WatchOptions};
use super::{Pipeline, convert, object, render};

/// How often a quiet watcher that wants bookmarks is told how far it is: often enough that it seldom lists again.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lives that does not say: so that clients spread anew over servers. A random part is added.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;

/// The annotation on the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A running watch. Ends after its time, on an error, and with the store.
pub struct WatchStream {
    def: Arc<ResourceDef>,
    selection: Selection,
    phase: Phase,
    /// Revisions up to here have been told.
    revision: u64,
    allow_bookmarks: bool,
    initial_events_end: bool,
    deadline: Pin<Box<Sleep>>,
    bookmark: Pin<Box<Sleep>>,
    /// Of a custom resource.
    served: Option<Served>,
    /// Of a custom resource that a webhook converts: who asks it.
    converter: Option<Pipeline>,
    /// What waits for the webhook: kept here, so that nothing is lost where nobody waits for it any more.
    unconverted: Option<Arc<Event>>,
}

/// Tells when a definition has changed under a watch, which then ends: its client lists anew, or learns that there is
/// nothing to list.
struct Served {
    pipeline: Pipeline,
    changes: tokio::sync::watch::Receiver<u64>,
}

impl Served {
    async fn ended(&mut self, def: &ResourceDef) {
        while self.changes.changed().await.is_ok() {
            if !self.pipeline.inner.definitions.serves(def) {
                return;
            }
        }
    }
}

/// Never, for what is built in.
async fn ended(served: &mut Option<Served>, def: &ResourceDef) {
    match served {
        Some(served) => served.ended(def).await,
        None => std::future::pending().await,
    }
}

/// What happened, in the version of the watcher.
struct Change<'e> {
    kind: EventKind,
    entry: &'e Arc<Entry>,
    previous: Option<&'e Arc<Entry>>,
}

enum Phase {
    /// What there was at the start has to be converted and selected from.
    Unconverted { found: Vec<Arc<Entry>>, then: Watch },
    /// What there was at the start is being sent.
    Initial { rest: std::vec::IntoIter<Arc<Entry>>, then: Watch },
    /// Changes are sent as they come.
    Live(Watch),
    /// The next answer is the last.
    Failed(Status),
    /// Nothing comes any more.
    Ended,
}

impl Pipeline {
    /// Watches the objects of a resource. What is wrong with the request is an error here; what goes wrong with
    /// the watch (its version is too old) is the stream's last item.
    pub fn watch(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &WatchOptions,
    ) -> Answer<WatchStream> {
        self.allowed_to_select(context, "watch", target, &options.field_selector)?;
        check(options)?;
        let revision = options::resource_version(&options.resource_version)?.unwrap_or(0);
        let selection = Selection::parse(target, &options.label_selector, &options.field_selector)?;
        let initial = options.send_initial_events.unwrap_or(revision == 0);
        let namespace = target.namespace.as_deref().filter(|_| target.def.namespaced);
        let bucket = object::bucket(&target.def);
        let store = &self.inner.store;
        let snapshot = store.snapshot();
        let present = snapshot.revision().0;
        let start = if initial || revision == 0 { present } else { revision };
        let converter = convert::webhook(&target.def).map(|_| self.clone());

        let phase = if initial && revision > present {
            Phase::Failed(too_large(revision, present))
        } else {
            // Where a webhook converts objects, what they are selected by is not what is stored.
            let scope = if converter.is_some() { namespace.into() } else { selection.scope(namespace) };
            match store.watch(&bucket, Revision(start), scope) {
                Ok(watch) if initial && converter.is_some() => {
                    let found = snapshot.list(&bucket, namespace, None).cloned().collect();
                    Phase::Unconverted { found, then: watch }
                }
                Ok(watch) if initial => {
                    let found: Vec<_> = snapshot
                        .list(&bucket, selection.scope(namespace), None)
                        .filter(|entry| selection.matches(entry))
                        .cloned()
                        .collect();
                    Phase::Initial { rest: found.into_iter(), then: watch }
                }
                Ok(watch) => Phase::Live(watch),
                Err(ReadError::Compacted { oldest, .. }) => Phase::Failed(too_old(start, oldest.0)),
                Err(ReadError::Future { .. }) => Phase::Failed(too_large(start, present)),
                Err(other) => Phase::Failed(Status::internal(other)),
            }
        };
        let seconds = match options.timeout_seconds {
            0 => DEFAULT_TIMEOUT_SECONDS + self.inner.names.random() % DEFAULT_TIMEOUT_SECONDS,
            asked => asked.min(u64::from(u32::MAX)),
        };
        let now = Instant::now();
        let served = target
            .def
            .custom
            .is_some()
            .then(|| Served { pipeline: self.clone(), changes: self.inner.definitions.changes() });
        Ok(WatchStream {
            served,
            converter,
            unconverted: None,
            def: target.def.clone(),
            selection,
            phase,
            revision: start,
            allow_bookmarks: options.allow_bookmarks,
            initial_events_end: options.send_initial_events == Some(true),
            deadline: Box::pin(tokio::time::sleep_until(now + Duration::from_secs(seconds))),
            bookmark: Box::pin(tokio::time::sleep_until(now + BOOKMARK_EVERY)),
        })
    }
}

impl WatchStream {
    /// The next change; nothing once the watch has ended. An error is the last item. Safe to drop before it is
    /// ready: nothing is lost.
    pub async fn next(&mut self) -> Option<Answer<WatchItem>> {
        loop {
            if self.converter.is_some()
                && let Some(item) = self.convert().await
            {
                return Some(Ok(item));
            }
            if let Some(item) = self.ready() {
                return item;
            }
            let Phase::Live(watch) = &mut self.phase else { continue };
            tokio::select! {
                biased;
                () = &mut self.deadline => self.phase = Phase::Ended,
                event = watch.next() => match event {
                    Ok(event) => {
                        if self.converter.is_some() {
                            self.unconverted = Some(event);
                        } else if let Some(item) = self.judge(&event) {
                            return Some(Ok(item));
                        }
                    }
                    Err(ReadError::Closed) => self.phase = Phase::Ended,
                    Err(error) => self.phase = Phase::Failed(lagged(&error, self.revision)),
                },
                () = ended(&mut self.served, &self.def) => self.phase = Phase::Ended,
                () = &mut self.bookmark => {
                    self.bookmark.as_mut().reset(Instant::now() + BOOKMARK_EVERY);
                    if self.allow_bookmarks {
                        return Some(Ok(self.bookmark()));
                    }
                }
            }
        }
    }

    /// What can be said without waiting: `None` where it has to wait. A server fills its buffer with these
    /// before it sends.
    pub fn try_next(&mut self) -> Option<Option<Answer<WatchItem>>> {
        loop {
            if self.unconverted.is_some() || matches!(self.phase, Phase::Unconverted { .. }) {
                return None;
            }
            if let Some(item) = self.ready() {
                return Some(item);
            }
            let Phase::Live(watch) = &mut self.phase else { continue };
            match watch.try_next() {
                Ok(None) => return None,
                Ok(Some(event)) => {
                    if self.converter.is_some() {
                        self.unconverted = Some(event);
                    } else if let Some(item) = self.judge(&event) {
                        return Some(Some(Ok(item)));
                    }
                }
                Err(ReadError::Closed) => self.phase = Phase::Ended,
                Err(error) => self.phase = Phase::Failed(lagged(&error, self.revision)),
            }
        }
    }

    /// A bookmark of how far the watcher is, as it is sent by itself every minute.
    pub fn bookmark(&mut self) -> WatchItem {
        if let Phase::Live(watch) = &mut self.phase {
            self.revision = self.revision.max(watch.progress().0);
        }
        self.bookmark_with(json!({"resourceVersion": self.revision.to_string()}), false)
    }

    /// Everything that needs no waiting: `None` in the live phase.
    fn ready(&mut self) -> Option<Option<Answer<WatchItem>>> {
        if let Phase::Live(_) | Phase::Unconverted { .. } = self.phase {
            return None;
        }
        loop {
            match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Initial { mut rest, then } => match rest.next() {
                    Some(entry) => {
                        self.phase = Phase::Initial { rest, then };
                        let object = render(&self.def, &entry);
                        return Some(Some(Ok(item(
                            WatchEventType::Added,
                            object,
                            entry.revision.0,
                            Some(entry),
                        ))));
                    }
                    None => {
                        self.phase = Phase::Live(then);
                        if self.initial_events_end && self.allow_bookmarks {
                            let metadata = json!({
                                "resourceVersion": self.revision.to_string(),
                                "annotations": {INITIAL_EVENTS_END: "true"},
                            });
                            return Some(Some(Ok(self.bookmark_with(metadata, true))));
                        }
                    }
                },
                waiting @ (Phase::Live(_) | Phase::Unconverted { .. }) => {
                    self.phase = waiting;
                    return None;
                }
                Phase::Failed(status) => return Some(Some(Err(status))),
                Phase::Ended => return Some(None),
            }
        }
    }

    /// Converts what waits for it, where something does. May be dropped before it is ready, and called again.
    async fn convert(&mut self) -> Option<WatchItem> {
        let pipeline = self.converter.as_ref()?;
        if let Phase::Unconverted { found, .. } = &self.phase {
            let converted = pipeline.all_shown(&self.def, found.clone()).await;
            let Phase::Unconverted { then, .. } = std::mem::replace(&mut self.phase, Phase::Ended) else {
                return None;
            };
            self.phase = match converted {
                Ok(mut entries) => {
                    entries.retain(|entry| self.selection.matches(entry));
                    Phase::Initial { rest: entries.into_iter(), then }
                }
                Err(status) => Phase::Failed(status),
            };
        }
        let event = self.unconverted.as_ref()?;
        let states = event.previous.iter().chain(std::iter::once(&event.entry)).cloned().collect();
        let converted = pipeline.all_shown(&self.def, states).await;
        let event = self.unconverted.take()?;
        match converted {
            Ok(mut states) => {
                let entry = states.pop()?;
                let change = Change { kind: event.kind, entry: &entry, previous: states.first() };
                self.judge_change(&change)
            }
            Err(status) => {
                self.phase = Phase::Failed(status);
                None
            }
        }
    }

    fn judge(&mut self, event: &Arc<Event>) -> Option<WatchItem> {
        let change = Change { kind: event.kind, entry: &event.entry, previous: event.previous.as_ref() };
        let told = self.judge_change(&change)?;
        // The last state that a watcher may see is not what the event is about.
        let is_own = told.entry.as_ref().is_some_and(|entry| Arc::ptr_eq(entry, &event.entry));
        Some(WatchItem { event: is_own.then(|| event.clone()), ..told })
    }

    fn judge_change(&mut self, event: &Change<'_>) -> Option<WatchItem> {
        let revision = event.entry.revision.0;
        self.revision = revision;
        let before = event.previous.filter(|previous| self.selection.matches(previous));
        let now = event.kind == EventKind::Put && self.selection.matches(event.entry);
        let kind = match (before, now) {
            (None, false) => return None,
            (None, true) => WatchEventType::Added,
            (Some(_), true) => WatchEventType::Modified,
            (Some(_), false) => WatchEventType::Deleted,
        };
        if let (Some(before), EventKind::Put, WatchEventType::Deleted) = (before, event.kind, kind) {
            // It goes on existing, but the watcher may only see the state that matched.
            let object = with_revision(&render(&self.def, before), before.revision.0, revision);
            return Some(item(kind, object, revision, Some(before.clone())));
        }
        let object = render(&self.def, event.entry);
        Some(item(kind, object, revision, Some(event.entry.clone())))
    }

    fn bookmark_with(&self, metadata: serde_json::Value, initial_events_end: bool) -> WatchItem {
        let object = encode::to_bytes(&json!({
            "kind": &*self.def.kind,
            "apiVersion": self.def.api_version(),
            "metadata": metadata,
        }));
        WatchItem { initial_events_end, ..item(WatchEventType::Bookmark, object, self.revision, None) }
    }
}

fn item(kind: WatchEventType, object: Bytes, revision: u64, entry: Option<Arc<Entry>>) -> WatchItem {
    WatchItem { kind, object, revision, entry, event: None, initial_events_end: false }
}

/// The same object with another resource version. The metadata of stored bytes comes before everything that could
/// have a field of that name.
fn with_revision(object: &Bytes, old: u64, new: u64) -> Bytes {
    let field = format!("\"resourceVersion\":\"{old}\"");
    let Some(at) = memchr(object, field.as_bytes()) else { return object.clone() };
    let mut changed = BytesMut::with_capacity(object.len() + 8);
    changed.extend_from_slice(&object[..at]);
    changed.extend_from_slice(format!("\"resourceVersion\":\"{new}\"").as_bytes());
    changed.extend_from_slice(&object[at + field.len()..]);
    changed.freeze()
}

fn memchr(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn too_old(revision: u64, oldest: u64) -> Status {
    expired(&format!("too old resource version: {revision} ({oldest})"))
}

fn lagged(error: &ReadError, revision: u64) -> Status {
    match error {
        ReadError::Compacted { oldest, .. } => too_old(revision, oldest.0),
        other => Status::internal(other),
    }
}

fn check(options: &WatchOptions) -> Answer<()> {
    let wanted = options.resource_version_match.as_str();
    let wrong = |reason: &str, message: &str| {
        Err(options::invalid("ListOptions", "resourceVersionMatch", reason, message))
    };
    if options.send_initial_events.is_some() && wanted != "NotOlderThan" {
        return wrong(
            "FieldValueForbidden",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    if !wanted.is_empty() && options.send_initial_events.is_none() {
        return wrong(
            "FieldValueForbidden",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if !wanted.is_empty() && wanted != "NotOlderThan" {
        return wrong(
            "FieldValueNotSupported",
            &format!("Unsupported value: \"{}\": supported values: \"NotOlderThan\"", shortened(wanted)),
        );
    }
    Ok(())
}
