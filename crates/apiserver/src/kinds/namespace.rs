//! Namespace: some may not be deleted, and one with a generated name learns its label late.

use api::status::Status;
use serde_json::{Value, json};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Those that a cluster cannot be without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Every namespace carries its name as a label, for selectors; defaults could not give it to one without a name.
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
