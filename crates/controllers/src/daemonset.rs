//! DaemonSets: one pod on each node that fits.
//!
//! Keys are names of DaemonSets; the controller is woken by them, by their pods, and by nodes that come, go, or change
//! what fits them. What to do is decided in [`plan`].

mod plan;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use api::gvk::NamespacedName;
use client::{ClientError, Resource as _, Store, WorkQueue};

use crate::context::{BY_OWNER, Context, ORPHANS};
use crate::expectations::Expectations;
use crate::objects::{ControllerRevision, DaemonSet, Node, Pod};
use crate::ownership::controller_reference;
use crate::pod_writes::{Owner, PodWrites};
use crate::{revisions, writes};
use plan::{Action, Observed};

const WORKERS: usize = 2;

struct Controller {
    context: Context,
    sets: Store<DaemonSet>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    revisions: Store<ControllerRevision>,
    writes: PodWrites,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        sets: context.store(),
        pods: context.store(),
        nodes: context.store(),
        revisions: context.store(),
        writes: PodWrites { context: context.clone(), expectations: Expectations::default() },
    });
    let woken = queue.clone();
    controller.sets.subscribe(move |old, new| {
        if let Some(set) = new.or(old) {
            woken.add(set.metadata.namespaced_name());
        }
    });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.pods.subscribe(move |old, new| {
        if let Some(pod) = new.or(old) {
            waker.writes.expectations.observe(pod, new.is_none());
        }
        for pod in [old, new].into_iter().flatten() {
            if let Some(owner) = pod.metadata.controller().filter(|owner| owner.kind == DaemonSet::KIND) {
                woken.add(NamespacedName::new(&*pod.metadata.namespace, &*owner.name));
            }
        }
    });
    let (woken, sets) = (queue.clone(), controller.sets.clone());
    controller.nodes.subscribe(move |old, new| {
        let same = match (old, new) {
            (Some(old), Some(new)) => {
                old.metadata.labels == new.metadata.labels && old.spec.taints == new.spec.taints
            }
            _ => false,
        };
        if !same {
            sets.list().iter().for_each(|set| woken.add(set.metadata.namespaced_name()));
        }
    });
    context.run("daemonset", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(set) = self.sets.get(key) else { return Ok(None) };
        let mut pods = self.pods.by_index(BY_OWNER, &set.metadata.uid);
        pods.extend(self.pods.by_index(ORPHANS, &key.namespace));
        let now = self.context.now();
        let plan = plan::plan(
            &Observed {
                set: &set,
                pods: &pods,
                nodes: &self.nodes.list(),
                revisions: &self.revisions.by_index(BY_OWNER, &set.metadata.uid),
                unseen: self.writes.expectations.unseen(&set.metadata.uid, now),
                now,
            },
            &mut Context::suffix,
        );
        for action in &plan.actions {
            self.execute(&set, action).await?;
        }
        Ok(plan.requeue_after)
    }

    async fn execute(&self, set: &DaemonSet, action: &Action) -> Result<(), ClientError> {
        let meta = &set.metadata;
        let reference = controller_reference::<DaemonSet>(meta);
        let owner = Owner { meta, reference: &reference };
        let pods = self.context.api::<Pod>();
        match action {
            Action::Adopt(change) => {
                if writes::may_adopt(&self.context.api::<DaemonSet>(), meta).await? {
                    writes::change_owner(&pods, &meta.namespace, change).await?;
                }
                Ok(())
            }
            Action::Release(change) => writes::change_owner(&pods, &meta.namespace, change).await,
            Action::Revise(change) => {
                revisions::apply(&self.context.api::<ControllerRevision>(), &meta.namespace, change).await
            }
            Action::DeletePods(victims) => {
                self.writes.delete(owner, victims).await.map_err(|failed| failed.error)
            }
            Action::CreatePods(new) => self.writes.create(owner, new).await.map_err(|failed| failed.error),
            Action::UpdateStatus(status) => {
                let document = json!({
                    "currentNumberScheduled": status.current_number_scheduled,
                    "numberMisscheduled": status.number_misscheduled,
                    "desiredNumberScheduled": status.desired_number_scheduled,
                    "numberReady": status.number_ready,
                    "observedGeneration": status.observed_generation,
                    "updatedNumberScheduled": writes::count(status.updated_number_scheduled),
                    "numberAvailable": writes::count(status.number_available),
                    "numberUnavailable": writes::count(status.number_unavailable),
                });
                match writes::patch_status(&self.context.api::<DaemonSet>(), meta, document).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => result,
                }
            }
        }
    }
}
