//! What is wrong with the containers of a PodSpec.

use serde_json::{Value, json};

use super::field_ref::{ENV_FIELDS, container_resource, object_field};
use super::volume::{self, Volume};
use super::{all_wrong, formed, handler, not_negative, one_of, required, resources, security};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// What the containers of a pod are checked against.
pub(super) struct Pod<'a> {
    pub(super) spec: &'a Value,
    pub(super) volumes: Vec<Volume<'a>>,
    /// The names of its claims for devices.
    pub(super) claims: Vec<&'a str>,
    /// Whether it is a pod, and not a template of one.
    pub(super) is_pod: bool,
}

pub(super) fn validate(pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let spec = pod.spec;
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(path.field("containers"), ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    // All kinds of containers share their names; the containers themselves come first.
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let field = path.field(kind);
        for (index, container) in list(spec, kind).iter().enumerate() {
            let path = field.index(index);
            check(container, pod, &path, errors);
            let name = text(container, "name");
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            } else if !name.is_empty() {
                seen.push(name);
            }
            match kind {
                "initContainers" => init(container, spec, &path, errors),
                "ephemeralContainers" => ephemeral(container, spec, &path, errors),
                _ => {
                    restart(container, &path, errors);
                    handler::of_container(container, spec, &path, errors);
                }
            }
            if kind == "initContainers" {
                host_ports(std::slice::from_ref(container), &field, errors);
            }
        }
    }
    host_ports(list(spec, "containers"), &path.field("containers"), errors);
    if flag(spec, "hostNetwork") {
        on_host_network(pod, &path.field("containers"), errors);
    }
}

/// When a container is started anew, where that is its own to say.
fn restart(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST_RULES: usize = 20;
    one_of(container, "restartPolicy", &["Always", "Never", "OnFailure"], path, errors);
    let rules = list(container, "restartPolicyRules");
    let field = path.field("restartPolicyRules");
    if !rules.is_empty() && !has(container, "restartPolicy") {
        let why = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(path.field("restartPolicy"), why));
    }
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_long(field, MOST_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = field.index(index);
        one_of(rule, "action", &["Restart", "RestartAllContainers"], &path, errors);
        let codes = at(rule, "exitCodes");
        if codes.is_null() {
            errors.push(FieldError::required(path.field("exitCodes"), "must be specified"));
            continue;
        }
        let how = text(codes, "operator");
        if !matches!(how, "In" | "NotIn") {
            let field = path.field("exitCodes");
            errors.push(FieldError::not_supported(field.field("operator"), how, &["In", "NotIn"]));
        }
    }
}

/// A container that runs to its end before the others begin is neither probed nor stopped.
fn init(container: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may not be set for init containers without restartPolicy=Always";
    restart(container, path, errors);
    if text(container, "restartPolicy") == "Always" {
        handler::of_container(container, spec, path, errors);
        return;
    }
    for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, name) {
            errors.push(FieldError::forbidden(path.field(name), WHY));
        }
    }
    if !list(container, "resizePolicy").is_empty() {
        let policy = at(container, "resizePolicy").clone();
        let why = "must not be set for init containers";
        errors.push(FieldError::invalid(path.field("resizePolicy"), policy, why));
    }
}

/// A container for looking at a pod takes nothing from it.
fn ephemeral(container: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let target = text(container, "targetContainerName");
    let others = list(spec, "containers").iter().chain(list(spec, "initContainers"));
    if !target.is_empty() && !others.into_iter().any(|other| text(other, "name") == target) {
        errors.push(FieldError::not_found(path.field("targetContainerName"), target));
    }
    for name in [
        "ports",
        "resources",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
    ] {
        let is_set = match at(container, name) {
            Value::Null => false,
            Value::Object(fields) => !fields.is_empty() || name != "resources",
            Value::Array(elements) => !elements.is_empty(),
            _ => true,
        };
        if is_set {
            errors.push(FieldError::forbidden(path.field(name), WHY));
        }
    }
    let field = path.field("volumeMounts");
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        for name in ["subPath", "subPathExpr"] {
            if !text(mount, name).is_empty() {
                errors.push(FieldError::forbidden(field.index(index).field(name), WHY));
            }
        }
    }
}

