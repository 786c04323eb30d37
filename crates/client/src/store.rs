//! The cache of an informer: what the apiserver had, as far as the watch has come. Read without a request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::gvk::NamespacedName;
use foldhash::fast::FixedState;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::Resource;

/// Told of a change: (old, new), as (nothing, new), (old, new), (old, nothing).
pub(crate) type Handler<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// The keys under which an object is found in an index.
pub(crate) type IndexKeys<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// The cached objects of one kind, ordered by namespace and name. Clones share them.
pub struct Store<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    objects: RwLock<Objects<K>>,
    /// Held while a change is applied and told, so that every handler sees the changes in order.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

struct Objects<K> {
    by_name: BTreeMap<NamespacedName, Arc<K>>,
    indexes: Vec<Index<K>>,
}

struct Index<K> {
    name: &'static str,
    keys: IndexKeys<K>,
    entries: HashMap<String, BTreeSet<NamespacedName>, FixedState>,
}

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Resource> Store<K> {
    pub(crate) fn new(indexes: Vec<(&'static str, IndexKeys<K>)>, handlers: Vec<Handler<K>>) -> Self {
        let indexes = indexes
            .into_iter()
            .map(|(name, keys)| Index { name, keys, entries: HashMap::default() })
            .collect();
        Self {
            shared: Arc::new(Shared {
                objects: RwLock::new(Objects { by_name: BTreeMap::new(), indexes }),
                handlers: Mutex::new(handlers),
                synced: watch::Sender::new(false),
            }),
        }
    }

    /// A store for tests, filled with `objects` and synced. It follows nothing.
    pub fn for_tests(objects: impl IntoIterator<Item = K>) -> Self {
        let store = Self::new(Vec::new(), Vec::new());
        for object in objects {
            store.upsert(object);
        }
        store.set_synced();
        store
    }

    /// One object.
    pub fn get(&self, name: &NamespacedName) -> Option<Arc<K>> {
        self.shared.objects.read().by_name.get(name).cloned()
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.objects.read().by_name.values().cloned().collect()
    }

    /// All objects of a namespace, ordered by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let objects = self.shared.objects.read();
        let from = NamespacedName::new(namespace, "");
        let within = objects.by_name.range(from..).take_while(|(name, _)| name.namespace == namespace);
        within.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The objects that the index named `index` has under `key`. An index must have been declared when the
    /// informer was made; one that was not has nothing.
    pub fn by_index(&self, index: &str, key: &str) -> Vec<Arc<K>> {
        let objects = self.shared.objects.read();
        let Some(found) = objects.indexes.iter().find(|candidate| candidate.name == index) else {
            debug_assert!(false, "no index {index}");
            return Vec::new();
        };
        let names = found.entries.get(key).into_iter().flatten();
        names.filter_map(|name| objects.by_name.get(name).cloned()).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.objects.read().by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every object that existed at the start has been seen.
    pub fn has_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Waits for that.
    pub async fn wait_synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as this store does.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Adds a handler. It is told first of every object that is there, then of each change, in order, by the
    /// informer's task: it must not block, only put keys into queues. It must not subscribe to the same store.
    pub fn subscribe(&self, handler: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock();
        for object in self.list() {
            handler(None, Some(&object));
        }
        handlers.push(Box::new(handler));
    }

    pub(crate) fn set_synced(&self) {
        self.shared.synced.send_replace(true);
    }

    pub(crate) fn names(&self) -> BTreeSet<NamespacedName> {
        self.shared.objects.read().by_name.keys().cloned().collect()
    }

    /// Puts an object in and tells it, unless this very version is there already.
    pub(crate) fn upsert(&self, object: K) {
        let name = object.metadata().namespaced_name();
        let new = Arc::new(object);
        let handlers = self.shared.handlers.lock();
        let old = {
            let mut objects = self.shared.objects.write();
            let is_same = |old: &Arc<K>| {
                let (old, new) = (old.metadata(), new.metadata());
                !new.resource_version.is_empty()
                    && old.resource_version == new.resource_version
                    && old.uid == new.uid
            };
            if objects.by_name.get(&name).is_some_and(is_same) {
                return;
            }
            let old = objects.by_name.insert(name.clone(), Arc::clone(&new));
            for index in &mut objects.indexes {
                index.replace(&name, old.as_deref(), Some(&new));
            }
            old
        };
        match old {
            // An object of the same name made anew, where the watch did not show the deletion between them.
            Some(old) if old.metadata().uid != new.metadata().uid => {
                tell(&handlers, Some(&old), None);
                tell(&handlers, None, Some(&new));
            }
            old => tell(&handlers, old.as_ref(), Some(&new)),
        }
    }

    /// Takes an object out and tells its last state: `last` where the watch brought it.
    pub(crate) fn remove(&self, name: &NamespacedName, last: Option<K>) {
        let handlers = self.shared.handlers.lock();
        let old = {
            let mut objects = self.shared.objects.write();
            let Some(old) = objects.by_name.remove(name) else { return };
            for index in &mut objects.indexes {
                index.replace(name, Some(&old), None);
            }
            old
        };
        let last = last.map_or(old, Arc::new);
        tell(&handlers, Some(&last), None);
    }
}

fn tell<K>(handlers: &[Handler<K>], old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
    for handler in handlers {
        handler(old, new);
    }
}

impl<K> Index<K> {
    fn replace(&mut self, name: &NamespacedName, old: Option<&K>, new: Option<&K>) {
        let old_keys = old.map(|old| (self.keys)(old)).unwrap_or_default();
        let new_keys = new.map(|new| (self.keys)(new)).unwrap_or_default();
        for key in old_keys.iter().filter(|key| !new_keys.contains(key)) {
            if let Some(names) = self.entries.get_mut(key) {
                names.remove(name);
                if names.is_empty() {
                    self.entries.remove(key);
                }
            }
        }
        for key in new_keys.into_iter().filter(|key| !old_keys.contains(key)) {
            self.entries.entry(key).or_default().insert(name.clone());
        }
    }
}
