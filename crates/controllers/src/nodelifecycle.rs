//! Nodes that fall silent: their conditions become Unknown, taints keep new pods away and drive old ones out.
//!
//! Keys are names of nodes. A node lives as long as its Lease is renewed. When that was is told by this controller's
//! own clock, at the moment the renewal is seen, so that clocks that differ do no harm. What to do is decided in
//! [`plan`].

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::time::{MicroTime, Time};
use client::{ClientError, DeleteOptions, EventType, ObjectReference, PatchType, Store, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use crate::context::{BY_NODE, Context};
use crate::objects::{Lease, Node, Pod};
use plan::{Action, Observed};

/// Where the Leases of nodes are.
pub const LEASES: &str = "kube-node-lease";
const WORKERS: usize = 4;

/// The last sign of life of a node.
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    renewed: Option<MicroTime>,
    posted: Option<Time>,
    seen_at: Timestamp,
}

struct Controller {
    context: Context,
    nodes: Store<Node>,
    pods: Store<Pod>,
    leases: Store<Lease>,
    heartbeats: Mutex<HashMap<String, Heartbeat>>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        nodes: context.store(),
        pods: context.store(),
        leases: context.store(),
        heartbeats: Mutex::default(),
    });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.leases.subscribe(move |_, new| {
        if let Some(lease) = new.filter(|lease| lease.metadata.namespace == LEASES) {
            let name = &lease.metadata.name;
            // A node that is thought alive stays so; only one that was silent is news.
            if waker.note(name, lease.spec.renew_time, None) {
                woken.add(NamespacedName::cluster(&**name));
            }
        }
    });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.nodes.subscribe(move |old, new| {
        if let Some(node) = new {
            let posted = node.condition("Ready").and_then(|ready| ready.last_heartbeat_time);
            waker.note(&node.metadata.name, None, posted);
        } else if let Some(node) = old {
            waker.heartbeats.lock().remove(&node.metadata.name);
        }
        if let Some(node) = new.or(old) {
            woken.add(node.metadata.namespaced_name());
        }
    });
    let (woken, nodes) = (queue.clone(), controller.nodes.clone());
    controller.pods.subscribe(move |old, new| {
        // A pod that has come to a node, or has changed what it tolerates, may have to go.
        let Some(pod) = new.filter(|pod| !pod.spec.node_name.is_empty()) else { return };
        if old.is_some_and(|old| old.spec == pod.spec) {
            return;
        }
        let key = NamespacedName::cluster(&*pod.spec.node_name);
        if nodes.get(&key).is_some_and(|node| !node.spec.taints.is_empty()) {
            woken.add(key);
        }
    });
    context.run("nodelifecycle", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    /// Notes a sign of life; says whether the node had been silent for too long before.
    fn note(&self, node: &str, renewed: Option<MicroTime>, posted: Option<Time>) -> bool {
        let now = self.context.now();
        let mut heartbeats = self.heartbeats.lock();
        let Some(last) = heartbeats.get_mut(node) else {
            heartbeats.insert(node.to_owned(), Heartbeat { renewed, posted, seen_at: now });
            return true;
        };
        let is_news =
            (renewed.is_some() && renewed != last.renewed) || (posted.is_some() && posted != last.posted);
        if !is_news {
            return false;
        }
        let was_silent = now.duration_since(last.seen_at).unsigned_abs() >= plan::GRACE;
        last.renewed = renewed.or(last.renewed);
        last.posted = posted.or(last.posted);
        last.seen_at = now;
        was_silent
    }

    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(node) = self.nodes.get(key) else { return Ok(None) };
        let now = self.context.now();
        let seen_at = self.heartbeats.lock().get(&key.name).map_or(now, |last| last.seen_at);
        let has_lease = self.leases.get(&NamespacedName::new(LEASES, &*key.name)).is_some();
        let pods = self.pods.by_index(BY_NODE, &key.name);
        let plan = plan::plan(&Observed { node: &node, seen_at, has_lease, pods: &pods, now });
        for action in plan.actions {
            self.execute(&node, action).await?;
        }
        Ok(plan.requeue_after)
    }

    async fn execute(&self, node: &Node, action: Action) -> Result<(), ClientError> {
        let nodes = self.context.api::<Node>();
        let pods = self.context.api::<Pod>();
        let result = match action {
            Action::SetTaints(taints) => {
                let patch = json!({
                    "metadata": {"resourceVersion": node.metadata.resource_version},
                    "spec": {"taints": taints},
                });
                nodes.patch("", &node.metadata.name, PatchType::Merge, &patch).await.map(drop)
            }
            Action::SetConditions(conditions) => {
                let patch =
                    json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
                let name = &node.metadata.name;
                nodes.patch_status("", name, PatchType::Strategic, &patch).await?;
                let message = format!("Node {name} status is now: NodeNotReady");
                self.context.events.event(
                    &ObjectReference::of(node),
                    EventType::Normal,
                    "NodeNotReady",
                    message,
                );
                Ok(())
            }
            Action::MarkNotReady { pod, condition } => {
                let patch =
                    json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
                let meta = &pod.metadata;
                pods.patch_status(&meta.namespace, &meta.name, PatchType::Strategic, &patch).await.map(drop)
            }
            Action::Evict { pod } => {
                let meta = &pod.metadata;
                let message = format!("Marking for deletion Pod {}", meta.namespaced_name());
                let reference = ObjectReference::of(&*pod);
                self.context.events.event(&reference, EventType::Normal, "TaintManagerEviction", message);
                pods.delete(&meta.namespace, &meta.name, &DeleteOptions::uid(&*meta.uid)).await.map(drop)
            }
        };
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}
