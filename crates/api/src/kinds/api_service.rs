//! APIService: which server serves a group and version.

use serde_json::{Value, json};

use super::access::{at, at_mut, flag, int, set, some, text};
use super::metadata::NameRule;
use super::path::Path;
use super::{FieldError, PLAIN, Rules, admission_webhook};
use crate::names;

pub(super) const RULES: Rules = Rules { default, create, name: NameRule::PathSegment, validate, ..PLAIN };

fn default(service: &mut Value) {
    if let Some(spec) = at_mut(service, "spec") {
        admission_webhook::default_service(spec);
    }
}

fn create(service: &mut Value) {
    let status = match at(at(service, "spec"), "service").is_object() {
        true => json!({}),
        // What this server serves itself is there from the beginning.
        false => json!({"conditions": [{
            "type": "Available",
            "status": "True",
            "lastTransitionTime": text(at(service, "metadata"), "creationTimestamp"),
            "reason": "Local",
            "message": "Local APIServices are always available",
        }]}),
    };
    set(service, "status", status);
}

fn validate(service: &Value, errors: &mut Vec<FieldError>) {
    let (spec, root) = (at(service, "spec"), Path::Root("spec"));
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let name = text(at(service, "metadata"), "name");
    let wanted = format!("{version}.{group}");
    if !name.is_empty() && name != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {}", crate::field::quote(&wanted));
        errors.push(FieldError::invalid("metadata.name", name, why));
    }
    let field = root.field("group");
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(field, why));
    }
    if !group.is_empty() {
        errors.extend(
            names::dns_subdomain(group).into_iter().map(|why| FieldError::invalid(field, group, why)),
        );
    }
    let wrong = names::dns_1035_label(version).into_iter();
    errors.extend(wrong.map(|why| FieldError::invalid(root.field("version"), version, why)));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let value = int(spec, field).unwrap_or_default();
        if value <= 0 || value > most {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(root.field(field), value, why));
        }
    }
    trust(spec, &root, errors);
}

fn trust(spec: &Value, root: &Path<'_>, errors: &mut Vec<FieldError>) {
    let has_bundle = !text(spec, "caBundle").is_empty();
    let skips = flag(spec, "insecureSkipTLSVerify");
    let (bundle, skip) = (root.field("caBundle"), root.field("insecureSkipTLSVerify"));
    let Some(service) = some(spec, "service") else {
        if has_bundle {
            let told = format!("{} bytes", text(spec, "caBundle").len() / 4 * 3);
            errors.push(FieldError::invalid(bundle, told, "local APIServices may not have a caBundle"));
        }
        if skips {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(skip, true, why));
        }
        return;
    };
    let place = root.field("service");
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(place.field(field), ""));
        }
    }
    let port = int(service, "port").unwrap_or(443);
    if let Some(why) = names::port_number(port) {
        errors.push(FieldError::invalid(place.field("port"), port, format!("port is not valid: {why}")));
    }
    if skips && has_bundle {
        errors.push(FieldError::invalid(skip, true, "may not be true if caBundle is present"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_what_it_serves_and_trusted_in_one_way() {
        let check = |spec: Value| {
            let mut errors = Vec::new();
            validate(&json!({"metadata": {"name": "v1.a.example"}, "spec": spec}), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let spec = |more: Value| {
            let mut spec = json!({"group": "a.example", "version": "v1", "groupPriorityMinimum": 100,
                "versionPriority": 100, "service": {"namespace": "d", "name": "s", "port": 443}});
            for (field, value) in more.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            check(spec)
        };
        assert!(spec(json!({})).is_empty());
        for (more, expected) in [
            (
                json!({"version": "v2"}),
                r#"metadata.name: Invalid value: "v1.a.example": must be `spec.version+"."+spec.group`: "v2.a.example""#,
            ),
            (
                json!({"groupPriorityMinimum": 0}),
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
            ),
            (
                json!({"insecureSkipTLSVerify": true, "caBundle": "YQ=="}),
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ),
            (
                json!({"service": null, "insecureSkipTLSVerify": true}),
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ),
            (json!({"service": {"namespace": "d", "port": 443}}), "spec.service.name: Required value"),
        ] {
            assert_eq!(spec(more), [expected]);
        }
    }
}
