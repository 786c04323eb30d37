//! The window of recent events, and who waits for them.
//!
//! All events of the last while stand once in one queue; the streams that somebody watches (a bucket, a namespace
//! of it, a term of it) have rings of pointers into it. A watcher holds a revision and nothing else: it looks for
//! the first event above that revision in its stream's ring, so a slow one costs nothing, and one of a narrow
//! scope is only woken for events of its scope. An event that falls out of the window leaves every ring, and the
//! stream remembers the highest revision that it lost: whoever stands below is told so.
//!
//! **Invariant:** the newest state and the window change under one lock, so that "state at R" and "events after R"
//! always fit together. Read on: [`crate::watch`] for the watcher's side.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::entry::{Event, Term};
use crate::key::{Bucket, Revision, Timestamp};
use crate::state::{Scope, State};

/// How many recent events are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// At most so many events.
    pub events: usize,
    /// At most so many bytes of values (one event always stays).
    pub bytes: usize,
}

impl Default for Window {
    /// What falls out is read from the log again, so this is what a watcher may lag behind at full speed, not what
    /// it can resume from.
    fn default() -> Window {
        Window { events: 65_536, bytes: 8 << 20 }
    }
}

/// Which events a stream carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    All,
    Namespace(Box<str>),
    Term(Term),
}

impl Topic {
    pub(crate) fn of(scope: Scope<'_>) -> Topic {
        match scope {
            Scope::All => Topic::All,
            Scope::Namespace(namespace) => Topic::Namespace(namespace.into()),
            Scope::Term(term, _) => Topic::Term(term),
        }
    }

    pub(crate) fn carries(&self, event: &Event) -> bool {
        match self {
            Topic::All => true,
            Topic::Namespace(namespace) => event.entry.key.namespace() == &**namespace,
            Topic::Term(term) => {
                event.entry.terms().contains(term)
                    || event.previous.as_ref().is_some_and(|previous| previous.terms().contains(term))
            }
        }
    }
}

/// The events of one topic of one bucket, oldest first.
pub(crate) struct Stream {
    ring: Mutex<Ring>,
    pub(crate) news: Notify,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The newest revision that may have been lost from this ring.
    floor: Revision,
}

/// What a watcher finds in its stream.
pub(crate) enum Found {
    /// Events after its position are in the buffer now.
    Events,
    /// There are none.
    Nothing,
    /// Some were lost: the stream holds what comes after this revision.
    Lost(Revision),
}

impl Stream {
    fn new(floor: Revision) -> Stream {
        Stream { ring: Mutex::new(Ring { events: VecDeque::new(), floor }), news: Notify::new() }
    }

    /// Moves up to `most` events after `position` into the buffer.
    pub(crate) fn read(&self, position: Revision, most: usize, buffer: &mut VecDeque<Arc<Event>>) -> Found {
        let ring = self.ring.lock();
        if position < ring.floor {
            return Found::Lost(ring.floor);
        }
        if ring.events.back().is_none_or(|newest| newest.revision() <= position) {
            return Found::Nothing;
        }
        let start = ring.events.partition_point(|event| event.revision() <= position);
        buffer.extend(ring.events.range(start..).take(most).cloned());
        Found::Events
    }

    fn drop_through(&self, revision: Revision) {
        let mut ring = self.ring.lock();
        while ring.events.front().is_some_and(|event| event.revision() <= revision) {
            ring.events.pop_front();
        }
        ring.floor = ring.floor.max(revision);
    }
}

/// The newest state, the window and its streams.
pub(crate) struct Hub {
    state: ArcSwap<State>,
    published: AtomicU64,
    closed: AtomicBool,
    window: Window,
    inner: Mutex<Inner>,
}

struct Inner {
    recent: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The newest event that fell out of the window, and its time.
    floor: (Revision, Timestamp),
    streams: HashMap<Bucket, HashMap<Topic, Arc<Stream>, foldhash::fast::FixedState>>,
    /// Past states that were asked for lately: pages of a long list ask for the same one again and again.
    past: VecDeque<Arc<State>>,
}

/// Past states kept at hand.
const PAST_STATES: usize = 4;

