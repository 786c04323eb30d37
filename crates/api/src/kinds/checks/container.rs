//! What is wrong with the containers of a PodSpec.

use serde_json::Value;

use super::pod_spec::{amounts, on_host_network};
use super::{all_wrong, not_negative, one_of, port, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn validate(spec: &Value, volumes: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(path.field("containers"), ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    // Init containers share their names with the others.
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let field = path.field(kind);
        for (index, container) in list(spec, kind).iter().enumerate() {
            let path = field.index(index);
            let name = text(container, "name");
            if name.is_empty() {
                errors.push(FieldError::required(path.field("name"), ""));
            } else {
                all_wrong(names::dns_label(name), name, path.field("name"), errors);
                if seen.contains(&name) {
                    errors.push(FieldError::duplicate(path.field("name"), name));
                }
                seen.push(name);
            }
            if kind == "initContainers" && text(container, "restartPolicy") != "Always" {
                ends_by_itself(container, &path, errors);
            }
            check(container, spec, volumes, &path, errors);
        }
    }
}

/// A container that runs to its end before the others begin is neither probed nor stopped.
fn ends_by_itself(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may not be set for init containers without restartPolicy=Always";
    for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, name) {
            errors.push(FieldError::forbidden(path.field(name), WHY));
        }
    }
}

fn check(container: &Value, spec: &Value, volumes: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.field("image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.field("image"), image, why));
    }
    one_of(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
    one_of(container, "terminationMessagePolicy", &["FallbackToLogsOnError", "File"], path, errors);
    ports(container, on_host_network(spec), &path.field("ports"), errors);
    environment(container, &path.field("env"), errors);
    environment_from(container, &path.field("envFrom"), errors);
    mounts(container, volumes, &path.field("volumeMounts"), errors);
    resources(at(container, "resources"), &path.field("resources"), errors);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, name) {
            probe(at(container, name), name, &path.field(name), errors);
        }
    }
    let lifecycle = path.field("lifecycle");
    for name in ["postStart", "preStop"] {
        let action = at(at(container, "lifecycle"), name);
        if !action.is_null() {
            handler(action, &["exec", "httpGet", "tcpSocket", "sleep"], &lifecycle.field(name), errors);
        }
    }
}

fn ports(container: &Value, on_host: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, entry) in list(container, "ports").iter().enumerate() {
        let path = path.index(index);
        let name = text(entry, "name");
        if !name.is_empty() {
            all_wrong(names::port_name(name), name, path.field("name"), errors);
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            seen.push(name);
        }
        let number = int(entry, "containerPort").unwrap_or_default();
        if number == 0 {
            errors.push(FieldError::required(path.field("containerPort"), ""));
        } else if let Some(why) = names::port_number(number) {
            errors.push(FieldError::invalid(path.field("containerPort"), number, why));
        }
        let host = int(entry, "hostPort").unwrap_or_default();
        if host != 0
            && let Some(why) = names::port_number(host)
        {
            errors.push(FieldError::invalid(path.field("hostPort"), host, why));
        }
        if on_host && host != 0 && host != number {
            let why = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(path.field("containerPort"), number, why));
        }
        if text(entry, "protocol").is_empty() {
            errors.push(FieldError::required(path.field("protocol"), ""));
        } else {
            one_of(entry, "protocol", &PROTOCOLS, &path, errors);
        }
    }
}

fn environment(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = path.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            all_wrong(names::env_var_name(name), name, path.field("name"), errors);
        }
        let source = at(variable, "valueFrom");
        let Some(fields) = source.as_object() else { continue };
        let path = path.field("valueFrom");
        if !text(variable, "value").is_empty() {
            errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
        } else if fields.is_empty() {
            let why =
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.push(FieldError::invalid(path, "", why));
        } else if fields.len() > 1 {
            errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            ));
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if has(source, reference) {
                required(at(source, reference), "name", &path.field(reference), errors);
                required(at(source, reference), "key", &path.field(reference), errors);
            }
        }
        if has(source, "fieldRef") {
            required(at(source, "fieldRef"), "fieldPath", &path.field("fieldRef"), errors);
        }
    }
}

