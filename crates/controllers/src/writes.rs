//! Writes that several controllers make in the same way.

use serde_json::{Value, json};

use api::meta::ObjectMeta;
use client::{Api, ClientError, PatchType, Resource};

use crate::ownership::OwnerChange;

/// Writes owner references: the object must be the one that was seen, unchanged.
pub async fn change_owner<K: Resource>(
    api: &Api<K>,
    namespace: &str,
    change: &OwnerChange,
) -> Result<(), ClientError> {
    let patch = json!({"metadata": {
        "uid": change.uid,
        "resourceVersion": change.resource_version,
        "ownerReferences": change.owner_references,
    }});
    api.patch(namespace, &change.name, PatchType::Merge, &patch).await.map(drop)
}

/// Whether the apiserver still has `owner` and no one has asked to delete it. The cache may lag: asked before an
/// adoption, so that nothing is adopted by an owner that is gone.
pub async fn may_adopt<K: Resource>(api: &Api<K>, owner: &ObjectMeta) -> Result<bool, ClientError> {
    let live = api.get_opt(&owner.namespace, &owner.name).await?;
    Ok(live.is_some_and(|live| live.metadata().uid == owner.uid && !live.metadata().is_being_deleted()))
}

/// Writes a status. Fields that are null in `status` are taken out. The uid guards against an object of the same
/// name made anew.
pub async fn patch_status<K: Resource>(
    api: &Api<K>,
    object: &ObjectMeta,
    status: Value,
) -> Result<(), ClientError> {
    let patch = json!({"metadata": {"uid": object.uid}, "status": status});
    api.patch_status(&object.namespace, &object.name, PatchType::Merge, &patch).await.map(drop)
}

/// A count as Kubernetes writes it: not at all where it is zero.
pub fn count(number: i32) -> Value {
    if number == 0 { Value::Null } else { json!(number) }
}

/// Whether a write failed because the namespace is going away: then there is nothing to do any more.
pub fn namespace_is_terminating(error: &ClientError) -> bool {
    error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}
