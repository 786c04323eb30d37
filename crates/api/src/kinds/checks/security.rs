//! What is wrong with what a PodSpec says about as whom and with which rights it runs.

use serde_json::{Value, json};

use super::one_of;
use super::volume::descending;
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

fn ids(context: &Value, fields: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in fields {
        if let Some(id) = int(context, name)
            && let Some(why) = names::in_range(id, 0, i64::from(i32::MAX))
        {
            errors.push(FieldError::invalid(path.field(name), id, why));
        }
    }
}

/// The rights of the pod.
pub(super) fn of_pod(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let context = at(spec, "securityContext");
    let path = path.field("securityContext");
    ids(context, &["fsGroup", "runAsUser", "runAsGroup"], &path, errors);
    let field = path.field("supplementalGroups");
    for (index, group) in list(context, "supplementalGroups").iter().filter_map(Value::as_i64).enumerate() {
        if let Some(why) = names::in_range(group, 0, i64::from(i32::MAX)) {
            errors.push(FieldError::invalid(field.index(index), group, why));
        }
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path.field("shareProcessNamespace"), true, why));
    }
    sysctls(context, spec, &path.field("sysctls"), errors);
    one_of(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path, errors);
    profiles(context, &path, errors);
    one_of(context, "supplementalGroupsPolicy", &["Merge", "Strict"], &path, errors);
    one_of(context, "seLinuxChangePolicy", &["MountOption", "Recursive"], &path, errors);
}

fn sysctls(context: &Value, spec: &Value, field: &Path<'_>, errors: &mut Vec<FieldError>) {
    const FORM: &str = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen: Vec<&str> = Vec::new();
    for (index, sysctl) in list(context, "sysctls").iter().enumerate() {
        let at_index = field.index(index);
        let path = at_index.field("name");
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(is_segment) {
            errors.push(FieldError::invalid(path, name, FORM));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(path, name));
        }
        seen.push(name);
        let dotted = name.replace('/', ".");
        let of_network = dotted.starts_with("net.");
        let of_messages =
            ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|kind| dotted.starts_with(kind))
                || dotted == "kernel.sem";
        if of_network && flag(spec, "hostNetwork") {
            errors.push(FieldError::invalid(path, name, "may not be specified when 'hostNetwork' is true"));
        } else if of_messages && flag(spec, "hostIPC") {
            errors.push(FieldError::invalid(path, name, "may not be specified when 'hostIPC' is true"));
        }
    }
}

fn is_segment(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'))
        && text.bytes().next().is_some_and(is_plain)
        && text.bytes().last().is_some_and(is_plain)
}

/// The rights of a container.
pub(super) fn of_container(context: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if context.is_null() {
        return;
    }
    ids(context, &["runAsUser", "runAsGroup"], path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    let shares_users = at(spec, "hostUsers") != &Value::Bool(false);
    if text(context, "procMount") == "Unmasked" && shares_users {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(path.field("procMount"), "Unmasked", why));
    }
    profiles(context, path, errors);
    if at(context, "allowPrivilegeEscalation") != &Value::Bool(false) {
        return;
    }
    if flag(context, "privileged") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, as_written(context), why));
    }
    for capability in list(at(context, "capabilities"), "add") {
        if capability == "CAP_SYS_ADMIN" {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, as_written(context), why));
        }
    }
}

/// The value as the server's own type writes it.
fn as_written(context: &Value) -> Value {
    let capabilities = match at(context, "capabilities") {
        Value::Null => Value::Null,
        own => json!({"Add": at(own, "add"), "Drop": at(own, "drop")}),
    };
    json!({
        "Capabilities": capabilities,
        "Privileged": at(context, "privileged"),
        "SELinuxOptions": at(context, "seLinuxOptions"),
        "WindowsOptions": at(context, "windowsOptions"),
        "RunAsUser": at(context, "runAsUser"),
        "RunAsGroup": at(context, "runAsGroup"),
        "RunAsNonRoot": at(context, "runAsNonRoot"),
        "ReadOnlyRootFilesystem": at(context, "readOnlyRootFilesystem"),
        "AllowPrivilegeEscalation": at(context, "allowPrivilegeEscalation"),
        "ProcMount": at(context, "procMount"),
        "SeccompProfile": at(context, "seccompProfile"),
        "AppArmorProfile": at(context, "appArmorProfile"),
    })
}

