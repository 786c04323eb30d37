//! What is wrong with persistent volumes and claims.

use serde_json::Value;

use super::volume::{ISCSI_TOO_LONG, fill, too_many};
use super::workload::label_selector;
use super::{all_wrong, formed, one_of, required, scheduling};
use crate::field::FieldError;
use crate::kinds::access::{at, has, list, map, text};
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::Root("spec");
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const NOT_POSITIVE: &str = "must be greater than zero";

/// The ways in which a volume can be filled, in the order in which they are looked at.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

fn access_modes(spec: &Value, path: &Path<'_>, why: &str, errors: &mut Vec<FieldError>) {
    let field = path.field("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(field, why));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(field, mode, &ACCESS_MODES));
    }
    let is_alone = |mode: &Value| mode == "ReadWriteOncePod";
    let is_shared = |mode: &Value| mode.as_str().is_some_and(|mode| ACCESS_MODES[..3].contains(&mode));
    if modes.iter().any(is_alone) && modes.iter().any(is_shared) {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(field, why));
    }
}

/// What is wrong with a claim.
pub(in crate::kinds) fn claim(claim: &Value, errors: &mut Vec<FieldError>) {
    claim_spec(at(claim, "spec"), &SPEC, errors);
}

/// What is wrong with a claim, wherever it stands.
pub(super) fn claim_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    access_modes(spec, path, "at least 1 access mode is required", errors);
    if has(spec, "selector") {
        label_selector(at(spec, "selector"), &path.field("selector"), errors);
    }
    let resources = path.field("resources");
    let field = resources.key("storage");
    match text(at(at(spec, "resources"), "requests"), "storage") {
        "" => errors.push(FieldError::required(field, "")),
        size => {
            if Quantity::parse(size).is_ok_and(|size| !size.sign().is_gt()) {
                errors.push(FieldError::invalid(field, size, NOT_POSITIVE));
            }
        }
    }
    for name in ["storageClassName", "volumeAttributesClassName"] {
        formed(spec, name, names::dns_subdomain, path, errors);
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], path, errors);
    data_source(spec, path, errors);
}

fn data_source(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["dataSource", "dataSourceRef"] {
        let source = at(spec, name);
        if source.is_null() {
            continue;
        }
        let path = path.field(name);
        required(source, "name", &path, errors);
        required(source, "kind", &path, errors);
        let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(path, kind, why));
        }
        formed(source, "apiGroup", names::dns_subdomain, &path, errors);
        formed(source, "namespace", names::dns_label, &path, errors);
    }
    let (source, reference) = (at(spec, "dataSource"), at(spec, "dataSourceRef"));
    if source.is_null() || reference.is_null() {
        return;
    }
    let shown = path.field("dataSource").to_string();
    if !text(reference, "namespace").is_empty() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        errors.push(FieldError::invalid(path, shown, why));
    } else if ["apiGroup", "kind", "name"].iter().any(|name| at(source, name) != at(reference, name)) {
        errors.push(FieldError::invalid(path, shown, "must match dataSourceRef"));
    }
}

/// A claim keeps its spec: it may be bound, and it may grow once it is.
pub(in crate::kinds) fn claim_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    const CLASS: &str = "volumeAttributesClassName";
    let (new_spec, old_spec) = (at(new, "spec"), at(old, "spec"));
    let is_bound = text(at(old, "status"), "phase") == "Bound";
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            for name in ["volumeName", "storageClassName"] {
                if !has(old_spec, name) {
                    fields.shift_remove(name);
                }
            }
            if is_bound {
                let resources = fields.get_mut("resources").and_then(Value::as_object_mut);
                let requests =
                    resources.and_then(|fields| fields.get_mut("requests")).and_then(Value::as_object_mut);
                if let Some(requests) = requests {
                    requests.shift_remove("storage");
                }
                fields.shift_remove(CLASS);
            }
        }
        spec
    };
    if fixed(new_spec) != fixed(old_spec) {
        errors.push(FieldError::forbidden(SPEC, WHY));
    }
    let size = |spec| Quantity::parse(text(at(at(spec, "resources"), "requests"), "storage")).ok();
    if let (Some(now), Some(before)) = (size(new_spec), size(old_spec))
        && now < before
    {
        let capacity =
            Quantity::parse(text(at(at(old, "status"), "capacity"), "storage")).unwrap_or_default();
        // An expansion that failed may be taken back, not what is there.
        if now <= capacity {
            let (resources, why) = (SPEC.field("resources"), "field can not be less than status.capacity");
            let requests = resources.field("requests");
            errors.push(FieldError::forbidden(requests.field("storage"), why));
        }
    }
    if at(new_spec, "volumeMode") != at(old_spec, "volumeMode") {
        errors.push(FieldError::immutable("volumeMode", at(new_spec, "volumeMode")));
    }
    if has(old_spec, CLASS) && at(new_spec, CLASS) != at(old_spec, CLASS) {
        let why = match at(new_spec, CLASS) {
            Value::Null => "update from non-nil value to nil is forbidden",
            Value::String(class) if class.is_empty() => {
                "update from non-nil value to an empty string is forbidden"
            }
            _ => return,
        };
        errors.push(FieldError::forbidden(SPEC.field(CLASS), why));
    }
}

