//! What is wrong with a change of a pod: of the pod, of its ephemeral containers, of its resources, of its status. It
//! runs as it was made, but for a few fields.

use serde_json::{Value, json};

use super::{all_wrong, security};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, map, text};
use crate::kinds::path::Path;
use crate::kinds::pod::quality_of_service;
use crate::names;
use crate::quantity::Quantity;

pub(super) const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const SPEC: Path<'static> = Path::Root("spec");
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A change of the pod itself.
pub(in crate::kinds) fn pod(new_pod: &Value, old_pod: &Value, errors: &mut Vec<FieldError>) {
    annotations(new_pod, old_pod, errors);
    let (new, old) = (at(new_pod, "spec"), at(old_pod, "spec"));
    if new == old {
        return;
    }
    for name in ["containers", "initContainers"] {
        if list(new, name).len() != list(old, name).len() {
            errors.push(FieldError::forbidden(
                SPEC.field(name),
                "pod updates may not add or remove containers",
            ));
            return;
        }
    }
    let deadline = SPEC.field("activeDeadlineSeconds");
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(deadline, Value::Null, why));
        }
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => return,
        (Some(now), Some(before)) if now > before => {
            let why = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(deadline, now, why));
            return;
        }
        _ => {}
    }
    let kept = |toleration: &Value| {
        list(new, "tolerations").iter().any(|now| without_seconds(now) == without_seconds(toleration))
    };
    if !list(old, "tolerations").iter().all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(SPEC.field("tolerations"), why));
    }
    gates(new, old, errors);
    let is_gated = !list(old, "schedulingGates").is_empty();
    if is_gated {
        direction(new, old, errors);
    }
    if fixed(new, is_gated) != fixed(old, is_gated) {
        errors.push(FieldError::forbidden(SPEC, MAY_CHANGE));
    }
}

/// Whether a pod mirrors one that a node has by itself is never changed.
fn annotations(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let own = |pod| at(at(at(pod, "metadata"), "annotations"), MIRROR).clone();
    let metadata = Path::Root("metadata");
    let path = metadata.field("annotations");
    let why = match (own(new), own(old)) {
        (now, before) if now == before => return,
        (_, Value::Null) => "may not add mirror pod annotation",
        _ => "may not remove or update mirror pod annotation",
    };
    errors.push(FieldError::forbidden(path.key(MIRROR), why));
}

fn gates(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("schedulingGates");
    for (index, gate) in list(new, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        if !list(old, "schedulingGates").iter().any(|before| text(before, "name") == name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(field.index(index).field("name"), why));
        }
    }
}

/// A pod that waits at a gate may be told more about where it may go, never less.
fn direction(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let selector = at(new, "nodeSelector");
    let is_kept = map(old, "nodeSelector").all(|(key, value)| selector.get(key) == Some(value));
    if !is_kept {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(SPEC.field("nodeSelector"), selector.clone(), why));
    }
    let affinity = SPEC.field("affinity");
    let of_node = affinity.field("nodeAffinity");
    let required = of_node.field("requiredDuringSchedulingIgnoredDuringExecution");
    let field = required.field("nodeSelectorTerms");
    let terms = |spec| -> Vec<Value> {
        let affinity = at(at(spec, "affinity"), "nodeAffinity");
        list(at(affinity, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms").to_vec()
    };
    let (now, before) = (terms(new), terms(old));
    if before.is_empty() {
        return;
    }
    if now.len() != before.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(field, now, why));
        return;
    }
    for (index, (now, before)) in now.iter().zip(&before).enumerate() {
        let only_adds = ["matchExpressions", "matchFields"]
            .iter()
            .all(|name| list(now, name).starts_with(list(before, name)));
        let was_empty = ["matchExpressions", "matchFields"].iter().all(|name| list(before, name).is_empty());
        if !only_adds || was_empty && now != before {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(field.index(index), now.clone(), why));
        }
    }
}

fn without_seconds(toleration: &Value) -> Value {
    let mut toleration = toleration.clone();
    if let Some(fields) = toleration.as_object_mut() {
        fields.shift_remove("tolerationSeconds");
    }
    toleration
}

/// The spec without what may change.
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
            let affinity = fields.get_mut("affinity").and_then(Value::as_object_mut);
            let is_empty = affinity.is_some_and(|affinity| {
                affinity.shift_remove("nodeAffinity");
                affinity.is_empty()
            });
            if is_empty {
                fields.shift_remove("affinity");
            }
        }
    }
    spec
}

