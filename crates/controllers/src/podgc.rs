//! Takes away pods that no kubelet will take away: those of nodes that are gone, those that were deleted before they
//! had a node, and the oldest of very many that have run to their end.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, DeleteOptions, Store, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::objects::{Node, Pod};
use crate::writes;
use plan::{Action, Observed, Why};

struct Controller {
    context: Context,
    nodes: Store<Node>,
    pods: Store<Pod>,
    /// Since when a node that pods name has been missing.
    missing_since: Mutex<HashMap<String, Timestamp>>,
}

/// Starts the controller. Its queue knows one key: all pods are looked at together.
pub fn start(context: &Context) {
    let queue = WorkQueue::<&'static str>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        nodes: context.store(),
        pods: context.store(),
        missing_since: Mutex::default(),
    });
    const ALL: &str = "pods";
    let woken = queue.clone();
    controller.nodes.subscribe(move |_, new| {
        if new.is_none() {
            woken.add(ALL);
        }
    });
    let woken = queue.clone();
    controller.pods.subscribe(move |old, new| {
        let Some(pod) = new else { return };
        let ended = pod.is_terminal() && old.is_none_or(|old| !old.is_terminal());
        let stuck = pod.metadata.is_being_deleted() && pod.spec.node_name.is_empty();
        let placed = !pod.spec.node_name.is_empty() && old.is_none_or(|old| old.spec.node_name.is_empty());
        if ended || stuck {
            woken.add(ALL);
        } else if placed {
            // Its node may be gone already; that is looked at in bulk.
            woken.add_after(ALL, plan::QUARANTINE);
        }
    });
    queue.add(ALL);
    context.run("podgc", queue, 1, move |_| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile().await }
    });
}

impl Controller {
    async fn reconcile(&self) -> Result<Option<Duration>, ClientError> {
        let pods = self.pods.list();
        let plan = {
            let has_node = |name: &str| self.nodes.get(&NamespacedName::cluster(name)).is_some();
            let mut missing_since = self.missing_since.lock();
            plan::plan(
                &Observed { pods: &pods, has_node: &has_node, now: self.context.now() },
                &mut missing_since,
            )
        };
        let mut gone: HashMap<String, bool> = HashMap::new();
        for action in &plan.actions {
            if let Why::NodeIsGone = action.why {
                let node = &action.pod.spec.node_name;
                let is_gone = match gone.get(node) {
                    Some(is_gone) => *is_gone,
                    None => self.context.api::<Node>().get_opt("", node).await?.is_none(),
                };
                gone.insert(node.clone(), is_gone);
                if !is_gone {
                    continue;
                }
            }
            self.delete(action).await?;
        }
        Ok(plan.requeue_after)
    }

    async fn delete(&self, action: &Action) -> Result<(), ClientError> {
        let pod = &action.pod;
        let api = self.context.api::<Pod>();
        if let (Why::NodeIsGone, false) = (action.why, pod.is_terminal()) {
            let status = json!({
                "phase": "Failed",
                "reason": "NodeLost",
                "message": "PodGC: node no longer exists",
            });
            match writes::patch_status(&api, &pod.metadata, status).await {
                Err(error) if error.is_not_found() => return Ok(()),
                result => result?,
            }
        }
        let options =
            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::uid(&*pod.metadata.uid) };
        match api.delete(&pod.metadata.namespace, &pod.metadata.name, &options).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }
}
