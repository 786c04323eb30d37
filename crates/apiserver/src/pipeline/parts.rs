//! What stays as it was when a part of an object is written through a subresource of its own.

use serde_json::Value;

use super::metadata;

/// Everything but the finalizers in the spec of a namespace.
pub(super) fn keep_all_but_finalizers(new: &mut Value, old: &Value) {
    let finalizers = new["spec"]["finalizers"].take();
    keep_all(new, old);
    match finalizers {
        Value::Array(list) if !list.is_empty() => new["spec"]["finalizers"] = Value::Array(list),
        _ => {
            if let Some(spec) = new["spec"].as_object_mut() {
                spec.shift_remove("finalizers");
            }
        }
    }
}

/// Everything but the ephemeral containers of a pod.
pub(super) fn keep_all_but_ephemeral_containers(new: &mut Value, old: &Value) {
    let containers = new["spec"]["ephemeralContainers"].take();
    keep_all(new, old);
    if containers.is_array() {
        new["spec"]["ephemeralContainers"] = containers;
    }
    count(new, old);
}

/// Everything but the resources of a pod's containers.
pub(super) fn keep_all_but_resources(new: &mut Value, old: &Value) {
    let spec = new["spec"].take();
    keep_all(new, old);
    for list in ["containers", "initContainers"] {
        let wanted = spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
        for container in new["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(wanted) = wanted.iter().find(|wanted| wanted["name"] == container["name"]) {
                container["resources"] = wanted["resources"].clone();
            }
        }
    }
    count(new, old);
}

fn keep_all(new: &mut Value, old: &Value) {
    *new = old.clone();
    metadata::of(new).shift_remove("resourceVersion");
}

/// A change of the spec is a change of what is desired.
fn count(new: &mut Value, old: &Value) {
    if new["spec"] != old["spec"]
        && let Some(generation) = old["metadata"]["generation"].as_i64()
    {
        metadata::of(new).insert("generation".to_owned(), generation.saturating_add(1).into());
    }
}
