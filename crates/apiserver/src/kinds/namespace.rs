//! Namespace: its content goes before it does, so it is born with the finalizer of the namespace controller.

use api::status::Status;
use serde_json::{Value, json};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Those that a cluster cannot be without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn admit_create(object: &mut Value) {
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    let finalizers = &mut object["spec"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|finalizer| finalizer == "kubernetes")
    {
        list.push("kubernetes".into());
    }
    object["status"] = json!({"phase": "Active"});
}

pub(super) fn admit_update(new: &mut Value, old: &Value) {
    // The finalizers of the spec change through the finalize subresource only.
    if !new["spec"].is_object() {
        new["spec"] = json!({});
    }
    if let Some(spec) = new["spec"].as_object_mut() {
        match old["spec"].get("finalizers") {
            Some(finalizers) => drop(spec.insert("finalizers".to_owned(), finalizers.clone())),
            None => drop(spec.shift_remove("finalizers")),
        }
    }
    label(new);
}

/// Every namespace carries its name as a label, for selectors.
pub(super) fn label(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return;
    }
    let labels = &mut object["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    labels[NAME_LABEL] = name.into();
}

pub(super) fn may_delete(name: &str) -> Result<(), Status> {
    if IMMORTAL.contains(&name) {
        return Err(super::forbidden("namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}
