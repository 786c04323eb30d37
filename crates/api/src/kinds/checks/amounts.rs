//! What is wrong with LimitRange and ResourceQuota.

use serde_json::Value;

use super::all_wrong;
use super::resources::{amount, container_name, entries, may_overcommit, name, quota_name};
use crate::field::FieldError;
use crate::kinds::access::{at, has, list, map, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::Root("spec");

fn quantity(owner: &Value, list: &str, name: &str) -> Option<Quantity> {
    Quantity::parse(text(at(owner, list), name)).ok()
}

pub(in crate::kinds) fn limit_range(range: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("limits");
    let mut seen: Vec<&str> = Vec::new();
    for (index, limit) in list(at(range, "spec"), "limits").iter().enumerate() {
        let path = field.index(index);
        let kind = text(limit, "type");
        let wrong = names::qualified(kind);
        if !wrong.is_empty() {
            all_wrong(wrong, kind, path.field("type"), errors);
        } else if !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
            let why = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(path.field("type"), kind, why));
        }
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        seen.push(kind);
        let check = if matches!(kind, "Pod" | "Container") { container_name } else { name };
        for name in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let field = path.field(name);
            let is_default = name.starts_with("default");
            if kind == "Pod" && is_default {
                if map(limit, name).next().is_some() {
                    let why = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(field, why));
                }
                continue;
            }
            map(limit, name).for_each(|(resource, _)| check(resource, &field.key(resource), errors));
        }
        if kind == "PersistentVolumeClaim"
            && !has(at(limit, "min"), "storage")
            && !has(at(limit, "max"), "storage")
        {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(path.field("limits"), why));
        }
        compared(limit, kind == "Pod", &path, errors);
    }
}

/// Amounts that must not be more than others.
fn compared(limit: &Value, is_pod: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    // What is less, what is more, how they are called, and which of them is shown where.
    let pairs = [
        ("min", "max", "min value", "max value", "min", "min"),
        ("min", "defaultRequest", "min value", "default request value", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "max", "default request value", "max value", "defaultRequest", "defaultRequest"),
        (
            "defaultRequest",
            "default",
            "default request value",
            "default limit value",
            "defaultRequest",
            "defaultRequest",
        ),
        ("min", "default", "min value", "default value", "default", "min"),
        ("default", "max", "default value", "max value", "default", "max"),
    ];
    for (low, high, low_word, high_word, place, shown) in pairs {
        if is_pod && (low.starts_with("default") || high.starts_with("default")) {
            continue;
        }
        for (resource, _) in map(limit, low) {
            let (Some(least), Some(most)) = (quantity(limit, low, resource), quantity(limit, high, resource))
            else {
                continue;
            };
            if least > most {
                let value = text(at(limit, shown), resource);
                let why = format!("{low_word} {least} is greater than {high_word} {most}");
                errors.push(FieldError::invalid(path.field(place).key(resource), value, why));
            }
        }
    }
    for (resource, value) in map(limit, "maxLimitRequestRatio") {
        let Some(ratio) = quantity(limit, "maxLimitRequestRatio", resource) else { continue };
        let field = path.field("maxLimitRequestRatio");
        if ratio < Quantity::new(1) {
            let why = format!("ratio {ratio} is less than 1");
            errors.push(FieldError::invalid(field.key(resource), value.clone(), why));
        }
        let (Some(least), Some(most)) = (quantity(limit, "min", resource), quantity(limit, "max", resource))
        else {
            continue;
        };
        let greatest = most.to_f64() / least.to_f64();
        if ratio.to_f64() > greatest {
            let why = format!("ratio {ratio} is greater than max/min = {greatest:.6}");
            errors.push(FieldError::invalid(field.key(resource), value.clone(), why));
        }
    }
    for (resource, value) in map(limit, "defaultRequest").filter(|(resource, _)| !may_overcommit(resource)) {
        let (usual, asked) =
            (quantity(limit, "default", resource), quantity(limit, "defaultRequest", resource));
        if let (Some(usual), Some(asked)) = (usual, asked)
            && usual != asked
        {
            let why =
                format!("default value {usual} must equal to defaultRequest value {asked} in {resource}");
            errors.push(FieldError::invalid(path.field("defaultRequest").key(resource), value.clone(), why));
        }
    }
}

