//! What is wrong with what a PodSpec says about where and as whom it may run.

use serde_json::Value;

use super::workload::label_selector;
use super::{all_wrong, one_of, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

/// Affinity, spread, gates and grace.
pub(super) fn validate(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let affinity = at(spec, "affinity");
    let field = path.field("affinity");
    node_affinity(at(affinity, "nodeAffinity"), &field.field("nodeAffinity"), errors);
    for name in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(at(affinity, name), &field.field(name), errors);
    }
    spread(spec, &path.field("topologySpreadConstraints"), errors);
    let field = path.field("schedulingGates");
    for (index, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let path = field.index(index);
        all_wrong(names::qualified(text(gate, "name")), text(gate, "name"), path.field("name"), errors);
    }
    security(spec, path, errors);
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn weight(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let weight = int(term, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(path.field("weight"), weight, "must be in the range 1-100"));
    }
}

fn node_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if has(affinity, REQUIRED) {
        let field = path.field(REQUIRED);
        let field = field.field("nodeSelectorTerms");
        let terms = list(at(affinity, REQUIRED), "nodeSelectorTerms");
        if terms.is_empty() {
            errors.push(FieldError::required(field, "must have at least one node selector term"));
        }
        for (index, term) in terms.iter().enumerate() {
            node_term(term, &field.index(index), errors);
        }
    }
    let field = path.field(PREFERRED);
    for (index, term) in list(affinity, PREFERRED).iter().enumerate() {
        let path = field.index(index);
        weight(term, &path, errors);
        node_term(at(term, "preference"), &path.field("preference"), errors);
    }
}

fn node_term(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["matchExpressions", "matchFields"] {
        let field = path.field(name);
        for (index, expression) in list(term, name).iter().enumerate() {
            let path = field.index(index);
            let values = list(expression, "values");
            match text(expression, "operator") {
                "In" | "NotIn" if values.is_empty() => {
                    let why = "must be specified when `operator` is 'In' or 'NotIn'";
                    errors.push(FieldError::required(path.field("values"), why));
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.push(FieldError::forbidden(path.field("values"), why));
                }
                "Gt" | "Lt" if values.len() != 1 => {
                    let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    errors.push(FieldError::required(path.field("values"), why));
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                other => {
                    let why = "not a valid selector operator";
                    errors.push(FieldError::invalid(path.field("operator"), other, why));
                }
            }
            let key = text(expression, "key");
            if name == "matchExpressions" {
                all_wrong(names::qualified(key), key, path.field("key"), errors);
            } else if key != "metadata.name" {
                errors.push(FieldError::invalid(path.field("key"), key, "not a valid field selector key"));
            }
        }
    }
}

fn pod_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field(REQUIRED);
    for (index, term) in list(affinity, REQUIRED).iter().enumerate() {
        pod_term(term, &field.index(index), errors);
    }
    let field = path.field(PREFERRED);
    for (index, term) in list(affinity, PREFERRED).iter().enumerate() {
        let path = field.index(index);
        weight(term, &path, errors);
        pod_term(at(term, "podAffinityTerm"), &path.field("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["labelSelector", "namespaceSelector"] {
        if has(term, name) {
            label_selector(at(term, name), &path.field(name), errors);
        }
    }
    let field = path.field("namespaces");
    for namespace in list(term, "namespaces").iter().filter_map(Value::as_str) {
        all_wrong(names::dns_label(namespace), namespace, field, errors);
    }
    topology_key(term, path, errors);
}

fn topology_key(owner: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = text(owner, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
    } else {
        all_wrong(names::qualified(key), key, path.field("topologyKey"), errors);
    }
}

fn spread(spec: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = field.index(index);
        let skew = int(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(FieldError::invalid(path.field("maxSkew"), skew, "must be greater than zero"));
        }
        topology_key(constraint, &path, errors);
        let when = text(constraint, "whenUnsatisfiable");
        if !matches!(when, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(FieldError::not_supported(path.field("whenUnsatisfiable"), when, &supported));
        }
        let key = text(constraint, "topologyKey");
        if seen.contains(&(key, when)) {
            let shown = format!("{{{key}, {when}}}");
            errors.push(FieldError::duplicate(path.field("{topologyKey, whenUnsatisfiable}"), shown));
        }
        seen.push((key, when));
        if let Some(domains) = int(constraint, "minDomains") {
            if domains <= 0 {
                errors.push(FieldError::invalid(
                    path.field("minDomains"),
                    domains,
                    "must be greater than zero",
                ));
            }
            if when == "ScheduleAnyway" {
                let why = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                errors.push(FieldError::invalid(path.field("minDomains"), domains, why));
            }
        }
        if has(constraint, "labelSelector") {
            label_selector(at(constraint, "labelSelector"), &path.field("labelSelector"), errors);
        }
    }
}

/// Users, groups and profiles, of the pod and of its containers.
fn security(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    context(at(spec, "securityContext"), &path.field("securityContext"), errors);
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let field = path.field(kind);
        for (index, container) in list(spec, kind).iter().enumerate() {
            let path = field.index(index);
            let own = at(container, "securityContext");
            let path = path.field("securityContext");
            context(own, &path, errors);
            let is_privileged = at(own, "privileged") == &Value::Bool(true);
            if is_privileged && at(own, "allowPrivilegeEscalation") == &Value::Bool(false) {
                let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
                errors.push(FieldError::invalid(path, own.clone(), why));
            }
        }
    }
}

fn context(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = int(context, name)
            && let Some(why) = names::in_range(id, 0, i64::from(i32::MAX))
        {
            errors.push(FieldError::invalid(path.field(name), id, why));
        }
    }
    one_of(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    for name in ["seccompProfile", "appArmorProfile"] {
        let profile = at(context, name);
        if profile.is_null() {
            continue;
        }
        let path = path.field(name);
        required(profile, "type", &path, errors);
        if !text(profile, "type").is_empty() {
            one_of(profile, "type", &["Localhost", "RuntimeDefault", "Unconfined"], &path, errors);
        }
        if text(profile, "type") == "Localhost" {
            if text(profile, "localhostProfile").is_empty() {
                let why = "must be set when seccomp type is Localhost";
                let why = if name == "seccompProfile" {
                    why
                } else {
                    "must be set when AppArmor type is Localhost"
                };
                errors.push(FieldError::required(path.field("localhostProfile"), why));
            }
        } else if has(profile, "localhostProfile") {
            let why = "can only be set when seccomp type is Localhost";
            let shown = at(profile, "localhostProfile").clone();
            errors.push(FieldError::invalid(path.field("localhostProfile"), shown, why));
        }
    }
}
