//! The node's own objects: its registration, its status, its Lease.
//!
//! The status is written when it changes and every five minutes, the Lease every ten seconds: the control plane takes
//! a node for lost when its Lease is not renewed for 40 s. [`conditions`] and [`facts`] are pure or read only.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::meta::{Condition, ObjectMeta};
use api::time::{MicroTime, Time};
use client::{Api, Client, ClientError, PatchOptions, PatchType};
use component::{SharedClock, Shutdown, spawn};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::pressure::threshold::Condition as Pressure;
use crate::runtime::{NodeImage, Runtime};
use facts::Facts;

pub mod facts;

/// How often the Lease is renewed, and for how long it holds.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i64 = 40;

/// How often the status is written when nothing changes.
const STATUS_PERIOD: Duration = Duration::from_secs(300);

/// How long the first report waits for the runtime and the network to be known. A kubelet that was started again must
/// not call a node that is well not ready for a moment: its pods would leave their Services.
const SETTLE: Duration = Duration::from_secs(3);

/// After a failed write.
const RETRY: Duration = Duration::from_secs(1);

client::resource!(Node, "", "v1", "nodes", "Node", cluster);

/// The part of `v1.Node` that the kubelet reads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its part of the pod network.
    pub spec: NodeSpec,
    /// What was reported.
    pub status: NodeStatus,
}

/// `v1.NodeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The part of the pod network that the node's pods are in; one for each address family.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<String>,
    /// What keeps pods away.
    pub taints: Vec<Taint>,
}

/// `v1.Taint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Its name.
    pub key: String,
    /// More of its name.
    pub value: String,
    /// As `NoExecute`.
    pub effect: String,
}

/// `v1.NodeStatus`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Ready, MemoryPressure, ...
    pub conditions: Vec<Condition>,
}

/// What the readiness of a node depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why the runtime cannot be used, if it cannot.
    pub runtime: Option<String>,
    /// Why pods get no network, if they do not.
    pub network: Option<String>,
    /// The name and version of the runtime.
    pub version: String,
    /// What the node runs out of.
    pub pressure: BTreeSet<Pressure>,
}

/// Decides the conditions of a node; the time of a transition is kept where nothing changed. Pure.
pub fn conditions(readiness: &Readiness, before: &[Condition], now: Time) -> Vec<Value> {
    let ready = match (&readiness.runtime, &readiness.network) {
        (Some(why), _) => ("False", "KubeletNotReady", why.clone()),
        (None, Some(why)) => {
            let message = format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            );
            ("False", "KubeletNotReady", message)
        }
        (None, None) => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
    };
    let pressed = |condition, low: (&'static str, &str), well: (&'static str, &str)| {
        if readiness.pressure.contains(&condition) {
            ("True", low.0, low.1.to_owned())
        } else {
            ("False", well.0, well.1.to_owned())
        }
    };
    let memory = pressed(
        Pressure::Memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let disk = pressed(
        Pressure::Disk,
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    );
    let pid = pressed(
        Pressure::Pid,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    [
        (Pressure::Memory.name(), memory),
        (Pressure::Disk.name(), disk),
        (Pressure::Pid.name(), pid),
        ("Ready", ready),
    ]
    .into_iter()
    .map(|(kind, (status, reason, message))| {
        let known = before.iter().find(|condition| condition.r#type == kind && condition.status == status);
        let since = known.and_then(|condition| condition.last_transition_time).unwrap_or(now);
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": since,
        })
    })
    .collect()
}

/// Keeps the node's objects up to date.
pub struct Reporter {
    /// The node's name.
    pub name: String,
    /// What it is.
    pub facts: Facts,
    /// The connection.
    pub client: Client,
    /// Where node-local volumes are.
    pub volumes: PathBuf,
    /// The time.
    pub clock: SharedClock,
    /// What its readiness depends on.
    pub readiness: watch::Receiver<Readiness>,
    /// For its images.
    pub runtime: Arc<dyn Runtime>,
}

/// So many images are told of, and so many names of each.
const IMAGES: usize = 50;
const IMAGE_NAMES: usize = 5;

/// The images of a node as its status tells of them: the biggest ones. Pure.
pub fn images(mut all: Vec<NodeImage>) -> Vec<Value> {
    all.retain(|image| !image.names.is_empty());
    all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.names.cmp(&b.names)));
    let image = |image: NodeImage| {
        let names: Vec<String> = image.names.into_iter().take(IMAGE_NAMES).collect();
        json!({"names": names, "sizeBytes": image.size})
    };
    all.into_iter().take(IMAGES).map(image).collect()
}

impl Reporter {
    /// Starts both tasks.
    pub fn start(self, shutdown: &Shutdown) {
        let lease =
            Lease { name: self.name.clone(), client: self.client.clone(), clock: Arc::clone(&self.clock) };
        spawn(shutdown, "node-lease", until(shutdown.clone(), lease.run()));
        spawn(shutdown, "node-status", until(shutdown.clone(), self.run()));
    }