fn profiles(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
    for (name, what) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = at(context, name);
        if profile.is_null() {
            continue;
        }
        let path = path.field(name);
        if text(profile, "type").is_empty() {
            let why = format!("type is required when {name} is set");
            errors.push(FieldError::required(path.field("type"), why));
        } else {
            one_of(profile, "type", &TYPES, &path, errors);
        }
        let field = path.field("localhostProfile");
        let place = text(profile, "localhostProfile");
        let is_set = has(profile, "localhostProfile");
        if text(profile, "type") != "Localhost" {
            if is_set {
                let why = format!("can only be set when {what} type is Localhost");
                let shown = if what == "seccomp" {
                    json!({"Type": text(profile, "type"), "LocalhostProfile": place})
                } else {
                    place.into()
                };
                errors.push(FieldError::invalid(field, shown, why));
            }
        } else if !is_set || what == "AppArmor" && place.trim().is_empty() && place.trim() == place {
            errors.push(FieldError::required(field, format!("must be set when {what} type is Localhost")));
        } else if what == "seccomp" {
            descending(place, &field, errors);
        } else if place.trim() != place {
            errors.push(FieldError::invalid(field, place, "must not be padded with whitespace"));
        }
    }
}

/// A pod with users of its own shares none of the other namespaces with its node; one for Windows knows nothing of
/// what is Linux's.
pub(super) fn of_node(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if at(spec, "hostUsers") == &Value::Bool(false) {
        for (name, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if flag(spec, name) {
                errors.push(FieldError::forbidden(path.field(shown), "when `pod.Spec.HostUsers` is false"));
            }
        }
    }
    let system = at(spec, "os");
    if system.is_null() {
        return;
    }
    let field = path.field("os");
    match text(system, "name") {
        "" => errors.push(FieldError::required(field.field("name"), "cannot be empty")),
        "linux" => {
            let why = "windows options cannot be set for a linux pod";
            unwanted(spec, &["windowsOptions"], &["windowsOptions"], why, path, errors);
        }
        "windows" => windows(spec, path, errors),
        other => errors.push(FieldError::not_supported(field, other, &["linux", "windows"])),
    }
}

fn windows(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const WHY: &str = "cannot be set for a windows pod";
    let of_pod = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    let of_container = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    for name in ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"] {
        if has(spec, name) {
            errors.push(FieldError::forbidden(path.field(name), WHY));
        }
    }
    unwanted(spec, &of_pod, &of_container, WHY, path, errors);
}

/// Fields of the security contexts that a pod for another system has.
fn unwanted(
    spec: &Value,
    of_pod: &[&str],
    of_container: &[&str],
    why: &str,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let field = path.field("securityContext");
    for name in of_pod.iter().filter(|name| has(at(spec, "securityContext"), name)) {
        errors.push(FieldError::forbidden(field.field(name), why));
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let field = path.field(kind);
        for (index, container) in list(spec, kind).iter().enumerate() {
            let context = at(container, "securityContext");
            for name in of_container.iter().filter(|name| has(context, name)) {
                let at_index = field.index(index);
                errors.push(FieldError::forbidden(at_index.field("securityContext").field(name), why));
            }
        }
    }
}

/// Whether addresses are one of each family.
pub(super) fn is_dual(addresses: &[&str]) -> bool {
    let is_new = |address: &&str| address.contains(':');
    matches!(addresses, [first, second] if is_new(first) != is_new(second))
}
