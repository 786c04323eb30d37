//! StatefulSets: pods with names and volumes of their own, made and taken down in order.
//!
//! Keys are names of StatefulSets; the controller is woken by them and by their pods. What to do is decided in
//! [`plan`].

mod plan;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use api::gvk::NamespacedName;
use client::{ClientError, GroupVersionResource, Resource as _, Store, WorkQueue, WriteOptions};

use crate::context::{BY_OWNER, Context, ORPHANS};
use crate::expectations::Expectations;
use crate::objects::{ClaimRetentionPolicy, ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet};
use crate::ownership::controller_reference;
use crate::pod_writes::{Owner, PodWrites};
use crate::{revisions, writes};
use plan::{Action, Observed};

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    sets: Store<StatefulSet>,
    pods: Store<Pod>,
    revisions: Store<ControllerRevision>,
    claims: Store<PersistentVolumeClaim>,
    writes: PodWrites,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        sets: context.store(),
        pods: context.store(),
        revisions: context.store(),
        claims: context.store(),
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
            if let Some(owner) = pod.metadata.controller().filter(|owner| owner.kind == StatefulSet::KIND) {
                woken.add(NamespacedName::new(&*pod.metadata.namespace, &*owner.name));
            }
        }
    });
    let (woken, sets) = (queue.clone(), controller.sets.clone());
    controller.claims.subscribe(move |_, new| {
        let Some(claim) = new else { return };
        for set in sets.list_namespace(&claim.metadata.namespace) {
            let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
            if policy.is_some_and(ClaimRetentionPolicy::deletes) {
                woken.add(set.metadata.namespaced_name());
            }
        }
    });
    context.run("statefulset", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(set) = self.sets.get(key) else { return Ok(None) };
        let mut pods = self.pods.by_index(BY_OWNER, &set.metadata.uid);
        pods.extend(self.pods.by_index(ORPHANS, &key.namespace));
        let claims = if set.spec.volume_claim_templates.is_empty() {
            Vec::new()
        } else {
            self.claims.list_namespace(&key.namespace)
        };
        let now = self.context.now();
        let plan = plan::plan(&Observed {
            set: &set,
            pods: &pods,
            revisions: &self.revisions.by_index(BY_OWNER, &set.metadata.uid),
            claims: &claims,
            unseen: self.writes.expectations.unseen(&set.metadata.uid, now),
            now,
        });
        for action in &plan.actions {
            self.execute(&set, action).await?;
        }
        Ok(plan.requeue_after)
    }

    async fn execute(&self, set: &StatefulSet, action: &Action) -> Result<(), ClientError> {
        let meta = &set.metadata;
        let reference = controller_reference::<StatefulSet>(meta);
        let owner = Owner { meta, reference: &reference };
        let pods = self.context.api::<Pod>();
        match action {
            Action::Adopt(change) => {
                if writes::may_adopt(&self.context.api::<StatefulSet>(), meta).await? {
                    writes::change_owner(&pods, &meta.namespace, change).await?;
                }
                Ok(())
            }
            Action::OwnClaim(change) => {
                let claims = self.context.api::<PersistentVolumeClaim>();
                match writes::change_owner(&claims, &meta.namespace, change).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => result,
                }
            }
            Action::Release(change) => writes::change_owner(&pods, &meta.namespace, change).await,
            Action::Revise(change) => {
                revisions::apply(&self.context.api::<ControllerRevision>(), &meta.namespace, change).await
            }
            Action::DeletePods(victims) => {
                self.writes.delete(owner, victims).await.map_err(|failed| failed.error)
            }
            Action::CreatePods(new) => {
                for claim in new.iter().flat_map(|pod| &pod.claims) {
                    let claims = GroupVersionResource::new("", "v1", "persistentvolumeclaims");
                    let api = self.context.client.dynamic(claims);
                    match api.create(&meta.namespace, claim, &WriteOptions::default()).await {
                        Err(error) if error.is_already_exists() => {}
                        result => result.map(drop)?,
                    }
                }
                let pods: Vec<_> = new.iter().map(|pod| pod.pod.clone()).collect();
                self.writes.create(owner, &pods).await.map_err(|failed| failed.error)
            }
            Action::UpdateStatus(status) => {
                let document = json!({
                    "observedGeneration": status.observed_generation,
                    "replicas": status.replicas,
                    "readyReplicas": writes::count(status.ready_replicas),
                    "currentReplicas": writes::count(status.current_replicas),
                    "updatedReplicas": writes::count(status.updated_replicas),
                    "availableReplicas": status.available_replicas,
                    "currentRevision": status.current_revision,
                    "updateRevision": status.update_revision,
                    "collisionCount": status.collision_count.unwrap_or(0),
                });
                match writes::patch_status(&self.context.api::<StatefulSet>(), meta, document).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => result,
                }
            }
        }
    }
}
