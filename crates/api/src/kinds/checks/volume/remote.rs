//! What is wrong with volumes that are elsewhere: disks and shares of storage systems, CSI.

use serde_json::Value;

use super::ranged;
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, list, map, text};
use crate::kinds::checks::{all_wrong, formed, one_of, required};
use crate::kinds::path::Path;
use crate::names;

pub(super) fn iscsi(value: &Value, is_persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let forms = if is_persistent { "must be valid format" } else { ISCSI_FORMS };
    if !text(value, "iqn").is_empty() {
        iscsi_name(text(value, "iqn"), forms, &path.field("iqn"), errors);
    }
    ranged(value, "lun", path, "must be between 0 and 255, inclusive", errors);
    if (flag(value, "chapAuthDiscovery") || flag(value, "chapAuthSession")) && !has(value, "secretRef") {
        errors.push(FieldError::required(path.field("secretRef"), ""));
    }
    if is_persistent && has(value, "secretRef") {
        required(at(value, "secretRef"), "name", &path.field("secretRef"), errors);
    }
    if has(value, "initiatorName") {
        iscsi_name(text(value, "initiatorName"), forms, &path.field("initiatorname"), errors);
    }
}

const ISCSI_FORMS: &str = "must be valid format starting with iqn, eui, or naa";

fn iscsi_name(name: &str, forms: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let is_word =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (is_known, is_good) = match (name.get(..3), name.get(4..)) {
        (Some("iqn"), Some(rest)) => (true, is_qualified_iscsi_name(rest)),
        (Some("eui"), Some(rest)) => (true, is_word(rest, 16)),
        (Some("naa"), Some(rest)) => (true, is_word(rest, 32)),
        (Some("iqn" | "eui" | "naa"), None) => (true, false),
        _ => (false, false),
    };
    if !is_known {
        errors.push(FieldError::invalid(path, name, forms));
    } else if !is_good {
        errors.push(FieldError::invalid(path, name, "must be valid format"));
    }
}

/// `2001-04.com.example:storage.disk1`
fn is_qualified_iscsi_name(text: &str) -> bool {
    let Some((date, rest)) = text.split_once('.') else { return false };
    let Some((authority, unique)) = rest.split_once(':') else { return false };
    let is_number =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = date.split_once('-').is_some_and(|(year, month)| is_number(year, 4) && is_number(month, 2));
    let is_authority = !authority.is_empty()
        && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    is_date
        && is_authority
        && !unique.is_empty()
        && !unique.contains(|c: char| matches!(c, ',' | ';' | '*' | '&' | '$' | '|') || c.is_whitespace())
}

pub(super) fn flocker(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, id) = (text(value, "datasetName"), text(value, "datasetUUID"));
    if name.is_empty() && id.is_empty() {
        errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !id.is_empty() {
        let why = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(FieldError::invalid(path, "resource", why));
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(path.field("datasetName"), name, "must not contain '/'"));
    }
}

pub(super) fn secret_reference(
    owner: &Value,
    is_persistent: bool,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let reference = at(owner, "secretRef");
    if reference.is_null() {
        return;
    }
    let path = path.field("secretRef");
    required(reference, "name", &path, errors);
    if is_persistent {
        required(reference, "namespace", &path, errors);
    }
}

pub(super) fn quobyte(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(value, "registry");
    if registry.is_empty() {
        errors.push(FieldError::required(path.field("registry"), PAIRS));
    } else if text(value, "tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(path.field("tenant"), why));
    } else {
        for pair in registry.split(',').filter(|pair| !pair.contains(':')) {
            let _ = pair;
            errors.push(FieldError::invalid(path.field("registry"), registry, PAIRS));
        }
    }
    required(value, "volume", path, errors);
}

pub(super) fn fibre_channel(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (names, ids) = (list(value, "targetWWNs"), list(value, "wwids"));
    let field = path.field("targetWWNs");
    if names.is_empty() && ids.is_empty() {
        errors.push(FieldError::required(field, "must specify either targetWWNs or wwids, but not both"));
    }
    if !names.is_empty() && !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(field, names.to_vec(), why));
    }
    if !names.is_empty() {
        if has(value, "lun") {
            ranged(value, "lun", path, "must be between 0 and 255, inclusive", errors);
        } else {
            errors
                .push(FieldError::required(path.field("lun"), "lun is required if targetWWNs is specified"));
        }
    }
}

pub(super) fn flex(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("options");
    for (key, _) in map(value, "options") {
        let owner = key.split_once('/').map_or(key.as_str(), |(owner, _)| owner);
        let owner = format!(".{}", owner.to_lowercase());
        if owner.ends_with(".kubernetes.io") || owner.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(field.key(key), key.as_str(), why));
        }
    }
}

pub(super) fn azure_disk(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    one_of(value, "cachingMode", &["None", "ReadOnly", "ReadWrite"], path, errors);
    one_of(value, "kind", &["Dedicated", "Managed", "Shared"], path, errors);
    let (start, form) = match text(value, "kind") {
        "" => return,
        "Managed" => ("/subscriptions/", MANAGED),
        _ => ("https://", BLOB),
    };
    let place = text(value, "diskURI");
    if !place.starts_with(start) {
        errors.push(FieldError::not_supported(path.field("diskURI"), place, &[form]));
    }
}

pub(super) fn csi(value: &Value, is_persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    driver_name(text(value, "driver"), path.field("driver"), errors);
    let references: &[&str] = if is_persistent {
        required(value, "volumeHandle", path, errors);
        &[
            "controllerPublishSecretRef",
            "controllerExpandSecretRef",
            "nodePublishSecretRef",
            "nodeExpandSecretRef",
            "nodeStageSecretRef",
        ]
    } else {
        &["nodePublishSecretRef"]
    };
    for name in references {
        let reference = at(value, name);
        if reference.is_null() {
            continue;
        }
        let path = path.field(name);
        required(reference, "name", &path, errors);
        formed(reference, "name", names::dns_subdomain, &path, errors);
        if is_persistent {
            required(reference, "namespace", &path, errors);
            formed(reference, "namespace", names::dns_label, &path, errors);
        }
    }
}

/// The name of a CSI driver.
pub(in crate::kinds::checks) fn driver_name(
    name: &str,
    path: impl std::fmt::Display,
    errors: &mut Vec<FieldError>,
) {
    const LONGEST: usize = 63;
    if name.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(&path, LONGEST));
    }
    all_wrong(names::dns_subdomain(&name.to_lowercase()), name, &path, errors);
}
