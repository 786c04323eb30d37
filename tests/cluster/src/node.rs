//! A node without containers: what the other daemons see of a kubelet, and nothing behind it.
//!
//! Pods that are bound to it come to Running and Ready at once, with addresses of its own, and go when they are
//! deleted. An image whose name begins with `unready` runs and never becomes ready; one that begins with `missing`
//! is never found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::gvk::NamespacedName;
use api::time::{MicroTime, Time};
use client::{Client, ClientError, DeleteOptions, Informer, PatchType, Store, WorkQueue, run_controller};
use component::{SharedClock, Shutdown, spawn};
use serde_json::{Value, json};

use crate::objects::{Lease, Node, Pod};

/// Where the Leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// How often a kubelet renews its Lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Pods that are worked on at the same time.
const WORKERS: usize = 4;

/// A node of a [`TestCluster`](crate::TestCluster).
pub struct FakeNode {
    /// Its name.
    pub name: String,
    life: Life,
    shutdown: Shutdown,
}

#[derive(Clone)]
struct Life {
    name: String,
    index: u32,
    client: Client,
    clock: SharedClock,
    addresses: Arc<AtomicU32>,
}

impl FakeNode {
    /// Registers a node of so much CPU and starts to run its pods. `index` makes its addresses its own.
    pub async fn start(client: &Client, name: &str, index: u32, cpu: &str, clock: SharedClock) -> Self {
        let life = Life {
            name: name.to_owned(),
            index,
            client: client.clone(),
            clock,
            addresses: Arc::new(AtomicU32::new(2)),
        };
        life.register(cpu).await.expect("register a node");
        let node = Self { name: name.to_owned(), life, shutdown: Shutdown::new() };
        node.live().await;
        node
    }

    /// Renews the Lease now.
    pub async fn renew(&self) {
        self.life.renew().await.expect("renew a lease");
    }

    /// Stops to renew the Lease and to run pods, as a machine without power does.
    pub async fn silence(&mut self) {
        self.shutdown.trigger();
        assert!(self.shutdown.drain(Duration::from_secs(10)).await, "a node's tasks do not end");
    }

    /// Goes on after a silence.
    pub async fn wake(&mut self) {
        self.shutdown = Shutdown::new();
        self.renew().await;
        self.life.report_ready().await.expect("report as ready");
        self.live().await;
    }

    async fn live(&self) {
        let (life, stop) = (self.life.clone(), self.shutdown.clone());
        spawn(&self.shutdown, "renew", async move {
            let mut ticks = tokio::time::interval(RENEW_EVERY);
            loop {
                tokio::select! {
                    () = stop.triggered() => return,
                    _ = ticks.tick() => {}
                }
                if let Err(error) = life.renew().await {
                    // The apiserver may be away for a moment, as a real node would see it.
                    tracing::info!(%error, "lease not renewed");
                }
            }
        });
        let queue = WorkQueue::<NamespacedName>::new();
        let woken = queue.clone();
        let pods = Informer::<Pod>::new()
            .fields(format!("spec.nodeName={}", self.name))
            .on_change(move |_, new| {
                if let Some(pod) = new {
                    woken.add(pod.metadata.namespaced_name());
                }
            })
            .spawn(&self.life.client.api(), &self.shutdown);
        pods.wait_synced().await;
        let life = self.life.clone();
        let sync = move |key: NamespacedName| {
            let (life, pods) = (life.clone(), pods.clone());
            async move { life.sync_pod(&pods, &key).await }
        };
        run_controller("fake-node", &queue, WORKERS, sync, &self.shutdown);
    }
}

impl Life {
    async fn register(&self, cpu: &str) -> Result<(), ClientError> {
        let nodes = self.client.api::<Node>();
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {"kubernetes.io/hostname": self.name},
                "annotations": {"coxswain.io/node-local-volumes": "/nowhere/volumes"},
            },
        });
        match nodes.create("", &node).await {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        let amounts = json!({"cpu": cpu, "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let status = json!({"status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "Hostname", "address": self.name}],
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1", "osImage": "none",
                "containerRuntimeVersion": "fake://1", "kubeletVersion": "v1.36.0", "kubeProxyVersion": "",
                "operatingSystem": "linux", "architecture": "amd64",
            },
        }});
        nodes.patch_status("", &self.name, PatchType::Merge, &status).await?;
        self.renew().await?;
        self.report_ready().await
    }

    async fn report_ready(&self) -> Result<(), ClientError> {
        let now = Time(self.clock.now());
        let ready = json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }]}});
        self.client.api::<Node>().patch_status("", &self.name, PatchType::Strategic, &ready).await.map(drop)
    }

    async fn renew(&self) -> Result<(), ClientError> {
        let leases = self.client.api::<Lease>();
        let spec = json!({
            "holderIdentity": self.name,
            "leaseDurationSeconds": 40,
            "renewTime": MicroTime(self.clock.now()),
        });
        let renewed = leases.patch(LEASES, &self.name, PatchType::Merge, &json!({"spec": spec})).await;
        match renewed {
            Err(error) if error.is_not_found() => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": LEASES},
                    "spec": spec,
                });
                leases.create(LEASES, &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn sync_pod(
        &self,
        pods: &Store<Pod>,
        key: &NamespacedName,
    ) -> Result<Option<Duration>, ClientError> {
        let Some(pod) = pods.get(key) else { return Ok(None) };
        let api = self.client.api::<Pod>();
        let done = if pod.metadata.is_being_deleted() {
            let options = DeleteOptions {
                grace_period_seconds: Some(0),
                uid: pod.metadata.uid.clone(),
                ..DeleteOptions::default()
            };
            api.delete(&key.namespace, &key.name, &options).await.map(drop)
        } else if pod.status.phase == "Pending" && pod.status.pod_ip.is_empty() {
            let status = self.status(&pod);
            api.patch_status(&key.namespace, &key.name, PatchType::Strategic, &status).await.map(drop)
        } else {
            Ok(())
        };
        match done {
            // Gone, or made anew under the same name: the watch tells.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(None),
            other => other.map(|()| None),
        }
    }

    fn status(&self, pod: &Pod) -> Value {
        let now = Time(self.clock.now());
        let runs = !pod.image().starts_with("missing");
        let ready = runs && !pod.image().starts_with("unready");
        let state = if runs {
            json!({"running": {"startedAt": now}})
        } else {
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
        };
        let containers: Vec<Value> = pod
            .spec
            .containers
            .iter()
            .map(|container| {
                json!({
                    "name": container.name, "image": container.image, "imageID": container.image,
                    "ready": ready, "started": runs, "restartCount": 0, "state": state,
                })
            })
            .collect();
        let condition = |name: &str, is: bool| {
            let status = if is { "True" } else { "False" };
            json!({"type": name, "status": status, "lastTransitionTime": now})
        };
        let count = self.addresses.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.244.{}.{}", self.index + count / 250, count % 250 + 2);
        json!({"metadata": {"uid": pod.metadata.uid}, "status": {
            "phase": if runs { "Running" } else { "Pending" },
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "containerStatuses": containers,
            "conditions": [
                condition("Initialized", true),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
        }})
    }
}
