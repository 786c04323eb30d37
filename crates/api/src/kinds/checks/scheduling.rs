//! What is wrong with what a PodSpec says about where it may run.

use serde_json::Value;

use super::workload::{NO_OPERATOR, label_selector, set_operator};
use super::{all_wrong, one_of};
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
    let mut seen: Vec<&str> = Vec::new();
    for (index, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let (path, name) = (field.index(index), text(gate, "name"));
        all_wrong(names::qualified(name), name, path, errors);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(path, name));
        }
        seen.push(name);
    }
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
        node_selector(at(affinity, REQUIRED), &path.field(REQUIRED), errors);
    }
    let field = path.field(PREFERRED);
    for (index, term) in list(affinity, PREFERRED).iter().enumerate() {
        let path = field.index(index);
        weight(term, &path, errors);
        node_term(at(term, "preference"), false, &path.field("preference"), errors);
    }
}

/// Which nodes are meant: those of one of the terms.
pub(super) fn node_selector(selector: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(field, "must have at least one node selector term"));
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(term, true, &field.index(index), errors);
    }
}

fn node_term(term: &Value, is_strict: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("matchExpressions");
    for (index, expression) in list(term, "matchExpressions").iter().enumerate() {
        let path = field.index(index);
        let values = list(expression, "values");
        match text(expression, "operator") {
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(path.field("values"), why));
            }
            "Gt" | "Lt" => {}
            _ => set_operator(expression, &path, errors),
        }
        let key = text(expression, "key");
        all_wrong(names::qualified(key), key, path.field("key"), errors);
        // What is only preferred may be wrong: another node is found.
        let field = path.field("values");
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate().filter(|_| is_strict) {
            all_wrong(names::label_value(value), value, field.index(index), errors);
        }
    }
    let field = path.field("matchFields");
    for (index, expression) in list(term, "matchFields").iter().enumerate() {
        node_field(expression, &field.index(index), errors);
    }
}

fn node_field(expression: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("values");
    let values = list(expression, "values");
    match text(expression, "operator") {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(field, why));
            }
        }
        other => errors.push(FieldError::invalid(path.field("operator"), other, NO_OPERATOR)),
    }
    let key = text(expression, "key");
    if key == "metadata.name" {
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
            all_wrong(names::dns_subdomain(value), value, field.index(index), errors);
        }
    } else {
        errors.push(FieldError::invalid(path.field("key"), key, "not a valid field selector key"));
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
    for namespace in list(term, "namespaces").iter().filter_map(Value::as_str) {
        all_wrong(names::dns_label(namespace), namespace, path.field("namespace"), errors);
    }
    label_keys(term, path, errors);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
    }
    all_wrong(names::qualified(key), key, path.field("topologyKey"), errors);
}

/// Labels of the pod itself that its neighbours must share, or must not.
fn label_keys(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let selector = at(term, "labelSelector");
    for name in ["matchLabelKeys", "mismatchLabelKeys"] {
        let field = path.field(name);
        let keys = list(term, name);
        if keys.is_empty() {
            continue;
        }
        if selector.is_null() {
            let why = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(field, why));
            continue;
        }
        for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            all_wrong(names::qualified(key), key, field.index(index), errors);
            if name == "matchLabelKeys" && list(term, "mismatchLabelKeys").iter().any(|other| other == key) {
                let why = "exists in both matchLabelKeys and mismatchLabelKeys";
                errors.push(FieldError::invalid(field.index(index), key, why));
            }
        }
    }
}

fn spread(spec: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let constraints = list(spec, "topologySpreadConstraints");
    for (index, constraint) in constraints.iter().enumerate() {
        let path = field.index(index);
        let skew = int(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(FieldError::invalid(path.field("maxSkew"), skew, NOT_POSITIVE));
        }
        let key = text(constraint, "topologyKey");
        if key.is_empty() {
            errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
        }
        let when = text(constraint, "whenUnsatisfiable");
        if !matches!(when, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(FieldError::not_supported(path.field("whenUnsatisfiable"), when, &supported));
        }
        let is_same =
            |other: &Value| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == when;
        if constraints[index + 1..].iter().any(is_same) {
            let shown = format!("{{{key}, {when}}}");
            errors.push(FieldError::duplicate(path.field("{topologyKey, whenUnsatisfiable}"), shown));
        }
        if let Some(domains) = int(constraint, "minDomains") {
            if domains <= 0 {
                errors.push(FieldError::invalid(path.field("minDomains"), domains, NOT_POSITIVE));
            }
            if when != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                errors.push(FieldError::invalid(path.field("minDomains"), domains, why));
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(constraint, name, &["Honor", "Ignore"], &path, errors);
        }
        spread_keys(constraint, &path, errors);
        if has(constraint, "labelSelector") {
            label_selector(at(constraint, "labelSelector"), &path.field("labelSelector"), errors);
        }
    }
}

const NOT_POSITIVE: &str = "must be greater than zero";

fn spread_keys(constraint: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let keys = list(constraint, "matchLabelKeys");
    let field = path.field("matchLabelKeys");
    let selector = at(constraint, "labelSelector");
    if !keys.is_empty() && selector.is_null() {
        errors.push(FieldError::forbidden(field, "must not be specified when labelSelector is not set"));
    }
    for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        all_wrong(names::qualified(key), key, field.index(index), errors);
        let is_selected = at(selector, "matchLabels").get(key).is_some()
            || list(selector, "matchExpressions").iter().any(|expression| text(expression, "key") == key);
        if is_selected {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(field.index(index), key, why));
        }
    }
}