/// What is wrong with a volume.
pub(in crate::kinds) fn volume(volume: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(volume, "spec");
    access_modes(spec, &SPEC, "", errors);
    capacity(spec, errors);
    one_of(spec, "persistentVolumeReclaimPolicy", &["Delete", "Recycle", "Retain"], &SPEC, errors);
    let affinity = at(spec, "nodeAffinity");
    if !affinity.is_null() {
        let field = SPEC.field("nodeAffinity");
        if has(affinity, "required") {
            scheduling::node_selector(at(affinity, "required"), &field.field("required"), errors);
        } else {
            let why = "must specify required node constraints";
            errors.push(FieldError::required(field.field("required"), why));
        }
    }
    let mut given = SOURCES.into_iter().filter(|kind| has(spec, kind));
    match given.next() {
        None => errors.push(FieldError::required(SPEC, "must specify a volume type")),
        Some(first) => fill(first, at(spec, first), true, &SPEC, errors),
    }
    for more in given {
        too_many(more, &SPEC, errors);
    }
    if has(spec, "local") && affinity.is_null() {
        let why = "Local volume requires node affinity";
        errors.push(FieldError::required(SPEC.field("nodeAffinity"), why));
    }
    let portal = text(at(spec, "iscsi"), "targetPortal");
    let name = text(at(volume, "metadata"), "name");
    if has(at(spec, "iscsi"), "initiatorName") && name.len() + 1 + portal.len() > 64 {
        let field = SPEC.field("iscsi");
        errors.push(FieldError::invalid(field.field("targetportal"), portal, ISCSI_TOO_LONG));
    }
    let place = text(at(spec, "hostPath"), "path");
    let is_root = !place.is_empty() && place.split('/').all(|step| matches!(step, "" | "."));
    if is_root && text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(SPEC.field("persistentVolumeReclaimPolicy"), why));
    }
    formed(spec, "storageClassName", names::dns_subdomain, &SPEC, errors);
    one_of(spec, "volumeMode", &["Block", "Filesystem"], &SPEC, errors);
    if has(spec, "volumeAttributesClassName") {
        let class = text(spec, "volumeAttributesClassName");
        let field = SPEC.field("volumeAttributesClassName");
        if class.is_empty() {
            errors.push(FieldError::required(field, "an empty string is disallowed"));
        } else {
            all_wrong(names::dns_subdomain(class), class, field, errors);
        }
        if !has(spec, "csi") {
            let why = "has to be specified when using volumeAttributesClassName";
            errors.push(FieldError::required(SPEC.field("csi"), why));
        }
    }
}

fn capacity(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("capacity");
    if map(spec, "capacity").next().is_none() {
        errors.push(FieldError::required(field, ""));
    }
    if map(spec, "capacity").count() != 1 || !has(at(spec, "capacity"), "storage") {
        errors.push(FieldError::not_supported(field, at(spec, "capacity").clone(), &["storage"]));
    }
    for (resource, value) in super::resources::entries(spec, "capacity") {
        let Ok(quantity) = Quantity::parse(&value) else { continue };
        let field = field.key(resource);
        if quantity.sign().is_lt() {
            let why = "must be a valid resource quantity";
            errors.push(FieldError::invalid(field, quantity.value(), why));
        }
        if !quantity.sign().is_gt() {
            errors.push(FieldError::invalid(field, value, NOT_POSITIVE));
        }
    }
}

/// A volume stays what it is.
pub(in crate::kinds) fn volume_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const CLASS: &str = "volumeAttributesClassName";
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let source = |spec: &Value| {
        let mut sources: Vec<(&str, Value)> = SOURCES
            .into_iter()
            .filter(|kind| has(spec, kind))
            .map(|kind| (kind, at(spec, kind).clone()))
            .collect();
        // The secret for growing may be named later.
        if !has(at(old, "csi"), "controllerExpandSecretRef") {
            for (_, source) in &mut sources {
                if let Some(fields) = source.as_object_mut() {
                    fields.shift_remove("controllerExpandSecretRef");
                }
            }
        }
        sources
    };
    if source(new) != source(old) {
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden(SPEC.field("persistentvolumesource"), why));
    }
    if at(new, "volumeMode") != at(old, "volumeMode") {
        errors.push(FieldError::immutable("volumeMode", at(new, "volumeMode")));
    }
    if has(old, "nodeAffinity") && at(new, "nodeAffinity") != at(old, "nodeAffinity") {
        let why = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid("nodeAffinity", at(new, "nodeAffinity").clone(), why));
    }
    if has(old, CLASS) && !has(new, CLASS) {
        let why = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden(SPEC.field(CLASS), why));
    }
}