impl Hub {
    pub(crate) fn new(state: State, window: Window) -> Hub {
        let floor = (state.revision, state.written);
        Hub {
            published: AtomicU64::new(state.revision.0),
            state: ArcSwap::from_pointee(state),
            closed: AtomicBool::new(false),
            window,
            inner: Mutex::new(Inner {
                recent: VecDeque::new(),
                bytes: 0,
                floor,
                streams: HashMap::new(),
                past: VecDeque::new(),
            }),
        }
    }

    /// The newest state that was published.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Every event up to this revision is in its streams.
    pub(crate) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for stream in self.inner.lock().streams.values().flat_map(HashMap::values) {
            stream.news.notify_waiters();
        }
    }

    /// Makes a state the newest, with the events that led to it. Gives the streams that have news: their watchers
    /// are woken by the caller, after it has answered the writers.
    pub(crate) fn publish(&self, state: State, events: &[Arc<Event>]) -> Vec<Arc<Stream>> {
        let mut news: Vec<Arc<Stream>> = Vec::new();
        let mut lost: Vec<Arc<Event>> = Vec::new();
        let revision = state.revision;
        let mut inner = self.inner.lock();
        self.state.store(Arc::new(state));
        for event in events {
            inner.each_stream(event, |stream| {
                stream.ring.lock().events.push_back(event.clone());
                if !news.iter().any(|known| Arc::ptr_eq(known, stream)) {
                    news.push(stream.clone());
                }
            });
            inner.bytes += event.entry.value.len();
            inner.recent.push_back(event.clone());
        }
        self.published.store(revision.0, Ordering::Release);
        while inner.recent.len() > self.window.events.max(1)
            || (inner.bytes > self.window.bytes && inner.recent.len() > 1)
        {
            if let Some(event) = inner.recent.pop_front() {
                inner.bytes -= event.entry.value.len();
                inner.floor = (event.revision(), event.entry.written);
                inner.each_stream(&event, |stream| stream.drop_through(event.revision()));
                lost.push(event);
            }
        }
        let floor = inner.floor.0;
        inner.past.retain(|state| state.revision >= floor);
        drop(inner);
        drop(lost);
        news
    }

    /// The stream of a scope, holding everything after `after` that the window still has.
    pub(crate) fn subscribe(&self, bucket: &Bucket, topic: Topic, after: Revision) -> Arc<Stream> {
        let mut inner = self.inner.lock();
        let floor = inner.floor.0;
        let streams = inner.streams.entry(bucket.clone()).or_default();
        let known = streams.get(&topic).cloned();
        let stream = known.unwrap_or_else(|| {
            let stream = Arc::new(Stream::new(self.published()));
            streams.insert(topic.clone(), stream.clone());
            stream
        });
        // A stream begins with its first watcher. One that comes later and asks for more gets it from the window.
        let mut ring = stream.ring.lock();
        let wanted = after.max(floor);
        if ring.floor > wanted {
            let start = inner.recent.partition_point(|event| event.revision() <= wanted);
            let carried = |event: &&Arc<Event>| event.entry.key.bucket() == bucket && topic.carries(event);
            ring.events = inner.recent.range(start..).filter(carried).cloned().collect();
            ring.floor = wanted;
        }
        drop(ring);
        stream
    }

    /// Forgets a stream when its last watcher goes.
    pub(crate) fn unsubscribe(&self, bucket: &Bucket, topic: &Topic, stream: &Arc<Stream>) {
        let mut inner = self.inner.lock();
        if let Some(streams) = inner.streams.get_mut(bucket)
            // One is the watcher's, one the map's. Nobody gets another without the lock that we hold.
            && Arc::strong_count(stream) <= 2
            && streams.get(topic).is_some_and(|known| Arc::ptr_eq(known, stream))
        {
            streams.remove(topic);
            if streams.is_empty() {
                inner.streams.remove(bucket);
            }
        }
    }

    /// The state as it was at a revision, if the window reaches back so far. Gives the window's floor if not.
    pub(crate) fn state_at(&self, revision: Revision) -> Result<Arc<State>, Revision> {
        let (newest, events, written) = {
            let mut inner = self.inner.lock();
            let newest = self.state();
            if newest.revision == revision {
                return Ok(newest);
            }
            if let Some(state) = inner.past.iter().find(|state| state.revision == revision) {
                return Ok(state.clone());
            }
            if revision < inner.floor.0 {
                return Err(inner.floor.0);
            }
            let start = inner.recent.partition_point(|event| event.revision() <= revision);
            let written = match start.checked_sub(1).and_then(|before| inner.recent.get(before)) {
                Some(event) => event.entry.written,
                None => inner.floor.1,
            };
            let inner = &mut *inner;
            (newest, inner.recent.range(start..).cloned().collect::<Vec<_>>(), written)
        };
        let mut state = (*newest).clone();
        for event in events.iter().rev() {
            match &event.previous {
                Some(previous) => state.put(previous.clone()),
                None => state.remove(&event.entry.key),
            };
        }
        state.revision = revision;
        state.written = written;
        let state = Arc::new(state);
        self.remember(state.clone());
        Ok(state)
    }

    fn remember(&self, state: Arc<State>) {
        let mut inner = self.inner.lock();
        if inner.past.len() >= PAST_STATES {
            inner.past.pop_front();
        }
        inner.past.push_back(state);
    }

    /// The newest revision that was written at a time or before. Gives the window's floor if that is before it.
    pub(crate) fn revision_at(&self, time: Timestamp) -> Result<Revision, Revision> {
        let inner = self.inner.lock();
        let count = inner.recent.partition_point(|event| event.entry.written <= time);
        match count.checked_sub(1).and_then(|last| inner.recent.get(last)) {
            Some(event) => Ok(event.revision()),
            None if inner.floor.1 <= time => Ok(inner.floor.0),
            None => Err(inner.floor.0),
        }
    }

    /// The oldest revision that the window can go back to, and its time.
    pub(crate) fn floor(&self) -> (Revision, Timestamp) {
        self.inner.lock().floor
    }

    /// Makes a state the newest of which nobody knows what led to it: watchers that stand before it are told so.
    /// Gives all streams, as [`Hub::publish`] does.
    pub(crate) fn reset(&self, state: State) -> Vec<Arc<Stream>> {
        let floor = (state.revision, state.written);
        let mut inner = self.inner.lock();
        self.state.store(Arc::new(state));
        self.published.store(floor.0.0, Ordering::Release);
        inner.floor = floor;
        inner.bytes = 0;
        inner.past.clear();
        let lost = std::mem::take(&mut inner.recent);
        let streams: Vec<_> = inner.streams.values().flat_map(HashMap::values).cloned().collect();
        streams.iter().for_each(|stream| stream.drop_through(floor.0));
        drop(inner);
        drop(lost);
        streams
    }

    /// The event of a revision, if the window has it.
    pub(crate) fn event_at(&self, revision: Revision) -> Option<Arc<Event>> {
        let inner = self.inner.lock();
        let at = inner.recent.partition_point(|event| event.revision() < revision);
        inner.recent.get(at).filter(|event| event.revision() == revision).cloned()
    }

    /// The window's events of one key, newest first.
    pub(crate) fn events_of(&self, key: &crate::key::Key) -> Vec<Arc<Event>> {
        let inner = self.inner.lock();
        inner.recent.iter().rev().filter(|event| event.entry.key == *key).cloned().collect()
    }
}

impl Inner {
    /// Calls for every stream that carries the event and that somebody has opened.
    fn each_stream(&self, event: &Event, mut call: impl FnMut(&Arc<Stream>)) {
        let Some(streams) = self.streams.get(event.entry.key.bucket()) else { return };
        if streams.len() <= 4 {
            streams.iter().filter(|(topic, _)| topic.carries(event)).for_each(|(_, stream)| call(stream));
            return;
        }
        if let Some(stream) = streams.get(&Topic::All) {
            call(stream);
        }
        if let Some(stream) = streams.get(&Topic::Namespace(event.entry.key.namespace().into())) {
            call(stream);
        }
        let terms = event.entry.terms();
        let before = event.previous.as_deref().map_or(&[][..], crate::entry::Entry::terms);
        let gone = before.iter().filter(|term| !terms.contains(term));
        for stream in terms.iter().chain(gone).filter_map(|term| streams.get(&Topic::Term(*term))) {
            call(stream);
        }
    }
}