/// What all kinds of containers have in common.
fn check(container: &Value, pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(container, "name", path, errors);
    formed(container, "name", names::dns_label, path, errors);
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.field("image"), ""));
    } else if image.trim() != image && pod.is_pod {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.field("image"), image, why));
    }
    one_of(container, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"], path, errors);
    ports(container, &path.field("ports"), errors);
    environment(container, &path.field("env"), errors);
    environment_from(container, &path.field("envFrom"), errors);
    mounts(container, &pod.volumes, &path.field("volumeMounts"), errors);
    devices(container, &pod.volumes, &path.field("volumeDevices"), errors);
    one_of(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
    let field = path.field("resources");
    resources::requirements(
        at(container, "resources"),
        resources::container_name,
        &pod.claims,
        &field,
        errors,
    );
    resize_policy(container, pod.spec, &path.field("resizePolicy"), errors);
    security::of_container(
        at(container, "securityContext"),
        pod.spec,
        &path.field("securityContext"),
        errors,
    );
}

fn ports(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, entry) in list(container, "ports").iter().enumerate() {
        let path = path.index(index);
        let name = text(entry, "name");
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if !wrong.is_empty() {
                all_wrong(wrong, name, path.field("name"), errors);
            } else if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            } else {
                seen.push(name);
            }
        }
        let number = int(entry, "containerPort").unwrap_or_default();
        if number == 0 {
            errors.push(FieldError::required(path.field("containerPort"), ""));
        } else if let Some(why) = names::port_number(number) {
            errors.push(FieldError::invalid(path.field("containerPort"), number, why));
        }
        let host = int(entry, "hostPort").unwrap_or_default();
        if let Some(why) = names::port_number(host).filter(|_| host != 0) {
            errors.push(FieldError::invalid(path.field("hostPort"), host, why));
        }
        required(entry, "protocol", &path, errors);
        if !text(entry, "protocol").is_empty() {
            one_of(entry, "protocol", &PROTOCOLS, &path, errors);
        }
    }
}

/// A port of the node can be one container's only.
fn host_ports(containers: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut taken: Vec<String> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at_index = path.index(index);
        let field = at_index.field("ports");
        for (index, port) in list(container, "ports").iter().enumerate() {
            let number = int(port, "hostPort").unwrap_or_default();
            if number == 0 {
                continue;
            }
            let wanted = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if taken.contains(&wanted) {
                errors.push(FieldError::duplicate(field.index(index).field("hostPort"), wanted.as_str()));
            }
            taken.push(wanted);
        }
    }
}

/// On the node's own network a port is a port of the node.
fn on_host_network(pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, container) in list(pod.spec, "containers").iter().enumerate() {
        let at_index = path.index(index);
        let field = at_index.field("ports");
        for (index, port) in list(container, "ports").iter().enumerate() {
            let number = int(port, "hostPort").unwrap_or_default();
            let is_same = number == int(port, "containerPort").unwrap_or_default();
            // A template's are filled in when it becomes a pod.
            if (pod.is_pod || number != 0) && !is_same {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(field.index(index).field("hostPort"), number, why));
            }
        }
    }
}

fn environment(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = path.index(index);
        required(variable, "name", &path, errors);
        formed(variable, "name", names::env_var_name, &path, errors);
        let source = at(variable, "valueFrom");
        if !source.is_null() {
            value_from(variable, source, &path.field("valueFrom"), errors);
        }
    }
}

fn value_from(variable: &Value, source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut sources = 0;
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let reference = at(source, kind);
        if reference.is_null() {
            continue;
        }
        sources += 1;
        let path = path.field(kind);
        match kind {
            "fieldRef" => object_field(reference, &ENV_FIELDS, &path, errors),
            "resourceFieldRef" => container_resource(reference, false, &path, errors),
            "fileKeyRef" => {
                for name in ["key", "volumeName", "path"] {
                    required(reference, name, &path, errors);
                }
                volume::descending(text(reference, "path"), &path.field("path"), errors);
            }
            _ => {
                let name = text(reference, "name");
                all_wrong(names::dns_subdomain(name), name, path.field("name"), errors);
                required(reference, "key", &path, errors);
                formed(reference, "key", names::config_map_key, &path, errors);
            }
        }
    }
    let why = if sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !text(variable, "value").is_empty() {
        "may not be specified when `value` is not empty"
    } else if sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, "", why));
}

fn environment_from(container: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, source) in list(container, "envFrom").iter().enumerate() {
        let path = field.index(index);
        formed(source, "prefix", names::env_var_name, &path, errors);
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            if has(source, kind) {
                sources += 1;
                let path = path.field(kind);
                required(at(source, kind), "name", &path, errors);
                formed(at(source, kind), "name", names::dns_subdomain, &path, errors);
            }
        }
        let why = match sources {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(field, "", why));
    }
}

fn mounts(container: &Value, volumes: &[Volume<'_>], field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let devices = list(container, "volumeDevices");
    let mut seen: Vec<&str> = Vec::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = field.index(index);
        let (name, place) = (text(mount, "name"), text(mount, "mountPath"));
        required(mount, "name", &path, errors);
        let volume = volumes.iter().find(|volume| volume.name == name);
        if volume.is_none() {
            errors.push(FieldError::not_found(path.field("name"), name));
        }
        required(mount, "mountPath", &path, errors);
        if seen.contains(&place) {
            errors.push(FieldError::invalid(path.field("mountPath"), place, "must be unique"));
        }
        seen.push(place);
        if devices.iter().any(|device| text(device, "name") == name) {
            let why = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(path.field("name"), name, why));
        }
        if devices.iter().any(|device| text(device, "devicePath") == place) {
            let why = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(path.field("mountPath"), place, why));
        }
        for name in ["subPath", "subPathExpr"] {
            let inner = text(mount, name);
            if inner.is_empty() {
                continue;
            }
            if volume.is_some_and(Volume::is_image) {
                errors.push(FieldError::invalid(
                    path.field(name),
                    inner,
                    "not allowed in image volume sources",
                ));
            }
            if name == "subPathExpr" && !text(mount, "subPath").is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.push(FieldError::invalid(path.field(name), inner, why));
            }
            volume::descending(inner, &field.field(name), errors);
        }
        propagation(mount, container, field, errors);
    }
}

