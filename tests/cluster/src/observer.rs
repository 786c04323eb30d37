//! Sees the cluster as a user with many watches does, and remembers it.

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{Client, ClientError, DynamicApi, Informer, Resource, Store, WatchItem, WatchParams};
use component::Shutdown;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::objects::{
    Claim, Deployment, EndpointSlice, Endpoints, Event, Namespace, Node, Pod, ReplicaSet,
    ReplicationController, Volume,
};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A pod as a watch showed it: before and after.
#[derive(Debug, Clone)]
pub struct Change {
    /// Before; `None` where it is new.
    pub old: Option<Arc<Pod>>,
    /// After; `None` where it is gone.
    pub new: Option<Arc<Pod>>,
}

/// What the watches have shown so far.
pub struct Observer {
    /// All pods.
    pub pods: Store<Pod>,
    /// All Deployments.
    pub deployments: Store<Deployment>,
    /// All ReplicaSets.
    pub replica_sets: Store<ReplicaSet>,
    /// All ReplicationControllers.
    pub replication_controllers: Store<ReplicationController>,
    /// All EndpointSlices.
    pub endpoint_slices: Store<EndpointSlice>,
    /// All Endpoints.
    pub endpoints: Store<Endpoints>,
    /// All nodes.
    pub nodes: Store<Node>,
    /// All namespaces.
    pub namespaces: Store<Namespace>,
    /// All claims to volumes.
    pub claims: Store<Claim>,
    /// All volumes.
    pub volumes: Store<Volume>,
    /// All events.
    pub events: Store<Event>,
    pod_history: Arc<Mutex<Vec<Change>>>,
    changes: watch::Receiver<u64>,
}

impl Observer {
    /// Opens the watches; returns once they show what is there.
    pub async fn start(client: &Client, shutdown: &Shutdown) -> Self {
        let (sender, changes) = watch::channel(0);
        let sender = Arc::new(sender);
        let pod_history = Arc::<Mutex<Vec<Change>>>::default();
        let history = Arc::clone(&pod_history);
        let told = Arc::clone(&sender);
        let pods = Informer::<Pod>::new()
            .on_change(move |old, new| {
                history.lock().push(Change { old: old.cloned(), new: new.cloned() });
                told.send_modify(|count| *count += 1);
            })
            .spawn(&client.api(), shutdown);
        let observer = Self {
            pods,
            deployments: follow(client, &sender, shutdown),
            replica_sets: follow(client, &sender, shutdown),
            replication_controllers: follow(client, &sender, shutdown),
            endpoint_slices: follow(client, &sender, shutdown),
            endpoints: follow(client, &sender, shutdown),
            nodes: follow(client, &sender, shutdown),
            namespaces: follow(client, &sender, shutdown),
            claims: follow(client, &sender, shutdown),
            volumes: follow(client, &sender, shutdown),
            events: follow(client, &sender, shutdown),
            pod_history,
            changes,
        };
        observer.pods.wait_synced().await;
        observer.deployments.wait_synced().await;
        observer.replica_sets.wait_synced().await;
        observer.replication_controllers.wait_synced().await;
        observer.endpoint_slices.wait_synced().await;
        observer.endpoints.wait_synced().await;
        observer.nodes.wait_synced().await;
        observer.namespaces.wait_synced().await;
        observer.claims.wait_synced().await;
        observer.volumes.wait_synced().await;
        observer.events.wait_synced().await;
        observer
    }