    async fn run(mut self) {
        let mut registered = false;
        loop {
            let reported = if registered { self.report().await } else { self.register().await };
            let wait = match reported {
                Ok(()) if !registered => {
                    registered = true;
                    info!(node = %self.name, "registered node");
                    let is_well = |state: &Readiness| state.runtime.is_none() && state.network.is_none();
                    let _reported_as_it_is =
                        tokio::time::timeout(SETTLE, self.readiness.wait_for(is_well)).await.is_ok();
                    continue;
                }
                Ok(()) => STATUS_PERIOD,
                Err(error) => {
                    // Gone: somebody deleted the node's object while the node lives on.
                    registered &= !error.is_not_found();
                    if !error.is_retryable() {
                        warn!(error = %component::ErrorChain(&error), "cannot report the node");
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.readiness.changed() => if changed.is_err() { return },
            }
        }
    }

    fn api(&self) -> Api<Node> {
        self.client.api()
    }

    /// Makes the node's object, or brings its labels up to date where it is there.
    async fn register(&self) -> Result<(), ClientError> {
        let labels = self.facts.labels(&self.name);
        let annotations = json!({crate::volumes::claim::ANNOTATION: self.volumes});
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": labels, "annotations": annotations},
        });
        match self.api().create("", &node).await {
            Err(error) if error.is_already_exists() => {
                let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
                self.api().patch("", &self.name, PatchType::Merge, &patch).await.map(|_| ())
            }
            created => created.map(|_| ()),
        }
    }

    async fn report(&mut self) -> Result<(), ClientError> {
        let before = self.api().get("", &self.name).await?;
        let readiness = self.readiness.borrow_and_update().clone();
        let mut status = self.facts.status(&readiness.version);
        status["conditions"] =
            conditions(&readiness, &before.status.conditions, Time(self.clock.now())).into();
        if readiness.runtime.is_none()
            && let Ok(all) = self.runtime.images().await
        {
            status["images"] = images(all).into();
        }
        let patch = json!({"status": status});
        self.api().patch_status("", &self.name, PatchType::Strategic, &patch).await.map(|_| ())
    }
}

struct Lease {
    name: String,
    client: Client,
    clock: SharedClock,
}

impl Lease {
    async fn run(self) {
        let mut tick = tokio::time::interval(LEASE_PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            while let Err(error) = self.renew().await {
                if !error.is_retryable() {
                    warn!(error = %component::ErrorChain(&error), "cannot renew the node's lease");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn renew(&self) -> Result<(), ClientError> {
        let spec = json!({
            "holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": MicroTime(self.clock.now()),
        });
        let api =
            self.client.dynamic(client::GroupVersionResource::new("coordination.k8s.io", "v1", "leases"));
        let namespace = "kube-node-lease";
        let patch = json!({"spec": spec}).to_string().into_bytes().into();
        match api.patch(namespace, &self.name, "", (PatchType::Merge, patch), &PatchOptions::default()).await
        {
            Err(error) if error.is_not_found() => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": namespace}, "spec": spec,
                });
                api.create(namespace, &lease, &client::WriteOptions::default()).await.map(|_| ())
            }
            renewed => renewed.map(|_| ()),
        }
    }
}

async fn until(shutdown: Shutdown, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = shutdown.triggered() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(readiness: &Readiness, before: &[Condition], now: &str) -> Value {
        let now = Time(now.parse().expect("a time"));
        conditions(readiness, before, now).pop().expect("Ready comes last")
    }

    #[test]
    fn a_node_without_a_runtime_says_why_and_since_when() {
        let down = Readiness { runtime: Some("container runtime is down: x".into()), ..Readiness::default() };
        let first = ready(&down, &[], "2026-11-23T00:00:00Z");
        assert_eq!(
            (&first["status"], &first["message"]),
            (&json!("False"), &json!("container runtime is down: x"))
        );
        let before: Vec<Condition> = vec![serde_json::from_value(first).expect("a condition")];
        let later = ready(&down, &before, "2026-11-23T00:05:00Z");
        assert_eq!(later["lastTransitionTime"], "2026-11-23T00:00:00Z");
        assert_eq!(later["lastHeartbeatTime"], "2026-11-23T00:05:00Z");
        let up = ready(&Readiness::default(), &before, "2026-11-23T00:06:00Z");
        assert_eq!(
            (&up["status"], &up["lastTransitionTime"]),
            (&json!("True"), &json!("2026-11-23T00:06:00Z"))
        );
    }

    #[test]
    fn a_node_without_a_network_is_not_ready() {
        let readiness = Readiness { network: Some("no pod CIDR yet".into()), ..Readiness::default() };
        let ready = ready(&readiness, &[], "2026-11-23T00:00:00Z");
        assert_eq!(ready["reason"], "KubeletNotReady");
        assert!(ready["message"].as_str().is_some_and(|text| text.ends_with("no pod CIDR yet")));
    }
}
