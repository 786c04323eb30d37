//! Keeps claims that pods use, and volumes that are bound, from going: a deletion waits on a finalizer until nothing
//! needs them any more. (The controllers `pvc-protection` and `pv-protection`.)

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::meta::ObjectMeta;
use client::{Api, ClientError, PatchType, Resource, Store, WorkQueue};
use serde_json::json;

use crate::context::Context;
use crate::objects::{PersistentVolume, PersistentVolumeClaim, Pod};

/// The finalizer of a claim.
pub const CLAIM: &str = "kubernetes.io/pvc-protection";
/// The finalizer of a volume.
pub const VOLUME: &str = "kubernetes.io/pv-protection";

struct Claims {
    context: Context,
    claims: Store<PersistentVolumeClaim>,
    pods: Store<Pod>,
}

/// Starts the controller of claims.
pub fn start_claims(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller =
        Arc::new(Claims { context: context.clone(), claims: context.store(), pods: context.store() });
    let woken = queue.clone();
    controller.claims.subscribe(move |_, new| {
        if let Some(claim) = new {
            woken.add(claim.metadata.namespaced_name());
        }
    });
    let (woken, claims) = (queue.clone(), controller.claims.clone());
    controller.pods.subscribe(move |old, new| {
        // Only a pod that goes sets a claim free.
        let (Some(pod), None) = (old, new) else { return };
        for name in pod.claims() {
            let key = NamespacedName::new(&*pod.metadata.namespace, &*name);
            if claims.get(&key).is_some_and(|claim| claim.metadata.is_being_deleted()) {
                woken.add(key);
            }
        }
    });
    context.run("persistentvolumeclaim-protection", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Claims {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(claim) = self.claims.get(key) else { return Ok(None) };
        let is_used = || {
            let pods = self.pods.list_namespace(&key.namespace);
            pods.iter().any(|pod| uses(pod, &key.name))
        };
        let api = self.context.api::<PersistentVolumeClaim>();
        match decide(&claim.metadata, CLAIM, is_used) {
            Some(false) if self.is_used_after_all(key).await? => Ok(None),
            Some(wanted) => put(&api, &claim.metadata, CLAIM, wanted).await.map(|()| None),
            None => Ok(None),
        }
    }

    /// The cache may lag behind a pod that was bound a moment ago.
    async fn is_used_after_all(&self, key: &NamespacedName) -> Result<bool, ClientError> {
        let pods = self.context.api::<Pod>().list(&key.namespace, &client::ListParams::default()).await?;
        Ok(pods.items.iter().any(|pod| uses(pod, &key.name)))
    }
}

/// Whether a pod that has a node mounts the claim. A pod that has run to its end counts until it is gone.
fn uses(pod: &Pod, claim: &str) -> bool {
    !pod.spec.node_name.is_empty() && pod.claims().any(|name| *name == *claim)
}

struct Volumes {
    context: Context,
    volumes: Store<PersistentVolume>,
}

/// Starts the controller of volumes.
pub fn start_volumes(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Volumes { context: context.clone(), volumes: context.store() });
    let woken = queue.clone();
    controller.volumes.subscribe(move |_, new| {
        if let Some(volume) = new {
            woken.add(volume.metadata.namespaced_name());
        }
    });
    context.run("persistentvolume-protection", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move {
            let Some(volume) = controller.volumes.get(&key) else { return Ok(None) };
            let api = controller.context.api::<PersistentVolume>();
            match decide(&volume.metadata, VOLUME, || volume.status.phase == "Bound") {
                Some(wanted) => put(&api, &volume.metadata, VOLUME, wanted).await.map(|()| None),
                None => Ok(None),
            }
        }
    });
}

/// Whether the finalizer is to be put on (`true`) or taken off. Pure.
fn decide(meta: &ObjectMeta, finalizer: &str, is_used: impl FnOnce() -> bool) -> Option<bool> {
    let has = meta.finalizers.iter().any(|name| name == finalizer);
    match (meta.is_being_deleted(), has) {
        (false, false) => Some(true),
        (true, true) if !is_used() => Some(false),
        (true | false, _) => None,
    }
}

async fn put<K: Resource>(
    api: &Api<K>,
    meta: &ObjectMeta,
    finalizer: &str,
    wanted: bool,
) -> Result<(), ClientError> {
    let mut finalizers: Vec<&str> =
        meta.finalizers.iter().map(String::as_str).filter(|name| *name != finalizer).collect();
    if wanted {
        finalizers.push(finalizer);
    }
    let patch = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers,
    }});
    match api.patch(&meta.namespace, &meta.name, PatchType::Merge, &patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_comes_first_and_goes_when_nothing_needs_the_object() {
        let mut meta = ObjectMeta::default();
        assert_eq!(decide(&meta, CLAIM, || true), Some(true));
        meta.finalizers.push(CLAIM.to_owned());
        assert_eq!(decide(&meta, CLAIM, || false), None);
        meta.deletion_timestamp = Some(api::time::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(decide(&meta, CLAIM, || true), None);
        assert_eq!(decide(&meta, CLAIM, || false), Some(false));
        meta.finalizers.clear();
        assert_eq!(decide(&meta, CLAIM, || false), None, "what is going gets no new finalizer");
    }

    #[test]
    fn a_pod_uses_its_claims_once_it_has_a_node() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "b", "emptyDir": {}},
            ]},
        }))
        .unwrap();
        assert_eq!(pod.claims().collect::<Vec<_>>(), ["data", "web-scratch"]);
        assert!(!uses(&pod, "data"));
        pod.spec.node_name = "n".into();
        assert!(uses(&pod, "data") && uses(&pod, "web-scratch") && !uses(&pod, "b"));
    }
}
