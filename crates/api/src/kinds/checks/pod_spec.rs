//! What is wrong with a PodSpec, wherever it stands, and with a change of a pod.

use serde_json::{Value, json};

use super::{all_wrong, container, formed, not_negative, one_of, scheduling, volume};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, map, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;

/// What is wrong with a pod.
pub(in crate::kinds) fn pod(pod: &Value, errors: &mut Vec<FieldError>) {
    validate(at(pod, "spec"), &Path::Root("spec"), errors);
}

/// What is wrong with a PodSpec.
pub(in crate::kinds) fn validate(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let volumes = volume::validate(spec, path, errors);
    container::validate(spec, &volumes, path, errors);
    one_of(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    one_of(spec, "dnsPolicy", &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], path, errors);
    formed(spec, "serviceAccountName", names::dns_subdomain, path, errors);
    formed(spec, "nodeName", names::dns_subdomain, path, errors);
    formed(spec, "priorityClassName", names::dns_subdomain, path, errors);
    formed(spec, "hostname", names::dns_label, path, errors);
    formed(spec, "subdomain", names::dns_label, path, errors);
    metadata::labels(at(spec, "nodeSelector"), &path.field("nodeSelector"), errors);
    if let Some(seconds) = int(spec, "activeDeadlineSeconds")
        && let Some(why) = names::in_range(seconds, 1, i64::from(i32::MAX))
    {
        errors.push(FieldError::invalid(path.field("activeDeadlineSeconds"), seconds, why));
    }
    not_negative(spec, "terminationGracePeriodSeconds", path, errors);
    if text(spec, "dnsPolicy") == "None" && list(at(spec, "dnsConfig"), "nameservers").is_empty() {
        let field = path.field("dnsConfig");
        if has(spec, "dnsConfig") {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(field.field("nameservers"), why));
        } else {
            errors.push(FieldError::required(field, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
    }
    scheduling::validate(spec, path, errors);
    let field = path.field("tolerations");
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        check_toleration(toleration, &field.index(index), errors);
    }
    let field = path.field("hostAliases");
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        let field = field.index(index);
        if let Some(why) = names::ip(text(alias, "ip")) {
            errors.push(FieldError::invalid(field.field("ip"), text(alias, "ip"), why));
        }
        let hosts = field.field("hostnames");
        for host in list(alias, "hostnames").iter().filter_map(Value::as_str) {
            all_wrong(names::dns_subdomain(host), host, hosts, errors);
        }
    }
}

fn check_toleration(toleration: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (key, operator, effect) =
        (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
    if key.is_empty() {
        if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.field("operator"), operator, why));
        }
    } else {
        all_wrong(names::qualified(key), key, path.field("key"), errors);
    }
    if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(path.field("effect"), effect, why));
    }
    match operator {
        "" | "Equal" => formed(toleration, "value", names::label_value, path, errors),
        "Exists" => {
            if !text(toleration, "value").is_empty() {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.field("operator"), toleration.clone(), why));
            }
        }
        other => errors.push(FieldError::not_supported(path.field("operator"), other, &["Equal", "Exists"])),
    }
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        let supported = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.push(FieldError::not_supported(path.field("effect"), effect, &supported));
    }
}

pub(super) const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with a change of a pod: it runs as it was made, but for a few fields.
pub(in crate::kinds) fn pod_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    if new == old {
        return;
    }
    let path = Path::Root("spec");
    for name in ["containers", "initContainers"] {
        if list(new, name).len() != list(old, name).len() {
            errors.push(FieldError::forbidden(
                path.field(name),
                "pod updates may not add or remove containers",
            ));
            return;
        }
    }
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path.field("activeDeadlineSeconds"), Value::Null, why));
        }
        (Some(now), Some(before)) if now > before => {
            let why = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(path.field("activeDeadlineSeconds"), now, why));
        }
        _ => {}
    }
    let kept = |toleration: &Value| {
        list(new, "tolerations")
            .iter()
            .any(|now| now == toleration || (without_seconds(now) == without_seconds(toleration)))
    };
    if !list(old, "tolerations").iter().all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path.field("tolerations"), why));
    }
    let gates =
        |spec| list(spec, "schedulingGates").iter().map(|gate| text(gate, "name")).collect::<Vec<_>>();
    let (gates_now, gates_before) = (gates(new), gates(old));
    if gates_now.iter().any(|gate| !gates_before.contains(gate)) {
        let why = "only deletion is allowed, but found new scheduling gate";
        errors.push(FieldError::forbidden(path.field("schedulingGates"), why));
    }
    if fixed(new, !gates_before.is_empty()) != fixed(old, !gates_before.is_empty()) {
        errors.push(FieldError::forbidden(path, MAY_CHANGE));
    }
}

fn without_seconds(toleration: &Value) -> Value {
    let mut toleration = toleration.clone();
    if let Some(fields) = toleration.as_object_mut() {
        fields.shift_remove("tolerationSeconds");
    }
    toleration
}

/// The spec without what may change. A pod that waits at a gate may still be told where to go.
fn fixed(spec: &Value, is_gated: bool) -> Value {
    let mut spec = spec.clone();
    for name in ["containers", "initContainers"] {
        for container in spec.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            container["image"] = json!("");
        }
    }
    let negative =
        int(&spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0 || seconds == 1);
    if let Some(fields) = spec.as_object_mut() {
        for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            fields.shift_remove(name);
        }
        if negative {
            fields.shift_remove("terminationGracePeriodSeconds");
        }
        if is_gated {
            fields.shift_remove("nodeSelector");
            fields.shift_remove("affinity");
        }
    }
    spec
}

/// The template of a workload: its metadata and its spec.
pub(in crate::kinds) fn template(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let own = at(template, "metadata");
    let field = path.field("metadata");
    metadata::labels(at(own, "labels"), &field.field("labels"), errors);
    metadata::annotations(own, &field.field("annotations"), errors);
    validate(at(template, "spec"), &path.field("spec"), errors);
    if list(at(template, "spec"), "ephemeralContainers").iter().next().is_some() {
        let field = path.field("spec");
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(field.field("ephemeralContainers"), why));
    }
}

/// Whether the network of the node is the pod's.
pub(super) fn on_host_network(spec: &Value) -> bool {
    flag(spec, "hostNetwork")
}

/// The entries of a resource list with their amounts, as text.
pub(super) fn amounts<'a>(owner: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, String)> {
    map(owner, name).map(|(resource, amount)| {
        (resource.as_str(), amount.as_str().map_or_else(|| amount.to_string(), str::to_owned))
    })
}
