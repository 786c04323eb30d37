//! Namespace: one with a generated name learns its label late.

use serde_json::{Value, json};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

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
