//! What is wrong with the volumes of a PodSpec.

use serde_json::Value;

use super::{all_wrong, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, list, text};
use crate::kinds::path::Path;
use crate::names;

/// Checks the volumes, and gives their names.
pub(super) fn validate<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) -> Vec<&'a str> {
    let field = path.field("volumes");
    let mut seen: Vec<&str> = Vec::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = field.index(index);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            all_wrong(names::dns_label(name), name, path.field("name"), errors);
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
        seen.push(name);
        source(volume, &path, errors);
    }
    seen
}

fn source(volume: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let sources = volume.as_object().into_iter().flatten();
    let given = sources.filter(|(name, value)| *name != "name" && !value.is_null());
    for (more, _) in given.skip(1) {
        errors.push(FieldError::forbidden(path.field(more), "may not specify more than 1 volume type"));
    }
    for (kind, name) in [
        ("hostPath", "path"),
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
        ("nfs", "server"),
        ("nfs", "path"),
    ] {
        if has(volume, kind) {
            required(at(volume, kind), name, &path.field(kind), errors);
        }
    }
    let host = text(at(volume, "hostPath"), "path");
    if host.split('/').any(|step| step == "..") {
        let field = path.field("hostPath");
        errors.push(FieldError::invalid(field.field("path"), host, "must not contain '..'"));
    }
    for kind in ["secret", "configMap"] {
        let field = path.field(kind);
        let items = field.field("items");
        for (index, item) in list(at(volume, kind), "items").iter().enumerate() {
            let path = items.index(index);
            required(item, "key", &path, errors);
            required(item, "path", &path, errors);
            let place = text(item, "path");
            if place.starts_with('/') {
                errors.push(FieldError::invalid(path.field("path"), place, "must be a relative path"));
            }
            if place.split('/').any(|step| step == "..") {
                errors.push(FieldError::invalid(path.field("path"), place, "must not contain '..'"));
            }
        }
    }
}