/// Whether mounts below a mount are seen on the other side. The place of what is wrong is that of all mounts.
fn propagation(mount: &Value, container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(mount, "mountPropagation", &["Bidirectional", "HostToContainer", "None"], path, errors);
    let how = text(mount, "mountPropagation");
    if how == "Bidirectional" && !flag(at(container, "securityContext"), "privileged") {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(path.field("mountPropagation"), why));
    }
    let field = path.field("recursiveReadOnly");
    match text(mount, "recursiveReadOnly") {
        "Enabled" | "IfPossible" => {
            if !flag(mount, "readOnly") {
                errors.push(FieldError::forbidden(field, "may only be specified when readOnly is true"));
            }
            if !matches!(how, "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(field, why));
            }
        }
        _ => one_of(mount, "recursiveReadOnly", &["Disabled", "Enabled", "IfPossible"], path, errors),
    }
}

fn devices(container: &Value, volumes: &[Volume<'_>], field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mounts = list(container, "volumeMounts");
    let (mut seen, mut places): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (index, device) in list(container, "volumeDevices").iter().enumerate() {
        let path = field.index(index);
        let (name, place) = (text(device, "name"), text(device, "devicePath"));
        let mut wrong = |field: &str, value: &str, why: &str| {
            errors.push(FieldError::invalid(path.field(field), value, why));
        };
        if seen.contains(&name) {
            wrong("name", name, "must be unique");
        }
        if places.contains(&place) {
            wrong("devicePath", place, "must be unique");
        }
        if place.split('/').any(|step| step == "..") {
            wrong("devicePath", place, "can not contain backsteps ('..')");
        } else {
            places.push(place);
        }
        if mounts.iter().any(|mount| text(mount, "name") == name) {
            wrong("name", name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| text(mount, "mountPath") == place) {
            wrong("devicePath", place, "must not already exist as a path in volumeMounts");
        }
        seen.push(name);
        required(device, "name", &path, errors);
        required(device, "devicePath", &path, errors);
        match volumes.iter().find(|volume| volume.name == name) {
            None => errors.push(FieldError::not_found(path.field("name"), name)),
            Some(volume) if !volume.is_claim() => {
                let why =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(path.field("name"), name, why));
            }
            Some(_) => {}
        }
    }
}

fn resize_policy(container: &Value, spec: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, policy) in list(container, "resizePolicy").iter().enumerate() {
        let (name, how) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(field.index(index), name));
        }
        seen.push(name);
        for (value, supported) in [(name, ["cpu", "memory"]), (how, ["NotRequired", "RestartContainer"])] {
            if value.is_empty() {
                errors.push(FieldError::required(field, ""));
            } else if !supported.contains(&value) {
                errors.push(FieldError::not_supported(field, value, &supported));
            }
        }
        if text(spec, "restartPolicy") == "Never" && how != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(field, how, why));
        }
    }
}

/// The devices that a pod claims.
pub(super) fn pod_claims<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) -> Vec<&'a str> {
    let field = path.field("resourceClaims");
    let mut names_of: Vec<&str> = Vec::new();
    for (index, claim) in list(spec, "resourceClaims").iter().enumerate() {
        let path = field.index(index);
        let name = text(claim, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if names_of.contains(&name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        } else {
            all_wrong(names::dns_label(name), name, path.field("name"), errors);
            names_of.push(name);
        }
        let (own, template) = (has(claim, "resourceClaimName"), has(claim, "resourceClaimTemplateName"));
        // The value is shown as the server's own type writes it.
        let shown = json!({
            "Name": name,
            "ResourceClaimName": at(claim, "resourceClaimName"),
            "ResourceClaimTemplateName": at(claim, "resourceClaimTemplateName"),
        });
        match (own, template) {
            (true, true) => {
                let why =
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(FieldError::invalid(path, shown, why));
            }
            (false, false) => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(FieldError::invalid(path, shown, why));
            }
            _ => {}
        }
        for name in ["resourceClaimName", "resourceClaimTemplateName"] {
            if has(claim, name) {
                let value = text(claim, name);
                all_wrong(names::dns_subdomain(value), value, path.field(name), errors);
            }
        }
    }
    names_of
}

/// A number that must not be less than zero, of any owner: probes use it.
pub(super) fn counts(owner: &Value, fields: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    fields.iter().for_each(|name| not_negative(owner, name, path, errors));
}
