//! What is wrong with the volumes of a PodSpec; and with the ways in which a volume can be filled, which persistent
//! volumes share.

use serde_json::Value;

use super::field_ref::{VOLUME_FIELDS, container_resource, object_field};
use super::{all_wrong, one_of, required, storage};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, map, text};
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

/// Which keys become which files.
fn key_paths(owner: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("items");
    for (index, item) in list(owner, "items").iter().enumerate() {
        let path = field.index(index);
        required(item, "key", &path, errors);
        required(item, "path", &path, errors);
        not_reserved(text(item, "path"), &path.field("path"), errors);
        mode(item, "mode", &path, errors);
    }
}

fn iscsi(value: &Value, is_persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn flocker(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn secret_reference(owner: &Value, is_persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn quobyte(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

/// A file of the downward API: what it shows of the pod.
fn downward_file(file: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn fibre_channel(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn flex(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

fn azure_disk(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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

/// A volume of several sources: their files must not be the same.
fn projected(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
                super::workload::label_selector(selector, &path.field("labelSelector"), errors);
            }
        }
        (false, false) => {
            errors.push(FieldError::required(path, "either name or signerName must be specified"));
        }
    }
    required(bundle, "path", path, errors);
    not_reserved(text(bundle, "path"), &path.field("path"), errors);
}

fn csi(value: &Value, is_persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
        super::formed(reference, "name", names::dns_subdomain, &path, errors);
        if is_persistent {
            required(reference, "namespace", &path, errors);
            super::formed(reference, "namespace", names::dns_label, &path, errors);
        }
    }
}

/// The name of a CSI driver.
pub(super) fn driver_name(name: &str, path: impl std::fmt::Display, errors: &mut Vec<FieldError>) {
    const LONGEST: usize = 63;
    if name.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(&path, LONGEST));
    }
    all_wrong(names::dns_subdomain(&name.to_lowercase()), name, &path, errors);
}
