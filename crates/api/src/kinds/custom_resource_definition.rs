//! CustomResourceDefinition: its own names, and the version that is stored.

use serde_json::{Value, json};

use super::access::{at_mut, fill, flag, list, object_mut, set, text};
use super::path::Path;
use super::{COUNTED, FieldError, Rules, admission_webhook, checks};
use crate::structural::check;

/// Who takes a name of Kubernetes' own groups says where that was agreed upon.
const APPROVED: &str = "api-approved.kubernetes.io";

pub(super) const RULES: Rules = Rules { default, create, update, validate, validate_update, ..COUNTED };

fn default(definition: &mut Value) {
    let Some(spec) = object_mut(definition, "spec") else { return };
    if let Some(names) = object_mut(spec, "names") {
        let kind = text(names, "kind").to_owned();
        fill(names, "singular", kind.to_lowercase());
        if !kind.is_empty() {
            fill(names, "listKind", format!("{kind}List"));
        }
    }
    if let Some(conversion) = object_mut(spec, "conversion") {
        fill(conversion, "strategy", "None");
        if let Some(config) = at_mut(conversion, "webhook").and_then(|hook| at_mut(hook, "clientConfig")) {
            admission_webhook::default_service(config);
        }
    }
}

fn create(definition: &mut Value) {
    let versions = list(super::access::at(definition, "spec"), "versions");
    let stored: Vec<Value> = versions
        .iter()
        .filter(|version| flag(version, "storage"))
        .map(|version| text(version, "name").into())
        .collect();
    let stored = if stored.is_empty() { Value::Null } else { stored.into() };
    set(definition, "status", json!({"storedVersions": stored}));
}

/// A version that was stored once stays in the status until someone has moved all objects.
fn update(new: &mut Value, _: &Value) {
    let versions = list(super::access::at(new, "spec"), "versions");
    let Some(stored) = versions.iter().find(|version| flag(version, "storage")) else { return };
    let name = Value::from(text(stored, "name"));
    let Some(status) = object_mut(new, "status") else { return };
    let mut known = list(status, "storedVersions").to_vec();
    if !known.contains(&name) {
        known.push(name);
        set(status, "storedVersions", known);
    }
}

fn validate(definition: &Value, errors: &mut Vec<FieldError>) {
    checks::cluster::custom_resource_definition(definition, errors);
    let spec = super::access::at(definition, "spec");
    check::versions(spec, errors);
    let group = text(spec, "group");
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group == *own || group.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')));
    let annotations = super::access::at(super::access::at(definition, "metadata"), "annotations");
    if is_protected && text(annotations, APPROVED).is_empty() {
        let metadata = Path::Root("metadata");
        let place = metadata.field("annotations");
        let why = format!(
            "protected groups must have approval annotation \"{APPROVED}\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(place.key(APPROVED), why));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    checks::cluster::definition_update(new, old, errors);
    let versions = list(super::access::at(new, "spec"), "versions");
    let status = Path::Root("status");
    let field = status.field("storedVersions");
    for (index, stored) in list(super::access::at(new, "status"), "storedVersions").iter().enumerate() {
        let name = stored.as_str().unwrap_or_default();
        if !versions.iter().any(|version| text(version, "name") == name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(field.index(index), name, why));
        }
    }
}
