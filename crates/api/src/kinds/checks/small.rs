//! What is wrong with kinds of a few rules: storage claims, autoscalers, disruption budgets, roles.

use serde_json::{Value, json};

use super::workload::{count_of_pods, label_selector};
use super::{formed, not_negative, one_of, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, map, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::Root("spec");
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(in crate::kinds) fn persistent_volume_claim(claim: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(claim, "spec");
    access_modes(spec, errors);
    if has(spec, "selector") {
        label_selector(at(spec, "selector"), &SPEC.field("selector"), errors);
    }
    let path = SPEC.field("resources");
    match text(at(at(spec, "resources"), "requests"), "storage") {
        "" => errors.push(FieldError::required(path.key("storage"), "")),
        size => {
            if Quantity::parse(size).is_ok_and(|size| size.sign() != std::cmp::Ordering::Greater) {
                let path = path.field("requests");
                errors.push(FieldError::invalid(path.key("storage"), size, "must be greater than zero"));
            }
        }
    }
    formed(spec, "storageClassName", names::dns_subdomain, &SPEC, errors);
    one_of(spec, "volumeMode", &["Block", "Filesystem"], &SPEC, errors);
}

fn access_modes(spec: &Value, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(path, "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(path, mode, &ACCESS_MODES));
    }
}

pub(in crate::kinds) fn persistent_volume(volume: &Value, errors: &mut Vec<FieldError>) {
    const OTHER: [&str; 10] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
        "name",
    ];
    let spec = at(volume, "spec");
    access_modes(spec, errors);
    let capacity = SPEC.field("capacity");
    if map(spec, "capacity").next().is_none() {
        errors.push(FieldError::required(capacity, ""));
    }
    if map(spec, "capacity").count() != 1 || !has(at(spec, "capacity"), "storage") {
        errors.push(FieldError::not_supported(capacity, at(spec, "capacity").clone(), &["storage"]));
    }
    let has_source =
        map(volume, "spec").any(|(name, value)| !OTHER.contains(&name.as_str()) && !value.is_null());
    if !has_source {
        errors.push(FieldError::required(SPEC, "must specify a volume type"));
    }
    one_of(spec, "persistentVolumeReclaimPolicy", &["Delete", "Recycle", "Retain"], &SPEC, errors);
}

pub(in crate::kinds) fn autoscaler(scaler: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(scaler, "spec");
    let least = int(spec, "minReplicas").unwrap_or(1);
    let most = int(spec, "maxReplicas").unwrap_or_default();
    if least < 1 {
        let why = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(SPEC.field("minReplicas"), least, why));
    }
    if most < 1 {
        errors.push(FieldError::invalid(SPEC.field("maxReplicas"), most, "must be greater than 0"));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(SPEC.field("maxReplicas"), most, why));
    }
    let (target, path) = (at(spec, "scaleTargetRef"), SPEC.field("scaleTargetRef"));
    required(target, "kind", &path, errors);
    required(target, "name", &path, errors);
    let version = text(target, "apiVersion");
    let is_core = !version.contains('/');
    if is_core && text(target, "kind") != "ReplicationController" {
        errors.push(FieldError::invalid(
            path.field("apiVersion"),
            version,
            "apiVersion must specify API group",
        ));
    }
}

pub(in crate::kinds) fn disruption_budget(budget: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(budget, "spec");
    if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
        // The value is shown as the server's own type writes it.
        let shown = json!({
            "MinAvailable": at(spec, "minAvailable"),
            "Selector": at(spec, "selector"),
            "MaxUnavailable": at(spec, "maxUnavailable"),
            "UnhealthyPodEvictionPolicy": at(spec, "unhealthyPodEvictionPolicy"),
        });
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(SPEC, shown, why));
    }
    for name in ["minAvailable", "maxUnavailable"] {
        count_of_pods(at(spec, name), &SPEC.field(name), errors);
    }
    if has(spec, "selector") {
        label_selector(at(spec, "selector"), &SPEC.field("selector"), errors);
    }
    one_of(spec, "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"], &SPEC, errors);
}

pub(in crate::kinds) fn role(role: &Value, errors: &mut Vec<FieldError>) {
    let field = Path::Root("rules");
    for (index, rule) in list(role, "rules").iter().enumerate() {
        let path = field.index(index);
        if list(rule, "verbs").is_empty() {
            errors.push(FieldError::required(path.field("verbs"), "verbs must contain at least one value"));
        }
        if !list(rule, "nonResourceURLs").is_empty() {
            if !list(rule, "apiGroups").is_empty() || !list(rule, "resources").is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                let urls = at(rule, "nonResourceURLs").clone();
                errors.push(FieldError::invalid(path.field("nonResourceURLs"), urls, why));
            }
            continue;
        }
        if list(rule, "apiGroups").is_empty() {
            let why = "resource rules must supply at least one api group";
            errors.push(FieldError::required(path.field("apiGroups"), why));
        }
        if list(rule, "resources").is_empty() {
            let why = "resource rules must supply at least one resource";
            errors.push(FieldError::required(path.field("resources"), why));
        }
    }
}

pub(in crate::kinds) fn lease(lease: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(lease, "spec");
    if let Some(seconds) = int(spec, "leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(
            SPEC.field("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
    not_negative(spec, "leaseTransitions", &SPEC, errors);
}

/// A claim keeps its spec: it may be bound, and it may grow once it is.
pub(in crate::kinds) fn claim_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let (new_spec, old_spec) = (at(new, "spec"), at(old, "spec"));
    let is_bound = text(at(old, "status"), "phase") == "Bound";
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            for name in ["volumeName", "storageClassName"] {
                if !has(old_spec, name) {
                    fields.shift_remove(name);
                }
            }
            if is_bound {
                fields.shift_remove("resources");
                fields.shift_remove("volumeAttributesClassName");
            }
        }
        spec
    };
    if fixed(new_spec) != fixed(old_spec) {
        errors.push(FieldError::forbidden(SPEC, WHY));
    }
    let size = |spec| Quantity::parse(text(at(at(spec, "resources"), "requests"), "storage")).ok();
    if is_bound
        && let (Some(now), Some(before)) = (size(new_spec), size(old_spec))
        && now < before
    {
        let (resources, why) = (SPEC.field("resources"), "field can not be less than previous value");
        let requests = resources.field("requests");
        errors.push(FieldError::forbidden(requests.field("storage"), why));
    }
}

/// A volume stays what it is.
pub(in crate::kinds) fn volume_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    if at(new, "volumeMode") != at(old, "volumeMode") {
        errors.push(FieldError::immutable(SPEC.field("volumeMode"), at(new, "volumeMode")));
    }
}
