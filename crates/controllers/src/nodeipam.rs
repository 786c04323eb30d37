//! Gives each node its share of the pod network (`spec.podCIDR`), never the same to two.
//!
//! One worker only, so that two nodes are never looked at at the same time. What has been given and is not in the
//! cache yet is kept in mind.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, EventType, ObjectReference, PatchType, Store, WorkQueue};
use parking_lot::Mutex;
use serde_json::json;

use crate::config::Cidr;
use crate::context::Context;
use crate::objects::Node;
use plan::Decision;

/// When a node that got nothing is looked at again: a node that leaves gives its share back.
const RETRY: Duration = Duration::from_secs(60);

struct Controller {
    context: Context,
    nodes: Store<Node>,
    /// What has been given to which node (by uid) and does not show in the cache yet.
    given: Mutex<HashMap<String, Cidr>>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller =
        Arc::new(Controller { context: context.clone(), nodes: context.store(), given: Mutex::default() });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.nodes.subscribe(move |old, new| match (old, new) {
        (_, Some(node)) if node.spec.pod_cidr.is_empty() => woken.add(node.metadata.namespaced_name()),
        (_, Some(node)) | (Some(node), None) => {
            waker.given.lock().remove(&node.metadata.uid);
        }
        (None, None) => {}
    });
    context.run("nodeipam", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(node) = self.nodes.get(key) else { return Ok(None) };
        let decision = {
            let given = self.given.lock();
            let taken = self.nodes.list();
            let taken = taken.iter().filter_map(|node| Cidr::parse(&node.spec.pod_cidr));
            let config = &self.context.config;
            plan::plan(
                &node,
                taken.chain(given.values().copied()),
                given.get(&node.metadata.uid).copied(),
                (config.cluster_cidr, config.node_cidr_mask_size),
            )
        };
        match decision {
            Decision::Nothing => Ok(None),
            Decision::Full => {
                let reference = ObjectReference::of(&*node);
                let message = format!("Node {key} status is now: CIDRNotAvailable");
                self.context.events.event(&reference, EventType::Normal, "CIDRNotAvailable", message);
                Ok(Some(RETRY))
            }
            Decision::Give(cidr) => {
                let uid = node.metadata.uid.clone();
                self.given.lock().insert(uid.clone(), cidr);
                let text = cidr.to_string();
                let patch = json!({"metadata": {"uid": uid}, "spec": {"podCIDR": text, "podCIDRs": [text]}});
                let api = self.context.api::<Node>();
                match api.patch("", &key.name, PatchType::Merge, &patch).await {
                    Ok(_) => Ok(None),
                    Err(error) => {
                        // Without an answer it may have been given: it stays in mind, and the same is tried again.
                        if error.status().is_some() {
                            self.given.lock().remove(&uid);
                        }
                        if error.is_not_found() { Ok(None) } else { Err(error) }
                    }
                }
            }
        }
    }
}