/// A change of the containers for looking at a pod: they are only ever added.
pub(in crate::kinds) fn ephemeral_containers(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if has(at(at(old, "metadata"), "annotations"), MIRROR) {
        *errors = vec![FieldError::forbidden("", "static pods do not support ephemeral containers")];
        return;
    }
    let field = SPEC.field("ephemeralContainers");
    for before in list(at(old, "spec"), "ephemeralContainers") {
        let name = text(before, "name");
        let now = list(at(new, "spec"), "ephemeralContainers")
            .iter()
            .find(|container| text(container, "name") == name);
        let why = match now {
            None => format!("existing ephemeral containers \"{name}\" may not be removed\n"),
            Some(now) if now != before => {
                format!("existing ephemeral containers \"{name}\" may not be changed\n")
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden(field, why));
    }
}

/// A change of what a pod asks for.
pub(in crate::kinds) fn resize(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if has(at(at(old, "metadata"), "annotations"), MIRROR) {
        *errors = vec![FieldError::forbidden("", "static pods cannot be resized")];
        return;
    }
    if text(at(at(old, "spec"), "os"), "name") == "windows" {
        *errors = vec![FieldError::forbidden("", "windows pods cannot be resized")];
        return;
    }
    let class = text(at(old, "status"), "qosClass");
    if class != quality_of_service(new).as_str() {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(SPEC, class, why));
    }
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    for kind in ["initContainers", "containers"] {
        let field = SPEC.field(kind);
        for (index, (now, before)) in list(new, kind).iter().zip(list(old, kind)).enumerate() {
            let at_index = field.index(index);
            let path = at_index.field("resources");
            let (resources, old_resources) = (at(now, "resources"), at(before, "resources"));
            let is_fixed = kind == "initContainers" && text(before, "restartPolicy") != "Always";
            if is_fixed {
                if resources != old_resources {
                    let why = "resources for non-sidecar init containers are immutable";
                    errors.push(FieldError::forbidden(SPEC, why));
                }
                continue;
            }
            resized(now, resources, old_resources, &path, errors);
            if other_resources(resources) != other_resources(old_resources) {
                let why = if kind == "containers" {
                    "only cpu and memory resources are mutable"
                } else {
                    "only cpu and memory resources for sidecar containers are mutable"
                };
                errors.push(FieldError::forbidden(SPEC, why));
            }
        }
    }
}

fn resized(container: &Value, new: &Value, old: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["requests", "limits"] {
        if map(old, name).any(|(resource, _)| at(new, name).get(resource).is_none()) {
            errors
                .push(FieldError::forbidden(path.field(name), format!("resource {name} cannot be removed")));
        }
    }
    let policy = list(container, "resizePolicy")
        .iter()
        .find(|policy| text(policy, "resourceName") == "memory")
        .map_or("", |policy| text(policy, "restartPolicy"));
    if !matches!(policy, "" | "NotRequired") {
        return;
    }
    let limit = |resources| Quantity::parse(text(at(resources, "limits"), "memory")).ok();
    let field = path.field("limits");
    if let (Some(_), None) = (limit(new), limit(old)) {
        let why = "memory limits cannot be added unless resizePolicy is RestartContainer";
        errors.push(FieldError::forbidden(field.key("memory"), why));
    }
}

fn other_resources(resources: &Value) -> Vec<(String, String, Value)> {
    let mut others: Vec<_> = ["limits", "requests"]
        .into_iter()
        .flat_map(|list| {
            map(resources, list)
                .filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory"))
                .map(move |(name, value)| (list.to_owned(), name.clone(), value.clone()))
        })
        .collect();
    others.sort_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
    others
}

/// A change of the status.
pub(in crate::kinds) fn status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const OF_THE_SYSTEM: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
    let (now, before) = (at(new, "status"), at(old, "status"));
    let path = Path::Root("status");
    let metadata = Path::Root("metadata");
    let field = metadata.field("conditions");
    for (index, condition) in list(now, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        if !OF_THE_SYSTEM.contains(&kind) {
            all_wrong(names::qualified(kind), kind, field.index(index).field("Type"), errors);
        }
    }
    let nominated = text(now, "nominatedNodeName");
    if nominated != text(before, "nominatedNodeName") && !nominated.is_empty() {
        all_wrong(names::dns_subdomain(nominated), nominated, path.field("nominatedNodeName"), errors);
    }
    if text(now, "qosClass") != text(before, "qosClass") {
        errors.push(FieldError::immutable(path.field("qosClass"), at(now, "qosClass")));
    }
    let spec = at(old, "spec");
    for (name, containers) in [
        ("containerStatuses", None),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        let policy = if name == "ephemeralContainerStatuses" { "Never" } else { text(spec, "restartPolicy") };
        transitions(now, before, name, (policy, containers.map(|kind| list(spec, kind))), &path, errors);
    }
    for (name, single) in [("podIPs", "podIP"), ("hostIPs", "hostIP")] {
        addresses(now, name, single, &path, errors);
    }
}

/// A container that has ended for good stays so.
fn transitions(
    now: &Value,
    before: &Value,
    name: &str,
    (policy, of): (&str, Option<&[Value]>),
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    if policy == "Always" {
        return;
    }
    let field = path.field(name);
    for (index, old) in list(before, name).iter().enumerate() {
        let ended = at(at(old, "state"), "terminated");
        if ended.is_null() || int(ended, "exitCode") != Some(0) && policy == "OnFailure" {
            continue;
        }
        let own = text(old, "name");
        let container = of.and_then(|of| of.iter().find(|container| text(container, "name") == own));
        if container.is_some_and(|container| text(container, "restartPolicy") == "Always") {
            continue;
        }
        // Containers may have rules of their own.
        if of.is_none() && policy != "Never" {
            continue;
        }
        let restarted = list(now, name)
            .iter()
            .any(|status| text(status, "name") == own && !has(at(status, "state"), "terminated"));
        if restarted {
            let why = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(field.index(index).field("state"), why));
        }
    }
}

fn addresses(status: &Value, name: &str, single: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field(name);
    let all: Vec<&str> = list(status, name).iter().map(|address| text(address, "ip")).collect();
    if single == "hostIP" && all.first().is_some_and(|first| *first != text(status, single)) {
        let why = "must be equal to `hostIP`";
        errors.push(FieldError::invalid(field.index(0).field("ip"), all[0], why));
    }
    for (index, address) in all.iter().enumerate() {
        if let Some(why) = names::ip(address) {
            errors.push(FieldError::invalid(field.index(index), *address, why));
        }
    }
    if all.len() > 1 && !security::is_dual(&all) {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(field, at(status, name).clone(), why));
    }
}
