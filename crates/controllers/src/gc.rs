//! Garbage collection: what has lost its owners goes, and what is deleted takes its dependents along.
//!
//! ```text
//! one watch per resource (watch) -> graph of who owns whom (graph) -> queue of uids
//! uid -> step (plan, pure) -> owners to be looked up, or one write -> step ...
//! ```
//! The graph only ever proposes. Before an object is deleted because its owner is absent, the apiserver is asked for
//! that owner; the deletion itself names uid and resource version.

mod execute;
mod graph;
mod plan;
mod watch;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::gvk::NamespacedName;
use api::registry::{ResourceDef, registry};
use client::{ClientError, Store, WorkQueue};
use parking_lot::Mutex;
use tokio::sync::watch as channel;

use crate::context::Context;
use crate::objects::CustomResourceDefinition;
use crate::resources;
use graph::{Graph, Uid};
use plan::{Owners, Step};

const WORKERS: usize = 16;
/// The most uids of owners that are known to be gone; beyond, they are asked for again.
const KNOWN_GONE: usize = 50_000;

struct Controller {
    context: Context,
    /// Those that are watched, and have been; a node names its own by its place here.
    resources: Mutex<Vec<Arc<ResourceDef>>>,
    definitions: Store<CustomResourceDefinition>,
    /// The uids of definitions whose resources are watched.
    custom: Mutex<HashSet<String>>,
    graph: Mutex<Graph>,
    /// Owners that the apiserver no longer has. A uid never comes back.
    gone: Mutex<HashSet<Uid>>,
    queue: WorkQueue<Uid>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let resources = resources::stored(false);
    let controller = Arc::new(Controller {
        context: context.clone(),
        resources: Mutex::new(resources.clone()),
        definitions: context.store(),
        custom: Mutex::default(),
        graph: Mutex::default(),
        gone: Mutex::default(),
        queue: WorkQueue::new(),
    });
    let (synced, mut count) = channel::channel(0usize);
    let synced = Arc::new(synced);
    for index in 0..resources.len() {
        watch::spawn_watch(&controller, index, Arc::clone(&synced));
    }
    let total = Arc::new(AtomicUsize::new(resources.len()));
    let (watcher, expected) = (Arc::clone(&controller), Arc::clone(&total));
    controller.definitions.subscribe(move |_, new| {
        if let Some(definition) = new {
            watcher.watch_custom(definition, &expected, &synced);
        }
    });
    let shutdown = context.shutdown.clone();
    let workers = Arc::clone(&controller);
    component::spawn(&context.shutdown, "garbage-collector", async move {
        // Half a graph does not know all dependents of an owner.
        let all = async {
            workers.definitions.wait_synced().await;
            count.wait_for(|count| *count >= total.load(Ordering::SeqCst)).await.is_ok()
        };
        tokio::select! {
            () = shutdown.triggered() => return,
            is_whole = all => if !is_whole { return },
        }
        let queue = workers.queue.clone();
        client::run_controller(
            "garbagecollector",
            &queue,
            WORKERS,
            move |uid: Uid| {
                let controller = Arc::clone(&workers);
                async move { controller.reconcile(&uid).await }
            },
            &shutdown,
        );
    });
}

impl Controller {
    async fn reconcile(&self, uid: &Uid) -> Result<Option<Duration>, ClientError> {
        let mut owners = Owners::default();
        loop {
            let step = {
                let graph = self.graph.lock();
                let gone = self.gone.lock();
                plan::step(&graph, uid, &owners, &|uid| gone.contains(uid))
            };
            match step {
                Step::Done => return Ok(None),
                Step::LookUp(references) => {
                    let Some(namespace) = self.graph.lock().get(uid).map(|node| node.namespace.clone())
                    else {
                        return Ok(None);
                    };
                    for reference in references {
                        let presence = self.look_up(&reference, &namespace).await?;
                        owners.insert(Uid::from(reference.uid.as_str()), presence);
                    }
                }
                Step::Look(uids) => {
                    uids.into_iter().for_each(|uid| self.queue.add(uid));
                    return Ok(None);
                }
                Step::Act(action) => {
                    self.execute(uid, action).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Watches the objects of a definition, once it is served.
    fn watch_custom(
        self: &Arc<Self>,
        definition: &CustomResourceDefinition,
        expected: &AtomicUsize,
        synced: &Arc<channel::Sender<usize>>,
    ) {
        let Some(def) = resources::custom(definition) else { return };
        if !self.custom.lock().insert(definition.metadata.uid.clone()) {
            return;
        }
        let place = {
            let mut all = self.resources.lock();
            all.push(def);
            all.len() - 1
        };
        expected.fetch_add(1, Ordering::SeqCst);
        watch::spawn_watch(self, place, Arc::clone(synced));
    }

    /// The resource of a node.
    fn resource(&self, place: usize) -> Arc<ResourceDef> {
        Arc::clone(&self.resources.lock()[place])
    }

    /// The resource whose objects are of that kind.
    fn kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<ResourceDef>> {
        registry().kind(group, version, kind).or_else(|| {
            let all = self.definitions.list();
            let is =
                |own: &&Arc<CustomResourceDefinition>| own.spec.group == group && own.spec.names.kind == kind;
            all.iter().filter(is).find_map(|own| resources::in_version(own, version))
        })
    }

    /// Whether the resource is one whose definition is gone.
    fn is_gone(&self, def: &ResourceDef) -> bool {
        registry().resource(&def.group, &def.version, &def.plural).is_none()
            && self.definitions.get(&NamespacedName::cluster(&*def.bucket)).is_none()
    }

    /// Notes that the apiserver does not have an owner.
    fn note_gone(&self, uid: Uid) {
        let mut gone = self.gone.lock();
        if gone.len() >= KNOWN_GONE {
            gone.clear();
        }
        gone.insert(uid);
    }
}
