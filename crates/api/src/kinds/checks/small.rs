//! What is wrong with kinds of a few rules: disruption budgets, roles, leases.

use serde_json::{Value, json};

use super::workload::{count_of_pods, label_selector, not_beyond_all};
use super::{not_negative, one_of};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;

const SPEC: Path<'static> = Path::Root("spec");

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
        not_beyond_all(at(spec, name), &SPEC.field(name), errors);
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
            let urls = at(rule, "nonResourceURLs");
            if text(role, "kind") == "Role" {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(path.field("nonResourceURLs"), urls.clone(), why));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|name| !list(rule, name).is_empty()) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(path.field("nonResourceURLs"), urls.clone(), why));
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
    let strategy = text(spec, "strategy");
    let field = SPEC.field("strategy");
    if has(spec, "strategy") && !strategy.contains('/') && strategy != "OldestEmulationVersion" {
        errors.push(FieldError::not_supported(
            field.field("strategy"),
            strategy,
            &["OldestEmulationVersion"],
        ));
    }
    if !text(spec, "preferredHolder").is_empty() && strategy.is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden(SPEC.field("preferredHolder"), why));
    }
}
