//! What is wrong with probes and hooks: what is done to a container, and how often.

use serde_json::Value;

use super::container::counts;
use super::{all_wrong, one_of, port, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

/// The probes and hooks of a container.
pub(super) fn of_container(container: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let grace = int(spec, "terminationGracePeriodSeconds");
    let lifecycle = path.field("lifecycle");
    for name in ["postStart", "preStop"] {
        let action = at(at(container, "lifecycle"), name);
        if !action.is_null() {
            handler(
                action,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                grace,
                &lifecycle.field(name),
                errors,
            );
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, name) {
            probe(at(container, name), name, &path.field(name), errors);
        }
    }
}

fn probe(probe: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, path, errors);
    let fields =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    counts(probe, &fields, path, errors);
    let grace = int(probe, "terminationGracePeriodSeconds");
    let field = path.field("terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(field, seconds, "must be greater than 0"));
    }
    if kind == "readinessProbe" {
        if let Some(seconds) = grace {
            errors.push(FieldError::invalid(field, seconds, "must not be set for readinessProbes"));
        }
        return;
    }
    let needed = int(probe, "successThreshold").unwrap_or(1);
    if needed != 1 {
        errors.push(FieldError::invalid(path.field("successThreshold"), needed, "must be 1"));
    }
}

/// What a probe or a hook does: exactly one of several things.
fn handler(
    handler: &Value,
    kinds: &[&str],
    grace: Option<i64>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
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
            for header in list(action, "httpHeaders") {
                let name = text(header, "name");
                all_wrong(names::http_header_name(name), name, path.field("httpHeaders"), errors);
            }
        }
        "tcpSocket" | "grpc" => port(at(action, "port"), path.field("port"), errors),
        "sleep" => {
            let seconds = int(action, "seconds").unwrap_or_default();
            if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
                let why =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(path, seconds, why));
            }
        }
        _ => {}
    }
}