    /// Looks again at each change until `condition` has an answer.
    ///
    /// # Panics
    /// When it has none for a minute: with what is there instead.
    #[track_caller]
    pub fn wait_for<'a, T>(
        &'a self,
        what: &'a str,
        mut condition: impl FnMut(&Self) -> Option<T> + 'a,
    ) -> impl Future<Output = T> + 'a {
        let caller = std::panic::Location::caller();
        let mut changes = self.changes.clone();
        let waited = async move {
            loop {
                changes.borrow_and_update();
                if let Some(answer) = condition(self) {
                    return answer;
                }
                changes.changed().await.expect("the observer holds the sender for as long as it lives");
            }
        };
        async move {
            match tokio::time::timeout(LIMIT, waited).await {
                Ok(answer) => answer,
                Err(_) => panic!("{caller}: still waiting for {what}\n{}", self.summary()),
            }
        }
    }

    /// All that happened to pods, in order.
    pub fn pod_history(&self) -> Vec<Change> {
        self.pod_history.lock().clone()
    }

    /// The pods with a label `app`.
    pub fn pods_of(&self, app: &str) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.list();
        pods.retain(|pod| pod.metadata.labels.get("app").is_some_and(|label| label == app));
        pods
    }

    /// A Deployment of the default namespace.
    pub fn deployment(&self, name: &str) -> Option<Arc<Deployment>> {
        self.deployments.get(&NamespacedName::new(crate::manifests::NAMESPACE, name))
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(&NamespacedName::cluster(name))
    }

    /// The addresses that take traffic for a Service, as its slices say.
    pub fn ready_addresses(&self, service: &str) -> Vec<String> {
        let slices = self.endpoint_slices.list();
        let of_service = slices.iter().filter(|slice| {
            slice.metadata.labels.get("kubernetes.io/service-name").is_some_and(|name| name == service)
        });
        let ready = of_service.flat_map(|slice| slice.endpoints.iter().filter(|e| e.conditions.ready));
        let mut addresses: Vec<String> = ready.flat_map(|endpoint| endpoint.addresses.clone()).collect();
        addresses.sort();
        addresses
    }

    /// What there is, for the one who wonders why a test waits.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        for node in self.nodes.list() {
            lines.push(format!("node {} ready={} {:?}", node.metadata.name, node.is_ready(), node.taints()));
        }
        for deployment in self.deployments.list() {
            let (meta, status) = (&deployment.metadata, &deployment.status);
            lines.push(format!("deployment {} generation={} {status:?}", meta.name, meta.generation));
        }
        for set in self.replica_sets.list() {
            let (wanted, status) = (set.spec.replicas, &set.status);
            lines.push(format!("replicaset {} replicas={wanted} {status:?}", set.metadata.name));
        }
        for pod in self.pods.list().iter().take(40) {
            let (meta, phase) = (&pod.metadata, &pod.status.phase);
            let going = meta.deletion_timestamp;
            lines.push(format!("pod {} on {:?} {phase} going={going:?}", meta.name, pod.spec.node_name));
        }
        for claim in self.claims.list() {
            let (meta, phase) = (&claim.metadata, &claim.status.phase);
            lines.push(format!("claim {} {phase} of {:?}", meta.name, claim.spec.volume_name));
        }
        for volume in self.volumes.list() {
            lines.push(format!("volume {} {}", volume.metadata.name, volume.status.phase));
        }
        for event in self.events.list().iter().rev().take(20) {
            let about = &event.involved_object;
            lines.push(format!("event {} {}: {} {}", about.kind, about.name, event.reason, event.message));
        }
        lines.join("\n")
    }
}

/// Watches one resource until it shows an object of this name.
pub async fn until_shown(api: &DynamicApi, namespace: &str, name: &str) -> Result<(), ClientError> {
    let params = WatchParams { send_initial_events: true, ..WatchParams::default() };
    let mut watch = api.watch(namespace, &params).await?;
    while let Some(item) = watch.next().await {
        match item? {
            WatchItem::Added(object) | WatchItem::Modified(object) if object.name == name => return Ok(()),
            _ => {}
        }
    }
    Err(ClientError::Protocol("a watch goes on until the object is there"))
}

fn follow<K: Resource>(client: &Client, changes: &Arc<watch::Sender<u64>>, shutdown: &Shutdown) -> Store<K> {
    let changes = Arc::clone(changes);
    Informer::<K>::new()
        .on_change(move |_, _| changes.send_modify(|count| *count += 1))
        .spawn(&client.api(), shutdown)
}
