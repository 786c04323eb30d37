//! DefaultStorageClass: a claim that names no class gets the one that is marked as the default.

use serde_json::Value;

use super::{Request, default_class};

const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) fn fill_in(request: &Request<'_>, claim: &mut Value) {
    let named = claim["spec"].get("storageClassName").is_some_and(|name| !name.is_null())
        || claim["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some();
    if request.subresource.is_some() || named || !claim["spec"].is_object() {
        return;
    }
    if let Some(class) = default_class(request, "storageclasses.storage.k8s.io", &MARKS) {
        claim["spec"]["storageClassName"] = class.into();
    }
}
