//! PodDisruptionBudgets: how many pods may be evicted now. The apiserver's eviction asks their status.
//!
//! Keys are names of budgets; the controller is woken by them and by the pods that they mean. What the status says is
//! decided in [`plan`].

mod plan;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use api::gvk::NamespacedName;
use client::{ClientError, PatchType, Resource as _, Store, WorkQueue};

use crate::context::Context;
use crate::objects::{Deployment, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController, StatefulSet};
use plan::Observed;

const WORKERS: usize = 2;

struct Controller {
    context: Context,
    budgets: Store<PodDisruptionBudget>,
    pods: Store<Pod>,
    deployments: Store<Deployment>,
    replica_sets: Store<ReplicaSet>,
    replication_controllers: Store<ReplicationController>,
    stateful_sets: Store<StatefulSet>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        budgets: context.store(),
        pods: context.store(),
        deployments: context.store(),
        replica_sets: context.store(),
        replication_controllers: context.store(),
        stateful_sets: context.store(),
    });
    let woken = queue.clone();
    controller.budgets.subscribe(move |old, new| {
        if let Some(budget) = new.or(old) {
            woken.add(budget.metadata.namespaced_name());
        }
    });
    let (woken, budgets) = (queue.clone(), controller.budgets.clone());
    controller.pods.subscribe(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        for budget in budgets.list_namespace(&pod.metadata.namespace) {
            if [old, new].into_iter().flatten().any(|pod| selects(&budget, pod)) {
                woken.add(budget.metadata.namespaced_name());
            }
        }
    });
    context.run("disruption", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    budget.spec.selector.as_ref().is_some_and(|selector| selector.matches(&pod.metadata.labels))
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(budget) = self.budgets.get(key) else { return Ok(None) };
        let mut pods = self.pods.list_namespace(&key.namespace);
        pods.retain(|pod| selects(&budget, pod));
        let scale = self.scale(&key.namespace, &pods);
        let plan = plan::plan(&Observed { budget: &budget, pods: &pods, scale, now: self.context.now() });
        if let Some(status) = plan.status {
            // An eviction counts down in the same status, so nothing may have changed in between.
            let mut disrupted: Map<String, Value> =
                budget.status.disrupted_pods.keys().map(|name| (name.clone(), Value::Null)).collect();
            disrupted.extend(status.disrupted_pods.iter().map(|(name, at)| (name.clone(), json!(at))));
            let meta = &budget.metadata;
            let patch = json!({
                "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                "status": {
                    "observedGeneration": status.observed_generation,
                    "disruptedPods": disrupted,
                    "disruptionsAllowed": status.disruptions_allowed,
                    "currentHealthy": status.current_healthy,
                    "desiredHealthy": status.desired_healthy,
                    "expectedPods": status.expected_pods,
                    "conditions": status.conditions,
                },
            });
            let api = self.context.api::<PodDisruptionBudget>();
            match api.patch_status(&meta.namespace, &meta.name, PatchType::Merge, &patch).await {
                Err(error) if error.is_not_found() => {}
                result => result.map(drop)?,
            }
        }
        Ok(plan.requeue_after)
    }

    /// How many pods the owners of these pods want, all together.
    fn scale(&self, namespace: &str, pods: &[Arc<Pod>]) -> i32 {
        let mut seen = HashSet::new();
        let mut total = 0;
        for owner in pods.iter().filter_map(|pod| pod.metadata.controller()) {
            let key = |name: &str| NamespacedName::new(namespace, name);
            let (uid, replicas) = match owner.kind.as_str() {
                ReplicaSet::KIND => {
                    let Some(set) = self.replica_sets.get(&key(&owner.name)) else { continue };
                    let above = set.metadata.controller().filter(|above| above.kind == Deployment::KIND);
                    match above.and_then(|above| self.deployments.get(&key(&above.name))) {
                        Some(deployment) => {
                            (deployment.metadata.uid.clone(), deployment.spec.replicas.unwrap_or(1))
                        }
                        None => (owner.uid.clone(), set.replicas()),
                    }
                }
                ReplicationController::KIND => {
                    let Some(owner) = self.replication_controllers.get(&key(&owner.name)) else { continue };
                    (owner.metadata.uid.clone(), owner.spec.replicas.unwrap_or(1))
                }
                StatefulSet::KIND => {
                    let Some(set) = self.stateful_sets.get(&key(&owner.name)) else { continue };
                    (set.metadata.uid.clone(), set.spec.replicas.unwrap_or(1))
                }
                _ => continue,
            };
            if seen.insert(uid) {
                total += replicas;
            }
        }
        total
    }
}
