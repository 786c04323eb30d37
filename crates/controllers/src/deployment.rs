//! Deployments: the pods of a template, and how one template gives way to the next.
//!
//! Keys are names of Deployments; the controller is woken by Deployments, by their ReplicaSets, and by the last pod
//! of an old ReplicaSet (for the strategy Recreate). What to do is decided in [`plan`], done in [`execute`].

mod execute;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, Resource as _, Store, WorkQueue};

use crate::context::{BY_OWNER, Context};
use crate::objects::{Deployment, Pod, ReplicaSet};
use plan::Observed;

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    deployments: Store<Deployment>,
    replica_sets: Store<ReplicaSet>,
    pods: Store<Pod>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        deployments: context.store(),
        replica_sets: context.store(),
        pods: context.store(),
    });
    let woken = queue.clone();
    controller.deployments.subscribe(move |old, new| {
        if let Some(deployment) = new.or(old) {
            woken.add(deployment.metadata.namespaced_name());
        }
    });
    let (woken, deployments) = (queue.clone(), controller.deployments.clone());
    controller.replica_sets.subscribe(move |old, new| {
        let before = old.and_then(|set| owner(set));
        let after = new.and_then(|set| owner(set));
        if before != after {
            before.into_iter().for_each(|key| woken.add(key));
        }
        after.into_iter().for_each(|key| woken.add(key));
        if let Some(orphan) = new.filter(|set| set.metadata.controller().is_none()) {
            for deployment in deployments.list_namespace(&orphan.metadata.namespace) {
                if deployment.spec.selector.matches(&orphan.metadata.labels) {
                    woken.add(deployment.metadata.namespaced_name());
                }
            }
        }
    });
    let (woken, replica_sets) = (queue.clone(), controller.replica_sets.clone());
    controller.pods.subscribe(move |old, new| {
        // Only Recreate waits for pods to end or go.
        let ended = new.is_none_or(|new| new.is_terminal() && old.is_none_or(|old| !old.is_terminal()));
        let Some(pod) = new.or(old).filter(|_| ended) else { return };
        let Some(set) = pod.metadata.controller().filter(|owner| owner.kind == ReplicaSet::KIND) else {
            return;
        };
        let key = NamespacedName::new(&*pod.metadata.namespace, &*set.name);
        replica_sets.get(&key).and_then(|set| owner(&set)).into_iter().for_each(|key| woken.add(key));
    });
    context.run("deployment", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

fn owner(set: &ReplicaSet) -> Option<NamespacedName> {
    let owner = set.metadata.controller().filter(|owner| owner.kind == Deployment::KIND)?;
    Some(NamespacedName::new(&*set.metadata.namespace, &*owner.name))
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(None) };
        let replica_sets = self.replica_sets.list_namespace(&key.namespace);
        let pods = if deployment.spec.strategy.r#type == "Recreate" {
            let mine = |set: &&Arc<ReplicaSet>| {
                set.metadata.controller().is_some_and(|owner| owner.uid == deployment.metadata.uid)
            };
            let sets = replica_sets.iter().filter(mine);
            sets.flat_map(|set| self.pods.by_index(BY_OWNER, &set.metadata.uid)).collect()
        } else {
            Vec::new()
        };
        let plan = plan::plan(&Observed {
            deployment: &deployment,
            replica_sets: &replica_sets,
            pods: &pods,
            now: self.context.now(),
        });
        self.execute(&deployment, &plan).await?;
        Ok(plan.requeue_after)
    }
}
