//! Keeps the compiled roles at the state of the store, at the moment of each question.
//!
//! Nobody runs in the background: whoever asks first takes in what has been written since the last question, which
//! nearly always is nothing. So a right counts, or does not count any more, as soon as its write was acknowledged.

use parking_lot::Mutex;
use serde_json::Value;
use store::{Bucket, Event, EventKind, ReadError, Store, Watch};

use super::index::Index;

/// What is followed: each bucket, and whether it holds bindings.
const FOLLOWED: [(&str, bool); 4] = [
    ("roles.rbac.authorization.k8s.io", false),
    ("clusterroles.rbac.authorization.k8s.io", false),
    ("rolebindings.rbac.authorization.k8s.io", true),
    ("clusterrolebindings.rbac.authorization.k8s.io", true),
];

/// The index, and how far it has followed.
pub(super) struct Follower {
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Index,
    /// None before the first question, and after a watch that could not go on.
    watches: Option<Vec<Watch>>,
}

impl Follower {
    pub(super) fn new(store: Store) -> Self {
        Self { store, state: Mutex::default() }
    }

    /// Asks the index as of now.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Index) -> T) -> T {
        let mut state = self.state.lock();
        state.follow(&self.store);
        ask(&state.index)
    }
}

impl State {
    fn follow(&mut self, store: &Store) {
        if let Some(watches) = &mut self.watches {
            match drain(watches, &mut self.index) {
                // A store that is closed changes no more.
                Ok(()) | Err(ReadError::Closed) => return,
                Err(_) => self.watches = None,
            }
        }
        let snapshot = store.snapshot();
        self.index = Index::default();
        let mut watches = Vec::new();
        for (bucket, bindings) in FOLLOWED {
            let bucket = Bucket::from(bucket);
            for entry in snapshot.list(&bucket, None, None) {
                put(&mut self.index, bindings, entry.key.namespace(), entry.key.name(), &entry.value);
            }
            watches.extend(store.watch(&bucket, snapshot.revision(), None).ok());
        }
        // Without all of them the next question begins anew.
        self.watches = Some(watches).filter(|watches| watches.len() == FOLLOWED.len());
    }
}

fn drain(watches: &mut [Watch], index: &mut Index) -> Result<(), ReadError> {
    for (watch, (_, bindings)) in watches.iter_mut().zip(FOLLOWED) {
        while let Some(event) = watch.try_next()? {
            take_in(index, bindings, &event);
        }
    }
    Ok(())
}

fn take_in(index: &mut Index, bindings: bool, event: &Event) {
    let key = &event.entry.key;
    match (event.kind, bindings) {
        (EventKind::Put, _) => put(index, bindings, key.namespace(), key.name(), &event.entry.value),
        (EventKind::Delete, true) => index.remove_binding(key.namespace(), key.name()),
        (EventKind::Delete, false) => index.remove_role(key.namespace(), key.name()),
    }
}

fn put(index: &mut Index, bindings: bool, namespace: &str, name: &str, bytes: &[u8]) {
    // What the pipeline wrote decodes; what does not grants nothing.
    let object: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if bindings {
        index.put_binding(namespace, name, &object);
    } else {
        index.put_role(namespace, name, &object);
    }
}