fn bounds(owner: &Value, list: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field(list);
    for (resource, value) in entries(owner, list) {
        let path = field.key(resource);
        quota_name(resource, &path, errors);
        amount(resource, &value, &path, errors);
    }
}

pub(in crate::kinds) fn resource_quota(quota: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(quota, "spec");
    bounds(spec, "hard", &SPEC, errors);
    let scopes = list(spec, "scopes");
    let field = SPEC.field("scopes");
    for scope in scopes.iter().filter_map(Value::as_str) {
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(field, scopes.to_vec(), "unsupported scope"));
        }
        for (resource, _) in map(spec, "hard").filter(|(resource, _)| !fits(scope, resource)) {
            let _ = resource;
            let why = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(field, scopes.to_vec(), why));
        }
    }
    let names: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    conflicts(&names, scopes, &field, errors);
    let selector = at(spec, "scopeSelector");
    if selector.is_null() {
        return;
    }
    let path = SPEC.field("scopeSelector");
    let field = path.field("matchExpressions");
    let expressions = list(selector, "matchExpressions");
    for expression in expressions {
        scope_expression(expression, spec, &field, errors);
    }
    let names: Vec<&str> = expressions.iter().map(|expression| text(expression, "scopeName")).collect();
    conflicts(&names, scopes, &field, errors);
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope says anything about a resource.
fn fits(scope: &str, resource: &str) -> bool {
    let is_of_pods = matches!(
        resource,
        "cpu"
            | "memory"
            | "ephemeral-storage"
            | "requests.cpu"
            | "requests.memory"
            | "requests.ephemeral-storage"
            | "limits.cpu"
            | "limits.memory"
            | "limits.ephemeral-storage"
    );
    let is_standard = !resource.contains('/') && !resource.contains("hugepages-");
    match scope {
        _ if !is_standard => true,
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => is_of_pods || resource == "pods",
        _ => true,
    }
}

fn conflicts(names: &[&str], shown: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if names.contains(&one) && names.contains(&other) {
            let shown = if shown.is_empty() { Value::Null } else { shown.to_vec().into() };
            errors.push(FieldError::invalid(path, shown, "conflicting scopes"));
        }
    }
}

fn scope_expression(expression: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
    let values = list(expression, "values");
    if !SCOPES.contains(&scope) {
        errors.push(FieldError::invalid(path.field("scopeName"), scope, "unsupported scope"));
    }
    if map(spec, "hard").any(|(resource, _)| !fits(scope, resource)) {
        let shown = at(spec, "scopeSelector").clone();
        errors.push(FieldError::invalid(path, shown, "unsupported scope applied to resource"));
    }
    let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
        errors.push(FieldError::invalid(path.field("operator"), operator, EXISTS_ONLY));
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(path.field("values"), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(path.field("values"), values.to_vec(), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            errors.push(FieldError::invalid(path.field("operator"), other, "not a valid selector operator"));
        }
    }
}

pub(in crate::kinds) fn resource_quota_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let scopes = |quota| {
        let mut scopes: Vec<String> =
            list(at(quota, "spec"), "scopes").iter().map(ToString::to_string).collect();
        scopes.sort();
        scopes
    };
    if scopes(new) != scopes(old) {
        errors.push(FieldError::immutable(SPEC.field("scopes"), at(at(new, "spec"), "scopes")));
    }
}

pub(in crate::kinds) fn resource_quota_status(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    for name in ["hard", "used"] {
        bounds(at(new, "status"), name, &Path::Root("status"), errors);
    }
}
