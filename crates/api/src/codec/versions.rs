//! How the versions of a kind differ: fields that have other names, and defaults that old versions had.

mod event;
mod ingress;
mod scaling;
mod workload;

use serde_json::{Map, Value};

use crate::registry::ResourceDef;

/// From the version of `def` to the stored one; defaults of the old version are filled in here.
pub(super) fn to_storage(def: &ResourceDef, object: &mut Value) {
    match (&*def.group, &*def.version, &*def.kind) {
        ("extensions", "v1beta1", "Deployment") => workload::deployment(object, &workload::EXTENSIONS),
        ("apps", "v1beta1", "Deployment") => workload::deployment(object, &workload::APPS_V1BETA1),
        ("extensions", "v1beta1", "ReplicaSet") => workload::selector_from_template(object),
        ("extensions", "v1beta1", "DaemonSet") => workload::daemon_set(object),
        ("apps", "v1beta1", "StatefulSet") => workload::stateful_set(object),
        ("extensions" | "networking.k8s.io", "v1beta1", "Ingress") => ingress::to_v1(object),
        ("events.k8s.io", "v1", "Event") => event::to_core(object),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => scaling::to_v2(object),
        _ => {}
    }
}

/// From the stored version to the version of `def`.
pub(super) fn from_storage(def: &ResourceDef, object: &mut Value) {
    match (&*def.group, &*def.version, &*def.kind) {
        ("extensions" | "networking.k8s.io", "v1beta1", "Ingress") => ingress::from_v1(object),
        ("events.k8s.io", "v1", "Event") => event::from_core(object),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => scaling::from_v2(object),
        ("extensions", "v1beta1", "DaemonSet") => workload::template_generation(object),
        _ => {}
    }
}

/// Renames a field, where it is there.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.shift_remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// Fills in a field, where it is not there.
fn fill(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), value.into());
    }
}
