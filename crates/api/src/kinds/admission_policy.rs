//! Admission policies and their bindings.

use serde_json::{Value, json};

use super::access::{at_mut, fill, list_mut, object_mut};
use super::{COUNTED, Rules};

pub(super) const VALIDATING: Rules = Rules { default, ..COUNTED };
pub(super) const MUTATING: Rules = Rules { default: default_mutating, ..COUNTED };
pub(super) const BINDING: Rules = Rules { default: default_binding, ..COUNTED };

fn default(policy: &mut Value) {
    let Some(spec) = object_mut(policy, "spec") else { return };
    fill(spec, "failurePolicy", "Fail");
    if let Some(resources) = at_mut(spec, "matchConstraints") {
        match_resources(resources);
    }
}

fn default_mutating(policy: &mut Value) {
    default(policy);
    if let Some(spec) = object_mut(policy, "spec") {
        fill(spec, "reinvocationPolicy", "Never");
    }
}

fn default_binding(binding: &mut Value) {
    if let Some(resources) = at_mut(binding, "spec").and_then(|spec| at_mut(spec, "matchResources")) {
        match_resources(resources);
    }
}

fn match_resources(resources: &mut Value) {
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", json!({}));
    fill(resources, "objectSelector", json!({}));
    for name in ["resourceRules", "excludeResourceRules"] {
        for rule in list_mut(resources, name) {
            fill(rule, "scope", "*");
        }
    }
}
