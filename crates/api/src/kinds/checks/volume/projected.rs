//! What is wrong with volumes whose files come from the API: projected ones, and what they share with the downward API,
//! secrets and config maps.

use serde_json::Value;

use super::{mode, not_reserved};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::checks::field_ref::{VOLUME_FIELDS, container_resource, object_field};
use crate::kinds::checks::required;
use crate::kinds::checks::workload;
use crate::kinds::path::Path;

/// A volume of several sources: their files must not be the same.
pub(super) fn projected(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    mode(value, "defaultMode", path, errors);
    let mut places: Vec<&str> = Vec::new();
    let field = path.field("sources");
    for (index, source) in list(value, "sources").iter().enumerate() {
        let at_source = field.index(index);
        let mut claim = |place, shown: &str, errors: &mut Vec<FieldError>| {
            if places.contains(&place) {
                errors.push(FieldError::invalid(path, shown, "conflicting duplicate paths"));
            } else {
                places.push(place);
            }
        };
        for kind in ["secret", "configMap"] {
            let part = at(source, kind);
            if part.is_null() {
                continue;
            }
            let own = at_source.field(kind);
            required(part, "name", &own, errors);
            key_paths(part, &own, errors);
            for place in list(part, "items").iter().map(|item| text(item, "path")) {
                if !place.is_empty() {
                    claim(place, text(part, "name"), errors);
                }
            }
        }
        for file in list(at(source, "downwardAPI"), "items") {
            downward_file(file, &at_source.field("downwardAPI"), errors);
            let place = text(file, "path");
            if !place.is_empty() {
                claim(place, place, errors);
            }
        }
        let token = at(source, "serviceAccountToken");
        if !token.is_null() {
            service_account_token(token, path, &at_source.field("serviceAccountToken"), errors);
        }
        let bundle = at(source, "clusterTrustBundle");
        if !bundle.is_null() {
            let own = at_source.field("clusterTrustBundle");
            trust_bundle(bundle, &own, errors);
            claim(text(bundle, "path"), text(bundle, "path"), errors);
        }
        let kinds = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
        if kinds.iter().filter(|kind| has(source, kind)).count() > 1 {
            let why = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(at_source, why));
        }
    }
}

fn service_account_token(token: &Value, volume: &Path<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let seconds = int(token, "expirationSeconds").unwrap_or_default();
    let why = match seconds {
        ..600 => Some("may not specify a duration less than 10 minutes"),
        4_294_967_297.. => Some("may not specify a duration larger than 2^32 seconds"),
        _ => None,
    };
    if let Some(why) = why {
        errors.push(FieldError::invalid(path.field("expirationSeconds"), seconds, why));
    }
    // The path is named as the volume's, not as the source's.
    if text(token, "path").is_empty() {
        errors.push(FieldError::required(volume.field("path"), ""));
    } else {
        not_reserved(text(token, "path"), &volume.field("path"), errors);
    }
}

fn trust_bundle(bundle: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (has(bundle, "name"), has(bundle, "signerName")) {
        (true, true) => {
            let why = "only one of name and signerName may be used";
            errors.push(FieldError::invalid(path, bundle.clone(), why));
        }
        (true, false) => {
            if text(bundle, "name").is_empty() {
                errors.push(FieldError::required(path.field("name"), "must be a valid object name"));
            }
            if has(bundle, "labelSelector") {
                let why = "labelSelector must be unset if name is specified";
                let selector = at(bundle, "labelSelector").clone();
                errors.push(FieldError::invalid(path.field("labelSelector"), selector, why));
            }
        }
        (false, true) => {
            if text(bundle, "signerName").is_empty() {
                errors.push(FieldError::required(path.field("signerName"), "must be a valid signer name"));
            }
            if has(bundle, "labelSelector") {
                let selector = at(bundle, "labelSelector");
                workload::label_selector(selector, &path.field("labelSelector"), errors);
            }
        }
        (false, false) => {
            errors.push(FieldError::required(path, "either name or signerName must be specified"));
        }
    }
    required(bundle, "path", path, errors);
    not_reserved(text(bundle, "path"), &path.field("path"), errors);
}

/// A file of the downward API: what it shows of the pod.
pub(super) fn downward_file(file: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(file, "path", path, errors);
    not_reserved(text(file, "path"), &path.field("path"), errors);
    let resource = at(file, "resourceFieldRef");
    if has(file, "fieldRef") {
        object_field(at(file, "fieldRef"), &VOLUME_FIELDS, &path.field("fieldRef"), errors);
        if !resource.is_null() {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", why));
        }
    } else if !resource.is_null() {
        container_resource(resource, true, &path.field("resourceFieldRef"), errors);
    } else {
        errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
    }
    mode(file, "mode", path, errors);
}

/// Which keys become which files.
pub(super) fn key_paths(owner: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("items");
    for (index, item) in list(owner, "items").iter().enumerate() {
        let path = field.index(index);
        required(item, "key", &path, errors);
        required(item, "path", &path, errors);
        not_reserved(text(item, "path"), &path.field("path"), errors);
        mode(item, "mode", &path, errors);
    }
}
