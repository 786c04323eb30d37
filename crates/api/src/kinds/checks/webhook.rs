//! What is wrong with a webhook configuration.

use serde_json::Value;

use super::workload::label_selector;
use super::{all_wrong, one_of};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

pub(in crate::kinds) fn validate(configuration: &Value, errors: &mut Vec<FieldError>) {
    let field = Path::Root("webhooks");
    let mut seen: Vec<&str> = Vec::new();
    for (index, webhook) in list(configuration, "webhooks").iter().enumerate() {
        let path = field.index(index);
        let name = text(webhook, "name");
        if name.split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(path.field("name"), name, why));
        } else {
            all_wrong(names::dns_subdomain(name), name, path.field("name"), errors);
        }
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        seen.push(name);
        if list(webhook, "admissionReviewVersions").is_empty() {
            let why = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(path.field("admissionReviewVersions"), why));
        }
        one_of(webhook, "failurePolicy", &["Fail", "Ignore"], &path, errors);
        one_of(webhook, "matchPolicy", &["Equivalent", "Exact"], &path, errors);
        if has(webhook, "sideEffects") {
            one_of(webhook, "sideEffects", &["None", "NoneOnDryRun"], &path, errors);
        } else {
            let why = "must specify one of None, NoneOnDryRun";
            errors.push(FieldError::required(path.field("sideEffects"), why));
        }
        if let Some(seconds) = int(webhook, "timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(path.field("timeoutSeconds"), seconds, why));
        }
        for name in ["namespaceSelector", "objectSelector"] {
            label_selector(at(webhook, name), &path.field(name), errors);
        }
        let config = at(webhook, "clientConfig");
        if has(config, "url") == has(config, "service") {
            let why = "exactly one of url or service is required";
            errors.push(FieldError::required(path.field("clientConfig"), why));
        }
        rules(webhook, &path.field("rules"), errors);
    }
}

fn rules(webhook: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (index, rule) in list(webhook, "rules").iter().enumerate() {
        let path = field.index(index);
        for name in ["operations", "apiGroups", "apiVersions", "resources"] {
            if list(rule, name).is_empty() {
                errors.push(FieldError::required(path.field(name), ""));
            }
        }
        let field = path.field("operations");
        for (index, operation) in list(rule, "operations").iter().filter_map(Value::as_str).enumerate() {
            if !OPERATIONS.contains(&operation) {
                errors.push(FieldError::not_supported(field.index(index), operation, &OPERATIONS));
            }
        }
        one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &path, errors);
    }
}
