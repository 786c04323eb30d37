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
        client(config, &path.field("clientConfig"), errors);
        versions(webhook, &path.field("admissionReviewVersions"), errors);
        one_of(webhook, "reinvocationPolicy", &["IfNeeded", "Never"], &path, errors);
        conditions(webhook, &path.field("matchConditions"), errors);
        rules(webhook, &path.field("rules"), errors);
    }
}

/// Where a webhook is.
fn client(config: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let service = at(config, "service");
    if !service.is_null() {
        let path = path.field("service");
        for (name, why) in
            [("name", "service name is required"), ("namespace", "service namespace is required")]
        {
            if text(service, name).is_empty() {
                errors.push(FieldError::required(path.field(name), why));
            }
        }
        if has(service, "path") {
            let place = text(service, "path");
            let why = if !place.starts_with('/') {
                "must start with a '/'"
            } else if place.len() > 1 && place.split('/').skip(1).any(str::is_empty) {
                "segment[..] may not be empty"
            } else {
                ""
            };
            if !why.is_empty() {
                errors.push(FieldError::invalid(path.field("path"), place, why));
            }
        }
        if let Some(why) = int(service, "port").and_then(names::port_number) {
            let port = int(service, "port").unwrap_or_default();
            errors.push(FieldError::invalid(path.field("port"), port, format!("port is not valid: {why}")));
        }
    }
    if !has(config, "url") {
        return;
    }
    let url = text(config, "url");
    let field = path.field("url");
    const FORM: &str = "; desired format: https://host[/path]";
    match url.split_once("://") {
        Some(("https", rest)) => {
            let (host, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if host.is_empty() {
                errors.push(FieldError::invalid(field, "", format!("host must be specified{FORM}")));
            }
            if host.contains('@') {
                let user = host.split('@').next().unwrap_or_default();
                let why = "user information is not permitted in the URL";
                errors.push(FieldError::invalid(field, user, why));
            }
            for (sign, why) in [
                ('#', "fragments are not permitted in the URL"),
                ('?', "query parameters are not permitted in the URL"),
            ] {
                if let Some((_, told)) = after.split_once(sign) {
                    errors.push(FieldError::invalid(field, told, why));
                }
            }
        }
        Some((scheme, _)) => {
            let why = format!("'https' is the only allowed URL scheme{FORM}");
            errors.push(FieldError::invalid(field, scheme, why));
        }
        None => {
            let why = format!("'https' is the only allowed URL scheme{FORM}");
            errors.push(FieldError::invalid(field, "", why));
        }
    }
}

/// The versions of reviews that a webhook understands.
fn versions(webhook: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let all: Vec<&str> = list(webhook, "admissionReviewVersions").iter().filter_map(Value::as_str).collect();
    for (index, version) in all.iter().enumerate() {
        if all[..index].contains(version) {
            errors.push(FieldError::invalid(field.index(index), *version, "duplicate version"));
            continue;
        }
        all_wrong(names::dns_1035_label(version), version, field.index(index), errors);
    }
    if !all.is_empty() && !all.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(field, all, why));
    }
}

/// What else must hold for a webhook to be called.
fn conditions(webhook: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST: usize = 64;
    let all = list(webhook, "matchConditions");
    if all.len() > MOST {
        errors.push(FieldError::too_many(field, all.len(), MOST));
    }
    for (index, condition) in all.iter().enumerate() {
        let path = field.index(index);
        let name = text(condition, "name");
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(path.field("expression"), ""));
        }
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            all_wrong(names::qualified(name), name, path.field("name"), errors);
            if all[..index].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
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
        alone(rule, &path, errors);
        let field = path.field("operations");
        for (index, operation) in list(rule, "operations").iter().filter_map(Value::as_str).enumerate() {
            if !OPERATIONS.contains(&operation) {
                errors.push(FieldError::not_supported(field.index(index), operation, &OPERATIONS));
            }
        }
        one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &path, errors);
    }
}

/// A star names all, so nothing may stand beside it.
fn alone(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (name, what) in
        [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")]
    {
        let all = list(rule, name);
        if all.len() > 1 && all.iter().any(|one| one == "*") {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(path.field(name), all.to_vec(), why));
        }
    }
    let field = path.field("resources");
    let resources = list(rule, "resources");
    let all: Vec<&str> = resources.iter().filter_map(Value::as_str).collect();
    for (index, resource) in all.iter().enumerate() {
        if resource.is_empty() {
            errors.push(FieldError::required(field.index(index), ""));
        }
        let Some((own, part)) = resource.split_once('/') else { continue };
        for whole in [format!("{own}/*"), format!("*/{part}")] {
            if all[..index].contains(&whole.as_str()) {
                let why = format!("if '{whole}' is present, must not specify {resource}");
                errors.push(FieldError::invalid(field.index(index), *resource, why));
            }
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(field, resources.to_vec(), why));
    }
    if all.contains(&"*") && all.iter().any(|one| *one != "*" && !one.contains('/')) {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(field, resources.to_vec(), why));
    }
}
