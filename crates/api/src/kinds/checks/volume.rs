//! What is wrong with the volumes of a PodSpec; and with the ways in which a volume can be filled, which persistent
//! volumes share.

mod projected;
mod remote;

use serde_json::Value;

use self::projected::{downward_file, key_paths, projected};
use self::remote::{azure_disk, csi, fibre_channel, flex, flocker, iscsi, quobyte, secret_reference};
use super::{all_wrong, one_of, required, storage};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, map, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

/// A volume that containers may mount.
pub(super) struct Volume<'a> {
    pub(super) name: &'a str,
    source: &'a Value,
}

impl Volume<'_> {
    /// Whether it is an image, which is mounted whole.
    pub(super) fn is_image(&self) -> bool {
        has(self.source, "image")
    }

    /// Whether it can be a device: a claim.
    pub(super) fn is_claim(&self) -> bool {
        has(self.source, "persistentVolumeClaim") || has(self.source, "ephemeral")
    }
}

/// The sources in the order in which they are looked at: the first counts, others are too many.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Checks the volumes, and gives those that are fine. `pod` is the pod's own name, empty in a template.
pub(super) fn validate<'a>(
    spec: &'a Value,
    pod: &str,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) -> Vec<Volume<'a>> {
    let field = path.field("volumes");
    let created: Vec<String> = list(spec, "volumes")
        .iter()
        .filter(|volume| has(volume, "ephemeral"))
        .map(|volume| format!("{pod}-{}", text(volume, "name")))
        .collect();
    let mut fine: Vec<Volume<'_>> = Vec::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = field.index(index);
        let before = errors.len();
        source(volume, pod, &path, errors);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            all_wrong(names::dns_label(name), name, path.field("name"), errors);
        }
        if fine.iter().any(|other| other.name == name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        if errors.len() == before {
            fine.push(Volume { name, source: volume });
        }
        let claim = text(at(volume, "persistentVolumeClaim"), "claimName");
        if !pod.is_empty() && created.iter().any(|made| made == claim) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            let field = path.field("persistentVolumeClaim");
            errors.push(FieldError::invalid(field.field("claimName"), claim, why));
        }
    }
    fine
}

fn source(volume: &Value, pod: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut given = SOURCES.into_iter().filter(|kind| has(volume, kind));
    let Some(first) = given.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    fill(first, at(volume, first), false, path, errors);
    for more in given {
        too_many(more, path, errors);
    }
    let name = text(volume, "name");
    if first == "ephemeral" && !pod.is_empty() && !name.is_empty() {
        let claim = format!("{pod}-{name}");
        for why in names::dns_subdomain(&claim) {
            let why = format!("PVC name \"{claim}\": {why}");
            errors.push(FieldError::invalid(path.field("name"), name, why));
        }
    }
    let target = at(volume, "iscsi");
    if has(target, "initiatorName") && name.len() + 1 + text(target, "targetPortal").len() > 64 {
        errors.push(FieldError::invalid(path.field("name"), name, ISCSI_TOO_LONG));
    }
}

pub(super) const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// A second source. Two of them have always been misspelt.
pub(super) fn too_many(kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let shown = match kind {
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        other => other,
    };
    errors.push(FieldError::forbidden(path.field(shown), "may not specify more than 1 volume type"));
}

