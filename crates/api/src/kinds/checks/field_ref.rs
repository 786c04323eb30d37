//! What a container may be told of its own pod: fields and resources, in variables and in files.

use serde_json::Value;

use super::{all_wrong, required};
use crate::field::FieldError;
use crate::kinds::access::{at, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

/// The fields that a file may show.
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The fields that a variable may show.
pub(super) const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields of a pod that have a name of this kind at all.
const KNOWN: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A field of the pod.
pub(super) fn object_field(
    reference: &Value,
    allowed: &[&str],
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    for name in ["apiVersion", "fieldPath"] {
        if text(reference, name).is_empty() {
            errors.push(FieldError::required(path.field(name), ""));
            return;
        }
    }
    let (version, written) = (text(reference, "apiVersion"), text(reference, "fieldPath"));
    let subscripted = written.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    let why = match subscripted {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some((field, _)) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN.contains(&written) => None,
        None => Some(format!("field label not supported: {written}")),
    };
    if let Some(why) = why {
        let why = format!("error converting fieldPath: {why}");
        errors.push(FieldError::invalid(path.field("fieldPath"), written, why));
        return;
    }
    match subscripted {
        Some(("metadata.annotations", key)) => {
            let key = key.to_lowercase();
            all_wrong(names::qualified(&key), &key, path, errors);
        }
        Some((_, key)) => all_wrong(names::qualified(key), key, path, errors),
        None => {
            let field = if written == "spec.host" { "spec.nodeName" } else { written };
            if !allowed.contains(&field) {
                errors.push(FieldError::not_supported(path.field("fieldPath"), field, allowed));
            }
        }
    }
}

/// A resource of a container; of another container in a file.
pub(super) fn container_resource(
    reference: &Value,
    in_file: bool,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let resource = text(reference, "resource");
    let is_huge_page =
        ["limits.hugepages-", "requests.hugepages-"].iter().any(|kind| resource.starts_with(kind));
    if in_file && text(reference, "containerName").is_empty() {
        required(reference, "containerName", path, errors);
    } else if resource.is_empty() {
        required(reference, "resource", path, errors);
    } else if !RESOURCES.contains(&resource) && !is_huge_page {
        errors.push(FieldError::not_supported(path.field("resource"), resource, &RESOURCES));
    }
    divisor(reference, resource, path, errors);
}

fn divisor(reference: &Value, resource: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const SIZES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let amount = match at(reference, "divisor") {
        Value::String(amount) => amount.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    let Ok(quantity) = Quantity::parse(&amount) else { return };
    if quantity.is_zero() {
        return;
    }
    let (allowed, what) = match resource.split_once('.') {
        Some((_, "cpu")) => ("1m, 1", "cpu"),
        Some((_, "memory")) => (SIZES, "memory"),
        Some((_, "ephemeral-storage")) => (SIZES, "local ephemeral storage"),
        Some((_, other)) if other.starts_with("hugepages-") => (SIZES, "hugepages"),
        _ => return,
    };
    if !allowed.split(", ").any(|one| one == quantity.to_string()) {
        let allowed = allowed.replace("1m, 1", "1m and 1");
        let why = format!("only divisor's values {allowed} are supported with the {what} resource");
        errors.push(FieldError::invalid(path.field("divisor"), resource, why));
    }
}
