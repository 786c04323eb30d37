//! Tells users what happened to an object: core/v1 Events, seen in `kubectl describe`.
//!
//! Recording never blocks and never fails: an event goes into a bounded queue, and is dropped where that is full.
//! One task writes. An event that was recorded before raises the count of the Event that is there.

mod correlate;

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::meta::ObjectMeta;
use component::{Backoff, ErrorChain, SharedClock, Shutdown, spawn};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{
    Client, ClientError, DynamicApi, GroupVersionResource, PatchOptions, PatchType, Resource, WriteOptions,
};
use correlate::{Correlator, Step};

/// How many events wait to be written before new ones are dropped: minutes of a busy cluster.
const QUEUE: usize = 1000;

/// How often the writing of one event is tried before it is given up.
const TRIES: u32 = 6;

/// Whether an event is news or trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// News.
    Normal,
    /// Trouble.
    Warning,
}

impl EventType {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an event is about (`v1.ObjectReference`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// As `Pod`.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// As `apps/v1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// The version that the event speaks of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The part of the object, as `spec.containers{web}`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl ObjectReference {
    /// A reference to an object of a kind by its metadata.
    pub fn new(api_version: &str, kind: &str, metadata: &ObjectMeta) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            api_version: api_version.to_owned(),
            resource_version: metadata.resource_version.clone(),
            field_path: String::new(),
        }
    }

    /// A reference to an object by its projection.
    pub fn of<K: Resource>(object: &K) -> Self {
        let version = api::gvk::GroupVersion { group: K::GROUP.to_owned(), version: K::VERSION.to_owned() };
        Self::new(&version.to_string(), K::KIND, object.metadata())
    }

    /// The same, about a part of the object.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.field_path = path.into();
        self
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Who says so, as `deployment-controller`.
    pub component: Arc<str>,
    /// To what.
    pub object: ObjectReference,
    /// News or trouble.
    pub r#type: EventType,
    /// A CamelCase word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// Records events. Clones share the queue.
#[derive(Debug, Clone)]
pub struct EventRecorder {
    component: Arc<str>,
    sender: mpsc::Sender<Recorded>,
    clock: SharedClock,
}

impl EventRecorder {
    /// Starts the task that writes the events of `component` (as `default-scheduler`) on `host` (empty where that
    /// means nothing).
    pub fn start(
        client: &Client,
        component: &str,
        host: &str,
        clock: SharedClock,
        shutdown: &Shutdown,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            api: client.dynamic(GroupVersionResource::new("", "v1", "events")),
            correlator: Correlator::new(host),
            rng: StdRng::from_os_rng(),
        };
        let stop = shutdown.clone();
        spawn(shutdown, "event-recorder", writer.run(receiver, stop));
        Self { component: component.into(), sender, clock }
    }

    /// The same recorder for another component of this daemon.
    pub fn named(&self, component: &str) -> Self {
        Self { component: component.into(), ..self.clone() }
    }

    /// A recorder for tests and the events that it would write.
    pub fn for_tests(clock: SharedClock) -> (Self, mpsc::Receiver<Recorded>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { component: "test".into(), sender, clock }, receiver)
    }

    /// Records an event. Returns at once; drops the event where too many wait.
    pub fn event(
        &self,
        object: &ObjectReference,
        r#type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let event = Recorded {
            component: self.component.clone(),
            object: object.clone(),
            r#type,
            reason: reason.to_owned(),
            message: message.into(),
            at: self.clock.now(),
        };
        if let Err(dropped) = self.sender.try_send(event) {
            let event = dropped.into_inner();
            debug!(object = %event.object.name, reason = %event.reason, "event dropped");
        }
    }

    /// News about an object.
    pub fn normal(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Normal, reason, message);
    }

    /// Trouble with an object.
    pub fn warning(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Warning, reason, message);
    }
}

struct Writer {
    api: DynamicApi,
    correlator: Correlator,
    rng: StdRng,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Recorded>, stop: Shutdown) {
        loop {
            let event = tokio::select! {
                event = receiver.recv() => event,
                () = stop.triggered() => return,
            };
            let Some(event) = event else { return };
            tokio::select! {
                () = self.write(event) => {}
                () = stop.triggered() => return,
            }
        }
    }

    async fn write(&mut self, event: Recorded) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let Some(mut step) = self.correlator.step(&event) else { return };
        for _ in 0..TRIES {
            match self.attempt(&step).await {
                Ok(()) => return self.correlator.written(&event, &step),
                // The Event is gone (they live for an hour only): a new one.
                Err(error) if matches!(step, Step::Patch { .. }) && error.is_not_found() => {
                    step = self.correlator.create(&event);
                }
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(backoff.next(&mut self.rng)).await;
                }
                // A namespace that is going away refuses events, too: nobody needs them.
                Err(error) => {
                    debug!(reason = %event.reason, error = %ErrorChain(&error), "event refused");
                    return;
                }
            }
        }
        warn!(reason = %event.reason, "event given up: the apiserver does not answer");
    }

    async fn attempt(&self, step: &Step) -> Result<(), ClientError> {
        match step {
            Step::Create { name, document } => {
                self.api.create(&name.namespace, document.as_ref(), &WriteOptions::default()).await?;
            }
            Step::Patch { name, patch } => {
                let NamespacedName { namespace, name } = name;
                let body = (PatchType::Merge, bytes::Bytes::from(patch.to_string()));
                self.api.patch(namespace, name, "", body, &PatchOptions::default()).await?;
            }
        }
        Ok(())
    }
}

/// Events that are shared between the places that record them.
pub type SharedRecorder = Arc<EventRecorder>;
