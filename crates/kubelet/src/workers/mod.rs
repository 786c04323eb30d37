//! Pod workers: each pod is brought to its spec by one worker at a time, and all pods beside each other.
//!
//! ```text
//! informer, runtime events, probes, pulls, timers -> queue of uids -> sync(uid)
//! sync: observe -> compute_pod_actions -> execute -> compute_status -> patch
//! ```
//! A sync never waits for a container to end or an image to arrive: those have tasks of their own ([`kill`],
//! [`images`]) whose end wakes the pod again. What a worker remembers between two syncs is in [`PodState`]; losing
//! it (a `kill -9`) costs nothing but a repeated step.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{ClientError, EventType, WorkQueue, run_controller};
use component::{SharedClock, Shutdown};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::actions::{Problems, compute_termination_actions};
use crate::container::fields::NodeFacts;
use crate::control_plane::ControlPlane;
use crate::node::{Node, Readiness};
use crate::pod::{Pod, PodStatus};
use crate::pods::Pods;
use crate::pressure::images::Ledger;
use crate::probe::{Kind, Listener, Prober, Watched};
use crate::runtime::image::RegistryConfig;
use crate::runtime::{Resources, Runtime, RuntimeError, RuntimePod};
use crate::status::ResizeCondition;
use crate::volumes::{PodFolder, VolumeError, tear_down};

mod admit;
mod execute;
mod files;
mod hooks;
mod images;
mod kill;
mod messages;
mod mirror;
mod report;
mod resize;
mod sync;
mod volumes;

use images::Pull;
use kill::Kill;

/// The name of the index of pods by their uid.
pub const UID: &str = "uid";

/// How many pods are worked on at a time. A worker waits for Docker most of the time, which does ten containers a
/// second however many ask.
const WORKERS: usize = 32;

/// Why a pod could not be brought further. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The runtime failed.
    #[error("the runtime failed")]
    Runtime(#[from] RuntimeError),
    /// The apiserver did not answer.
    #[error("the apiserver failed")]
    Api(#[from] ClientError),
    /// A volume is not there.
    #[error("a volume is not there")]
    Volume(#[from] VolumeError),
    /// The node failed.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where the kubelet keeps what belongs to pods.
    pub root: PathBuf,
    /// Where images come from.
    pub registry: RegistryConfig,
    /// The addresses of the node, and what pods may use of it.
    pub node: NodeFacts,
    /// Bytes of memory of the node.
    pub node_memory: i64,
    /// What its pods may use together.
    pub node_resources: Resources,
    /// The name servers of the cluster.
    pub cluster_dns: Vec<String>,
    /// As `cluster.local`.
    pub cluster_domain: String,
    /// How many images are pulled at a time; `None` for any number.
    pub parallel_pulls: Option<usize>,
    /// Whether Secrets, tokens and the like are shown from memory and never from the disk.
    pub secrets_in_memory: bool,
    /// Sysctls that pods may set beside the safe ones.
    pub allowed_unsafe_sysctls: Vec<String>,
}

/// What the workers work with.
#[derive(Clone)]
pub struct Dependencies {
    /// The containers.
    pub runtime: Arc<dyn Runtime>,
    /// The apiserver.
    pub control: Arc<dyn ControlPlane>,
    /// The pods of this node.
    pub pods: Pods,
    /// The node's object, where it is known.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// What the node runs out of.
    pub pressure: watch::Receiver<Readiness>,
    /// The time.
    pub clock: SharedClock,
    /// Ends them.
    pub shutdown: Shutdown,
}

/// Why the kubelet itself ended a pod, or never began it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// It was never begun.
    pub rejected: bool,
    /// It had to make room: its controller should not take that for a fault of its own.
    pub disrupted: bool,
    /// Instead of its own grace period.
    pub grace: Option<Duration>,
}

impl Failure {
    fn rejected(reason: String) -> Self {
        Self { reason, rejected: true, ..Self::default() }
    }
}

/// The workers of all pods of a node. Clones share everything.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    config: WorkerConfig,
    dependencies: Dependencies,
    prober: Prober,
    queue: WorkQueue<String>,
    states: Mutex<HashMap<String, Arc<tokio::sync::Mutex<PodState>>>>,
    taken: Mutex<admit::Taken>,
    /// Pods that are to end, until their workers have seen it.
    evicted: Mutex<HashMap<String, Failure>>,
    /// A permit for each pull at a time.
    pulls: Option<Arc<Semaphore>>,
    ledger: Ledger,
}

/// What a worker remembers of its pod between two syncs.
#[derive(Default)]
struct PodState {
    /// The pod as it was seen last; its spec serves to end it after its object has gone.
    pod: Option<Arc<Pod>>,
    problems: Problems,
    pulls: HashMap<String, Pull>,
    kills: HashMap<String, Kill>,
    /// What containers said last.
    last_words: messages::LastWords,
    /// The status that was sent last; the informer may be behind.
    sent: Option<PodStatus>,
    /// Why the kubelet itself ended the pod: reason and message.
    failure: Option<Failure>,
    volumes: volumes::VolumeState,
    /// What the containers were given, once that is known.
    allocated: Option<resize::Allocated>,
    /// How far a change of that has come.
    resize: Vec<ResizeCondition>,
}