/// What each source must say, beyond what is checked one by one.
fn needed(kind: &str) -> &'static [&'static str] {
    match kind {
        "azureFile" => &["secretName", "shareName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "azureDisk" => &["diskName", "diskURI"],
        "configMap" => &["name"],
        "flexVolume" => &["driver"],
        "gcePersistentDisk" => &["pdName"],
        "gitRepo" => &["repository"],
        "glusterfs" => &["endpoints", "path"],
        "iscsi" => &["targetPortal", "iqn"],
        "nfs" => &["server", "path"],
        "persistentVolumeClaim" => &["claimName"],
        "photonPersistentDisk" => &["pdID"],
        "rbd" => &["image"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "secret" => &["secretName"],
        "storageos" => &["volumeName"],
        "vsphereVolume" => &["volumePath"],
        _ => &[],
    }
}

/// One source. A persistent volume names the namespace of what it refers to.
pub(super) fn fill(
    kind: &str,
    value: &Value,
    is_persistent: bool,
    parent: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let path = parent.field(if kind == "gcePersistentDisk" { "persistentDisk" } else { kind });
    if matches!(kind, "rbd" | "cephfs") && list(value, "monitors").is_empty() {
        errors.push(FieldError::required(path.field("monitors"), ""));
    }
    for name in needed(kind) {
        required(value, name, &path, errors);
    }
    match kind {
        "emptyDir" if Quantity::parse(text(value, "sizeLimit")).is_ok_and(|size| size.sign().is_lt()) => {
            let why = "SizeLimit field must be a valid resource quantity";
            errors.push(FieldError::forbidden(path.field("sizeLimit"), why));
        }
        "hostPath" => host_path(value, &path, errors),
        "local" => {
            required(value, "path", &path, errors);
            no_backsteps(text(value, "path"), &path.field("path"), errors);
        }
        "gitRepo" => descending(text(value, "directory"), &path.field("directory"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            ranged(value, "partition", &path, "must be between 1 and 255, inclusive", errors);
        }
        "secret" | "configMap" => {
            mode(value, "defaultMode", &path, errors);
            key_paths(value, &path, errors);
        }
        "nfs" if !text(value, "path").starts_with('/') => {
            let field = path.field("path");
            errors.push(FieldError::invalid(field, text(value, "path"), "must be an absolute path"));
        }
        "iscsi" => iscsi(value, is_persistent, &path, errors),
        "flocker" => flocker(value, &path, errors),
        "cinder" | "storageos" => {
            if kind == "storageos" {
                for name in ["volumeName", "volumeNamespace"] {
                    super::formed(value, name, names::dns_label, &path, errors);
                }
            }
            secret_reference(value, is_persistent, &path, errors);
        }
        "quobyte" => quobyte(value, &path, errors),
        "downwardAPI" => {
            mode(value, "defaultMode", &path, errors);
            list(value, "items").iter().for_each(|file| downward_file(file, &path, errors));
        }
        "fc" => fibre_channel(value, &path, errors),
        "flexVolume" => flex(value, &path, errors),
        "azureFile" if value.get("secretNamespace").and_then(Value::as_str) == Some("") => {
            errors.push(FieldError::required(path.field("secretNamespace"), ""));
        }
        "azureDisk" => azure_disk(value, &path, errors),
        "projected" => projected(value, &path, errors),
        "csi" => csi(value, is_persistent, &path, errors),
        "ephemeral" => {
            let template = at(value, "volumeClaimTemplate");
            let path = path.field("volumeClaimTemplate");
            if template.is_null() {
                errors.push(FieldError::required(path, ""));
            } else {
                claim_template(template, &path, errors);
            }
        }
        "image" => {
            required(value, "reference", &path, errors);
            one_of(value, "pullPolicy", &["Always", "IfNotPresent", "Never"], &path, errors);
        }
        _ => {}
    }
}

/// A claim that is made with a pod.
pub(super) fn claim_template(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let own = at(template, "metadata");
    let field = path.field("metadata");
    metadata::annotations(own, &field.field("annotations"), errors);
    metadata::labels(at(own, "labels"), &field.field("labels"), errors);
    for (name, value) in map(template, "metadata") {
        if !matches!(name.as_str(), "annotations" | "labels") && !value.is_null() {
            errors.push(FieldError::forbidden(field.field(name), "cannot be set"));
        }
    }
    storage::claim_spec(at(template, "spec"), &path.field("spec"), errors);
}

fn host_path(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if text(value, "path").is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
        return;
    }
    no_backsteps(text(value, "path"), &path.field("path"), errors);
    one_of(value, "type", &TYPES, path, errors);
}

/// A path may not lead out of where it is.
pub(super) fn no_backsteps(place: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if place.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, place, "must not contain '..'"));
    }
}

/// A path below where it is.
pub(super) fn descending(place: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if place.starts_with('/') {
        errors.push(FieldError::invalid(path, place, "must be a relative path"));
    }
    no_backsteps(place, path, errors);
}

/// A path below where it is, whose name is free.
fn not_reserved(place: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    descending(place, path, errors);
    if place.starts_with("..") && !place.starts_with("../") {
        errors.push(FieldError::invalid(path, place, "must not start with '..'"));
    }
}

fn mode(owner: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(mode) = int(owner, name).filter(|mode| !(0..=0o777).contains(mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path.field(name), mode, why));
    }
}

fn ranged(owner: &Value, name: &str, path: &Path<'_>, why: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = int(owner, name).filter(|number| !(0..=255).contains(number)) {
        errors.push(FieldError::invalid(path.field(name), number, why));
    }
}
