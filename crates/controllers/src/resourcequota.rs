//! Tells in the status of each ResourceQuota how much of it is used.
//!
//! Nothing is decided by what is told here: admission counts for itself. So the objects of a quota are listed only when
//! something of them has changed, in namespaces that have quotas; kinds that no cache watches are looked at now and
//! then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::quota::{Amounts, Quota, add, usage};
use client::{ClientError, GroupVersionResource, ListParams, Store, WorkQueue};
use serde_json::{Value, json};

use crate::context::{Context, Watched};
use crate::objects::{
    CronJob, DaemonSet, Deployment, Job, PersistentVolumeClaim, Pod, ReplicaSet, ReplicationController,
    ResourceQuota, Service, StatefulSet,
};

/// How long changes are gathered before they are counted.
const GATHER: Duration = Duration::from_millis(100);

/// How often kinds are looked at that no cache watches.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The kinds whose changes are seen.
const WATCHED: [&str; 10] = [
    "pods",
    "services",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
];

struct Controller {
    context: Context,
    quotas: Store<ResourceQuota>,
}

/// Starts the controller. Its keys are quotas.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller { context: context.clone(), quotas: context.store() });
    let woken = queue.clone();
    controller.quotas.subscribe(move |_, new| {
        if let Some(quota) = new {
            woken.add(quota.metadata.namespaced_name());
        }
    });
    let wake = Wake { queue: queue.clone(), quotas: controller.quotas.clone() };
    let ended = |pod: &Pod| matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    wake.by::<Pod>(context, move |old, new| ended(old) != ended(new));
    wake.by::<Service>(context, |_, _| true);
    wake.by::<PersistentVolumeClaim>(context, |_, _| true);
    wake.by::<ReplicationController>(context, |_, _| false);
    wake.by::<Deployment>(context, |_, _| false);
    wake.by::<ReplicaSet>(context, |_, _| false);
    wake.by::<StatefulSet>(context, |_, _| false);
    wake.by::<DaemonSet>(context, |_, _| false);
    wake.by::<Job>(context, |_, _| false);
    wake.by::<CronJob>(context, |_, _| false);
    context.run("resourcequota", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

/// Has the quotas of a namespace looked at when an object of it comes, goes or changes.
struct Wake {
    queue: WorkQueue<NamespacedName>,
    quotas: Store<ResourceQuota>,
}

impl Wake {
    fn by<K: Watched>(&self, context: &Context, matters: impl Fn(&K, &K) -> bool + Send + Sync + 'static) {
        let (queue, quotas) = (self.queue.clone(), self.quotas.clone());
        context.store::<K>().subscribe(move |old, new| {
            let object = match (old, new) {
                (Some(old), Some(new)) if matters(old, new) => new,
                (Some(_), Some(_)) | (None, None) => return,
                (Some(one), None) | (None, Some(one)) => one,
            };
            for quota in quotas.list_namespace(&object.metadata().namespace) {
                queue.add_after(quota.metadata.namespaced_name(), GATHER);
            }
        });
    }
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(stored) = self.quotas.get(key) else { return Ok(None) };
        let quota = Quota::read(&json!({"metadata": {"name": key.name}, "spec": stored.spec.value()}));
        let mut objects = Vec::new();
        for bucket in quota.buckets() {
            let Some(resource) = resource(bucket) else { continue };
            let api = self.context.client.dynamic(resource);
            for object in api.list(&key.namespace, &ListParams::default()).await?.items {
                objects.push((bucket, object.decode::<Value>()?));
            }
        }
        if let Some(status) = plan(&quota, &stored, &objects) {
            let metadata = &stored.metadata;
            let document = json!({
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {
                    "name": key.name,
                    "namespace": key.namespace,
                    "uid": metadata.uid,
                    "resourceVersion": metadata.resource_version,
                },
                "spec": stored.spec,
                "status": status,
            });
            let api = self.context.api::<ResourceQuota>();
            match api.update_status(&key.namespace, &key.name, &document).await {
                // What is in the cache is behind, or it is gone: the change that comes wakes this again.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                result => result.map(drop)?,
            }
        }
        let seen: BTreeSet<&str> = WATCHED.into_iter().collect();
        Ok((!quota.buckets().is_subset(&seen)).then_some(LOOK_AGAIN))
    }
}

/// The resource whose objects are in a bucket, as they are stored.
fn resource(bucket: &str) -> Option<GroupVersionResource> {
    let all = api::registry::registry().all();
    let def = all.iter().find(|def| *def.bucket == *bucket && def.is_stored())?;
    Some(GroupVersionResource::new(&*def.group, &*def.version, &*def.plural))
}

/// The status that a quota shall have; nothing where it has it. Pure.
fn plan(quota: &Quota, stored: &ResourceQuota, objects: &[(&str, Value)]) -> Option<Value> {
    let mut used: Amounts = quota.nothing();
    for (bucket, object) in objects.iter().filter(|(bucket, object)| quota.counts(bucket, object)) {
        add(&mut used, &quota.bounded(&usage(bucket, object)));
    }
    let status = json!({"hard": quota.hard, "used": used});
    (stored.status.value() != status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::RawJson;

    #[test]
    fn the_status_tells_what_is_used_and_is_written_once() {
        let spec = json!({"hard": {"pods": "10", "requests.cpu": "2", "count/configmaps": "5"}});
        let quota = Quota::read(&json!({"metadata": {"name": "q"}, "spec": spec}));
        let mut stored = ResourceQuota { spec: RawJson::of(&spec), ..ResourceQuota::default() };
        let pod = |phase: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}, "status": {"phase": phase}});
        let objects = [
            ("pods", pod("Running")),
            ("pods", pod("Running")),
            ("pods", pod("Failed")),
            ("configmaps", json!({})),
        ];
        let status = plan(&quota, &stored, &objects).expect("there is none yet");
        assert_eq!(
            status,
            json!({"hard": {"count/configmaps": "5", "pods": "10", "requests.cpu": "2"},
                "used": {"count/configmaps": "1", "pods": "2", "requests.cpu": "1"}})
        );
        stored.status = RawJson::of(&status);
        assert_eq!(plan(&quota, &stored, &objects), None);
        let status = plan(&quota, &stored, &[]).expect("all is gone");
        assert_eq!(status["used"], json!({"count/configmaps": "0", "pods": "0", "requests.cpu": "0"}));
    }
}
