//! What is wrong with a HorizontalPodAutoscaler.

use serde_json::Value;

use super::workload::label_selector;
use super::{formed, one_of, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn validate(scaler: &Value, errors: &mut Vec<FieldError>) {
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
    reference(target, &path, errors);
    let version = text(target, "apiVersion");
    let is_core = !version.contains('/');
    if is_core && text(target, "kind") != "ReplicationController" {
        let why = "apiVersion must specify API group";
        errors.push(FieldError::invalid(path.field("apiVersion"), version, why));
    }
    let field = SPEC.field("metrics");
    for (index, metric) in list(spec, "metrics").iter().enumerate() {
        check_metric(metric, &field.index(index), errors);
    }
    let behavior = at(spec, "behavior");
    let path = SPEC.field("behavior");
    for name in ["scaleUp", "scaleDown"] {
        if has(behavior, name) {
            scaling(at(behavior, name), &path.field(name), errors);
        }
    }
}

/// What is scaled, or measured.
fn reference(target: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["kind", "name"] {
        required(target, name, path, errors);
        formed(target, name, names::path_segment, path, errors);
    }
}

/// The kinds of metrics, with the fields that hold them.
const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn check_metric(metric: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(path.field("type"), "must specify a metric source type"));
    }
    let expected = METRICS.iter().find(|(own, _)| *own == kind).map_or("", |(_, field)| *field);
    if expected.is_empty() {
        let supported = METRICS.map(|(kind, _)| kind);
        errors.push(FieldError::not_supported(path.field("type"), kind, &supported));
    } else if !has(metric, expected) {
        let why = "must populate information for the given metric source";
        errors.push(FieldError::required(path.field(expected), why));
    }
    let given: Vec<&str> = ["object", "external", "pods", "resource", "containerResource"]
        .into_iter()
        .filter(|name| has(metric, name))
        .collect();
    for name in &given {
        if *name == expected {
            source(name, at(metric, name), &path.field(name), errors);
        } else if given.len() > 1 || !expected.is_empty() {
            let why = "must populate the given metric source only";
            errors.push(FieldError::forbidden(path.field(name), why));
        }
    }
}

fn source(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let target = at(source, "target");
    let field = path.field("target");
    let by_resource = matches!(kind, "resource" | "containerResource");
    if kind == "object" {
        reference(at(source, "describedObject"), &path.field("describedObject"), errors);
    }
    if kind == "containerResource" && text(source, "container").is_empty() {
        errors.push(FieldError::required(path.field("container"), "must specify a container"));
    }
    if by_resource {
        if text(source, "name").is_empty() {
            errors.push(FieldError::required(path.field("name"), "must specify a resource name"));
        }
    } else {
        let metric = at(source, "metric");
        let path = path.field("metric");
        required(metric, "name", &path, errors);
        formed(metric, "name", names::path_segment, &path, errors);
        if has(metric, "selector") {
            label_selector(at(metric, "selector"), &path.field("selector"), errors);
        }
    }
    metric_target(target, &field, errors);
    let (value, average, share) =
        (has(target, "value"), has(target, "averageValue"), has(target, "averageUtilization"));
    match kind {
        "resource" | "containerResource" => {
            if !average && !share {
                let why = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(field.field("averageUtilization"), why));
            }
            if average && share {
                let why = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(field.field("averageValue"), why));
            }
        }
        "pods" if !average => {
            let why = "must specify a positive target averageValue";
            errors.push(FieldError::required(field.field("averageValue"), why));
        }
        "object" if !value && !average => {
            let why = "must set either a target value or averageValue";
            errors.push(FieldError::required(field.field("averageValue"), why));
        }
        "external" => {
            if !value && !average {
                let why = "must set either a target value for metric or a per-pod target";
                errors.push(FieldError::required(field.field("averageValue"), why));
            }
            if value && average {
                let why = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(field.field("value"), why));
            }
        }
        _ => {}
    }
}

fn metric_target(target: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(path.field("type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(path.field("type"), kind, why));
    }
    for name in ["value", "averageValue"] {
        let amount = text(target, name);
        if Quantity::parse(amount).is_ok_and(|amount| !amount.sign().is_gt()) {
            errors.push(FieldError::invalid(path.field(name), amount, "must be positive"));
        }
    }
    if let Some(share) = int(target, "averageUtilization").filter(|share| *share < 1) {
        errors.push(FieldError::invalid(path.field("averageUtilization"), share, "must be greater than 0"));
    }
}

/// How fast it may scale in one direction.
fn scaling(rules: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const LONGEST_WINDOW: i64 = 3600;
    const LONGEST_PERIOD: i64 = 1800;
    if let Some(seconds) = int(rules, "stabilizationWindowSeconds") {
        let field = path.field("stabilizationWindowSeconds");
        if seconds < 0 {
            let why = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(field, seconds, why));
        }
        if seconds > LONGEST_WINDOW {
            let why = format!("must be less than or equal to {LONGEST_WINDOW}");
            errors.push(FieldError::invalid(field, seconds, why));
        }
    }
    one_of(rules, "selectPolicy", &["Disabled", "Max", "Min"], path, errors);
    if Quantity::parse(text(rules, "tolerance")).is_ok_and(|tolerance| tolerance.sign().is_lt()) {
        let why = "must be greater or equal to 0";
        errors.push(FieldError::invalid(path.field("tolerance"), text(rules, "tolerance"), why));
    }
    let field = path.field("policies");
    if list(rules, "policies").is_empty() {
        errors.push(FieldError::required(field, "must specify at least one Policy"));
    }
    for (index, policy) in list(rules, "policies").iter().enumerate() {
        let path = field.index(index);
        let kind = text(policy, "type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.push(FieldError::not_supported(path.field("type"), kind, &["Percent", "Pods"]));
        }
        for name in ["value", "periodSeconds"] {
            let number = int(policy, name).unwrap_or_default();
            if number <= 0 {
                errors.push(FieldError::invalid(path.field(name), number, "must be greater than zero"));
            }
            if name == "periodSeconds" && number > LONGEST_PERIOD {
                let why = format!("must be less than or equal to {LONGEST_PERIOD}");
                errors.push(FieldError::invalid(path.field(name), number, why));
            }
        }
    }
}