fn environment_from(container: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, source) in list(container, "envFrom").iter().enumerate() {
        let path = field.index(index);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            all_wrong(names::env_var_name(prefix), prefix, path.field("prefix"), errors);
        }
        match (has(source, "configMapRef"), has(source, "secretRef")) {
            (true, true) => {
                let why = "may not have more than one field specified at a time";
                errors.push(FieldError::invalid(path, "", why));
            }
            (false, false) => {
                let why = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(FieldError::invalid(path, "", why));
            }
            (true, false) => {
                required(at(source, "configMapRef"), "name", &path.field("configMapRef"), errors)
            }
            (false, true) => required(at(source, "secretRef"), "name", &path.field("secretRef"), errors),
        }
    }
}

fn mounts(container: &Value, volumes: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = path.index(index);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if !volumes.contains(&name) {
            errors.push(FieldError::not_found(path.field("name"), name));
        }
        let place = text(mount, "mountPath");
        if place.is_empty() {
            errors.push(FieldError::required(path.field("mountPath"), ""));
        } else if seen.contains(&place) {
            errors.push(FieldError::invalid(path.field("mountPath"), place, "must be unique"));
        }
        seen.push(place);
        let inner = text(mount, "subPath");
        if inner.starts_with('/') {
            errors.push(FieldError::invalid(path.field("subPath"), inner, "must be a relative path"));
        }
        if inner.split('/').any(|step| step == "..") {
            errors.push(FieldError::invalid(path.field("subPath"), inner, "must not contain '..'"));
        }
    }
}

/// Requests and limits of a container.
fn resources(resources: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let limits: Vec<(&str, String)> = amounts(resources, "limits").collect();
    for (list, field) in [("limits", path.field("limits")), ("requests", path.field("requests"))] {
        for (name, amount) in amounts(resources, list) {
            let field_of = field.key(name);
            all_wrong(names::qualified(name), name, field_of, errors);
            let is_standard =
                matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
            if !is_standard && !name.contains('/') {
                let why = "must be a standard resource for containers";
                errors.push(FieldError::invalid(field_of, name, why));
            }
            let Ok(quantity) = Quantity::parse(&amount) else { continue };
            if quantity.sign() == std::cmp::Ordering::Less {
                let why = crate::kinds::metadata::NOT_NEGATIVE;
                errors.push(FieldError::invalid(field_of, amount.as_str(), why));
            }
            if list == "requests"
                && let Some((_, limit)) = limits.iter().find(|(own, _)| *own == name)
                && Quantity::parse(limit).is_ok_and(|limit| quantity > limit)
            {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(field, amount.as_str(), why));
            }
        }
    }
}

fn probe(probe: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], path, errors);
    for name in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        not_negative(probe, name, path, errors);
    }
    let needed = int(probe, "successThreshold").unwrap_or(1);
    if kind != "readinessProbe" && needed != 1 {
        errors.push(FieldError::invalid(path.field("successThreshold"), needed, "must be 1"));
    }
}

/// What a probe or a hook does: exactly one of several things.
fn handler(handler: &Value, kinds: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let given: Vec<&str> = kinds.iter().copied().filter(|kind| has(handler, kind)).collect();
    if given.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for more in given.iter().skip(1) {
        errors.push(FieldError::forbidden(path.field(more), "may not specify more than 1 handler type"));
    }
    let Some(kind) = given.first() else { return };
    let (action, path) = (at(handler, kind), path.field(kind));
    match *kind {
        "exec" if list(action, "command").is_empty() => {
            errors.push(FieldError::required(path.field("command"), ""));
        }
        "httpGet" => {
            required(action, "path", &path, errors);
            port(at(action, "port"), path.field("port"), errors);
            one_of(action, "scheme", &["HTTP", "HTTPS"], &path, errors);
        }
        "tcpSocket" | "grpc" => port(at(action, "port"), path.field("port"), errors),
        _ => {}
    }
}
