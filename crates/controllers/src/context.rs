//! What every controller works with: the client, informers that all share, events, time, chance.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;

use client::{Api, Client, EventRecorder, Informer, Resource, Store, WorkQueue, run_controller};
use component::{SharedClock, Shutdown};
use jiff::Timestamp;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::objects::{ConfigMap, ControllerRevision, EndpointSlice, Job, Lease, Pod, ServiceAccount};

/// The index of objects by the uid of their controller.
pub const BY_OWNER: &str = "owner";
/// The index of objects without a controller, by namespace.
pub const ORPHANS: &str = "orphans";
/// The index of pods by the name of their node.
pub const BY_NODE: &str = "node";
/// The index of EndpointSlices by namespace and name of their Service.
pub const BY_SERVICE: &str = "service";

type Start = Box<dyn FnOnce(&Shutdown) + Send>;
type Synced = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Shared by all controllers.
#[derive(Clone)]
pub struct Context {
    /// Talks to the apiserver.
    pub client: Client,
    /// Settings.
    pub config: Arc<Config>,
    /// Tells users what happened.
    pub events: EventRecorder,
    /// What is measured.
    pub metrics: Metrics,
    /// The time.
    pub clock: SharedClock,
    /// The end.
    pub shutdown: Shutdown,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    stores: HashMap<TypeId, Box<dyn Any + Send>>,
    synced: Vec<Synced>,
    starts: Vec<Start>,
}

impl Context {
    /// A context without any informer yet.
    pub fn new(
        client: Client,
        config: Arc<Config>,
        events: EventRecorder,
        metrics: Metrics,
        (clock, shutdown): (SharedClock, Shutdown),
    ) -> Self {
        Self { client, config, events, metrics, clock, shutdown, shared: Arc::default() }
    }

    /// The same context for one that tells of events under another name.
    pub fn telling_as(&self, component: &str) -> Self {
        Self { events: self.events.named(component), ..self.clone() }
    }

    /// The objects of a kind.
    pub fn api<K: Resource>(&self) -> Api<K> {
        self.client.api()
    }

    /// The cache of a kind, the same for all who ask.
    pub fn store<K: Watched>(&self) -> Store<K> {
        let mut shared = self.shared.lock();
        if let Some(store) =
            shared.stores.get(&TypeId::of::<K>()).and_then(|store| store.downcast_ref::<Store<K>>())
        {
            return store.clone();
        }
        let store = K::informer().spawn(&self.api::<K>(), &self.shutdown);
        shared.stores.insert(TypeId::of::<K>(), Box::new(store.clone()));
        let synced = store.clone();
        shared.synced.push(Box::pin(async move { synced.wait_synced().await }));
        store
    }

    /// Has `reconcile` run for the keys of `queue`, once every cache is filled.
    pub fn run<T, F, Fut, E>(&self, name: &'static str, queue: WorkQueue<T>, workers: usize, reconcile: F)
    where
        T: Clone + Eq + Hash + Display + Send + Sync + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let depth = queue.clone();
        self.metrics.queue(name, move || depth.len());
        let metrics = self.metrics.clone();
        let measured = move |key| {
            let (running, metrics) = (reconcile(key), metrics.clone());
            async move {
                let result = running.await;
                metrics.reconciled(name, result.is_ok());
                result
            }
        };
        self.on_synced(move |shutdown| run_controller(name, &queue, workers, measured, shutdown));
    }

    /// Has `start` called once every cache is filled.
    pub fn on_synced(&self, start: impl FnOnce(&Shutdown) + Send + 'static) {
        self.shared.lock().starts.push(Box::new(start));
    }

    /// Waits until every cache is filled and starts all workers. `false` where the shutdown came first.
    pub async fn start(&self) -> bool {
        let synced = std::mem::take(&mut self.shared.lock().synced);
        if !client::informer::wait_all_synced(synced, &self.shutdown).await {
            return false;
        }
        let starts = std::mem::take(&mut self.shared.lock().starts);
        for start in starts {
            start(&self.shutdown);
        }
        true
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new suffix for the name of an object.
    pub fn suffix() -> String {
        crate::template::random_suffix(rand::rng().random())
    }
}

/// A kind that is cached, with the indexes that its readers need.
pub trait Watched: Resource {
    /// The informer, not started.
    fn informer() -> Informer<Self> {
        Informer::new()
    }
}

impl Watched for Pod {
    fn informer() -> Informer<Self> {
        let owner = |pod: &Self| pod.metadata.controller().map(|owner| owner.uid.clone());
        Informer::new()
            .index(BY_OWNER, move |pod| owner(pod).into_iter().collect())
            .index(ORPHANS, move |pod| {
                if owner(pod).is_none() { vec![pod.metadata.namespace.clone()] } else { Vec::new() }
            })
            .index(BY_NODE, |pod| {
                if pod.spec.node_name.is_empty() { Vec::new() } else { vec![pod.spec.node_name.clone()] }
            })
    }
}

impl Watched for EndpointSlice {
    fn informer() -> Informer<Self> {
        Informer::new().index(BY_SERVICE, |slice: &Self| {
            let service = slice.metadata.labels.get(crate::endpointslice::SERVICE_NAME);
            service.map(|service| format!("{}/{service}", slice.metadata.namespace)).into_iter().collect()
        })
    }
}

impl Watched for Job {
    fn informer() -> Informer<Self> {
        Informer::new().index(BY_OWNER, |job: &Self| {
            job.metadata.controller().map(|owner| owner.uid.clone()).into_iter().collect()
        })
    }
}

impl Watched for ControllerRevision {
    fn informer() -> Informer<Self> {
        Informer::new().index(BY_OWNER, |revision: &Self| {
            revision.metadata.controller().map(|owner| owner.uid.clone()).into_iter().collect()
        })
    }
}

/// Only those of nodes.
impl Watched for Lease {
    fn informer() -> Informer<Self> {
        Informer::new().namespace(crate::nodelifecycle::LEASES)
    }
}

/// Only the one that each namespace has from the start.
impl Watched for ServiceAccount {
    fn informer() -> Informer<Self> {
        Informer::new().fields(format!("metadata.name={}", crate::serviceaccount::DEFAULT))
    }
}

/// Only the one that each namespace has from the start: others can be very large.
impl Watched for ConfigMap {
    fn informer() -> Informer<Self> {
        Informer::new().fields(format!("metadata.name={}", crate::root_ca::NAME))
    }
}

/// Kinds that are cached without an index.
macro_rules! watched {
    ($($type:ident),*) => { $(impl Watched for $crate::objects::$type {})* };
}
watched!(
    CustomResourceDefinition,
    DaemonSet,
    PodDisruptionBudget,
    StatefulSet,
    CronJob,
    Deployment,
    ReplicaSet,
    ReplicationController,
    Service,
    Endpoints,
    Node,
    Namespace,
    PersistentVolume,
    PersistentVolumeClaim,
    ResourceQuota,
    StorageClass
);
