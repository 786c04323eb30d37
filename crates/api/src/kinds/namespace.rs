//! Namespace: carries its name as a label, and a finalizer until its content is gone.

use serde_json::{Value, json};

use super::access::{at, fill, list, object_mut, set, text};
use super::metadata::NameRule;
use super::path::Path;
use super::{PLAIN, Rules, checks, keep};
use crate::field::FieldError;
use crate::names;

pub(super) const RULES: Rules = Rules {
    default,
    create,
    update,
    name: NameRule::Label,
    validate,
    validate_status: checks::status::namespace,
    ..PLAIN
};

/// Lets selectors select by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Removed once the namespace is empty.
const FINALIZER: &str = "kubernetes";

fn default(namespace: &mut Value) {
    if let Some(metadata) = object_mut(namespace, "metadata") {
        let name = text(metadata, "name").to_owned();
        if !name.is_empty()
            && let Some(labels) = object_mut(metadata, "labels")
        {
            set(labels, NAME_LABEL, name);
        }
    }
    if let Some(status) = object_mut(namespace, "status") {
        fill(status, "phase", "Active");
    }
}

fn create(namespace: &mut Value) {
    set(namespace, "status", json!({"phase": "Active"}));
    let Some(spec) = object_mut(namespace, "spec") else { return };
    let mut finalizers = list(spec, "finalizers").to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    set(spec, "finalizers", finalizers);
}

fn update(new: &mut Value, old: &Value) {
    // Finalizers go through a subresource of their own.
    keep(new, old, "spec");
}

fn validate(namespace: &Value, errors: &mut Vec<FieldError>) {
    let spec = Path::Root("spec");
    let path = spec.field("finalizers");
    for name in list(at(namespace, "spec"), "finalizers").iter().filter_map(Value::as_str) {
        errors.extend(names::qualified(name).into_iter().map(|why| FieldError::invalid(path, name, why)));
        if !name.contains('/') && name != FINALIZER {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, name, why));
        }
    }
}