impl Workers {
    /// Starts them. The store of pods must have synced: a pod that is not in it counts as deleted.
    pub fn start(
        config: WorkerConfig,
        dependencies: Dependencies,
        queue: WorkQueue<String>,
        prober: Prober,
    ) -> Self {
        let shutdown = dependencies.shutdown.clone();
        let shared = Shared {
            prober,
            queue: queue.clone(),
            states: Mutex::default(),
            taken: Mutex::default(),
            evicted: Mutex::default(),
            pulls: config.parallel_pulls.map(|count| Arc::new(Semaphore::new(count))),
            ledger: Ledger::new(&config.root),
            config,
            dependencies,
        };
        let workers = Self { shared: Arc::new(shared) };
        let this = workers.clone();
        let sync = move |uid: String| {
            let shared = Arc::clone(&this.shared);
            async move { shared.sync(&uid).await }
        };
        run_controller("pod", &queue, WORKERS, sync, &shutdown);
        workers
    }

    /// Ends a pod for good, to make room.
    pub fn evict(&self, uid: &str, failure: Failure) {
        self.shared.evicted.lock().insert(uid.to_owned(), failure);
        self.shared.queue.add(uid.to_owned());
    }

    /// Looks at every pod that is wanted or of which something is left, and gives back addresses of none.
    pub async fn sweep(&self) -> Result<(), RuntimeError> {
        let Shared { dependencies, queue, config, .. } = &*self.shared;
        for pod in dependencies.pods.list() {
            queue.add(pod.metadata.uid.clone());
        }
        for pod in dependencies.runtime.list_pods().await? {
            queue.add(pod.uid);
        }
        for entry in std::fs::read_dir(config.root.join("pods")).into_iter().flatten().flatten() {
            queue.add(entry.file_name().to_string_lossy().into_owned());
        }
        self.shared.collect_volumes().await;
        if let Err(error) = self.shared.set_node_resources().await {
            tracing::warn!(%error, "cannot keep pods to what they may use together");
        }
        if let Err(error) = dependencies.runtime.repair_network().await {
            tracing::warn!(%error, "cannot repair the node's network");
        }
        dependencies.runtime.collect_garbage().await.map(|_| ())
    }
}

/// Probes wake pods through the queue, and tell of failures by events.
pub struct ProbeListener {
    /// The queue of the workers.
    pub queue: WorkQueue<String>,
    /// The pods of this node.
    pub pods: Pods,
    /// Where events go.
    pub control: Arc<dyn ControlPlane>,
}

impl Listener for ProbeListener {
    fn changed(&self, pod_uid: &str) {
        self.queue.add(pod_uid.to_owned());
    }

    fn failed(&self, watched: &Watched, kind: Kind, message: &str) {
        let Some(pod) = self.pods.by_uid(&watched.pod_uid) else { return };
        let field = field_path(&pod, &watched.container.name);
        let message = format!("{} probe failed: {message}", kind.title());
        self.control.event(&pod, &field, EventType::Warning, "Unhealthy", message);
    }
}

/// The field path of a container, for events.
fn field_path(pod: &Pod, container: &str) -> String {
    let is_in = |list: &[crate::pod::Container]| list.iter().any(|known| known.name == container);
    let list = if is_in(&pod.spec.containers) {
        "containers"
    } else if is_in(&pod.spec.ephemeral_containers) {
        "ephemeralContainers"
    } else {
        "initContainers"
    };
    format!("spec.{list}{{{container}}}")
}

impl Shared {
    fn state(&self, uid: &str) -> Arc<tokio::sync::Mutex<PodState>> {
        Arc::clone(self.states.lock().entry(uid.to_owned()).or_default())
    }

    fn folder(&self, uid: &str) -> PodFolder {
        PodFolder::new(&self.config.root, uid)
    }

    fn event(&self, pod: &Pod, container: &str, kind: EventType, reason: &str, message: String) {
        let field = if container.is_empty() { String::new() } else { field_path(pod, container) };
        self.dependencies.control.event(pod, &field, kind, reason, message);
    }

    /// Ends a pod; says whether it has ended. With `remove`, nothing of it is left then.
    async fn end_pod(
        self: &Arc<Self>,
        state: &mut PodState,
        runtime: &RuntimePod,
        remove: bool,
    ) -> Result<bool, SyncError> {
        let pod = state.pod.clone();
        let actions = compute_termination_actions(pod.as_deref(), runtime, remove);
        for record in &runtime.containers {
            self.prober.forget(&record.id);
        }
        if !actions.kill.is_empty() {
            for kill in &actions.kill {
                self.kill(state, pod.as_ref(), runtime, kill);
            }
            return Ok(false);
        }
        let held = &self.dependencies.runtime;
        for id in &actions.stop_sandboxes {
            held.stop_sandbox(id).await?;
        }
        for id in &actions.remove_containers {
            held.remove_container(id).await?;
        }
        for id in &actions.remove_sandboxes {
            held.remove_sandbox(id).await?;
        }
        Ok(true)
    }

    /// Takes the pod's folders away, volumes and all. The folder itself goes last: it is what a kubelet that was killed
    /// finds the rest by.
    async fn tear_down(&self, uid: &str) -> Result<(), SyncError> {
        self.dependencies.runtime.forget_pod(uid).await?;
        let folder = self.folder(uid);
        let path = folder.path().to_owned();
        let torn = tokio::task::spawn_blocking(move || tear_down(&folder)).await;
        torn.unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|source| SyncError::Io { path, source })
    }
}

/// The shorter of two waits, where there are any.
fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
