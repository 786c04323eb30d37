//! NodeRestriction: a kubelet touches its own node, lease and pods, and nothing else.

use std::collections::BTreeSet;

use api::status::Status;
use serde_json::{Map, Value};

use super::service_account::{containers, secrets_of};
use super::{MIRROR, Operation, Request, items, quoted, read, text};
use crate::pipeline::{Subresource, UserInfo};

const NODES: &str = "system:nodes";
const USER: &str = "system:node:";
const LEASES: &str = "kube-node-lease";
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Labels of the domains of Kubernetes that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// The node that a kubelet is of; the whole user name where it is none of a node.
pub(super) fn node_of(user: &UserInfo) -> Option<Result<&str, &str>> {
    if !user.groups.iter().any(|group| group == NODES) || !user.name.starts_with(USER) {
        return None;
    }
    match &user.name[USER.len()..] {
        "" => Some(Err(&user.name)),
        node => Some(Ok(node)),
    }
}

/// Refuses what a kubelet may not do.
pub(super) fn check(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let node = match node_of(request.user) {
        None => return Ok(()),
        Some(Ok(node)) => node,
        Some(Err(user)) => {
            let why = format_args!("could not determine node from user {}", quoted(user)).to_string();
            return Err(request.forbid(object, why));
        }
    };
    let decided = match &*request.def.bucket {
        "pods" => pod(request, node, object, old),
        "nodes" => own_node(request, node, object, old),
        "persistentvolumeclaims" => claim(request, node, object, old),
        "serviceaccounts" => token(request, node, object),
        "leases.coordination.k8s.io" if request.namespace != LEASES => {
            Err(format!("can only access leases in the {} system namespace", quoted(LEASES)))
        }
        "leases.coordination.k8s.io" if name_of(request, object) != node => {
            Err("can only access node lease with the same name as the requesting node".to_owned())
        }
        "csinodes.storage.k8s.io" if name_of(request, object) != node => {
            Err("can only access CSINode with the same name as the requesting node".to_owned())
        }
        _ => Ok(()),
    };
    decided.map_err(|why| request.forbid(object, why))
}

fn name_of<'a>(request: &Request<'a>, object: Option<&'a Value>) -> &'a str {
    match object.map(|object| text(&object["metadata"], "name")) {
        Some(name) if !name.is_empty() => name,
        _ => request.name,
    }
}

type Decided = Result<(), String>;

fn pod(request: &Request<'_>, node: &str, object: Option<&Value>, old: Option<&Value>) -> Decided {
    let quoted_node = quoted(node);
    let on_node = |pod: Option<&Value>| pod.is_some_and(|pod| text(&pod["spec"], "nodeName") == node);
    match (request.subresource, request.operation) {
        (None, Operation::Create) => object.map_or(Ok(()), |pod| mirror(request, node, pod)),
        (None, Operation::Delete) if on_node(old) => Ok(()),
        (None, Operation::Delete) => {
            Err(format!("node {quoted_node} can only delete pods with spec.nodeName set to itself"))
        }
        (None, Operation::Update | Operation::Connect) => Err(format!(
            "unexpected operation {}, node {quoted_node} can only create and delete mirror pods",
            quoted(request.operation.as_str())
        )),
        (Some(Subresource::Status), Operation::Update) => {
            if !on_node(old) {
                return Err(format!(
                    "node {quoted_node} can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            let labels = |pod: Option<&Value>| {
                pod.and_then(|pod| pod["metadata"]["labels"].as_object().cloned()).unwrap_or_default()
            };
            if labels(object) != labels(old) {
                return Err(format!("node {quoted_node} cannot update labels through pod status"));
            }
            Ok(())
        }
        (Some(Subresource::Eviction), _) if on_node(old) => Ok(()),
        (Some(Subresource::Eviction), _) => {
            Err(format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        (Some(other), _) => Err(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quoted(other.as_str())
        )),
    }
}

/// A kubelet makes only pods that mirror its own files, and they refer to nothing in the API but its node.
fn mirror(request: &Request<'_>, name: &str, pod: &Value) -> Decided {
    let node = quoted(name);
    if pod["metadata"]["annotations"].get(MIRROR).is_none() {
        return Err(format!(
            "pod does not have {} annotation, node {node} can only create mirror pods",
            quoted(MIRROR)
        ));
    }
    let refuse = |why: &str| Err(format!("node {node} {why}"));
    if text(&pod["spec"], "nodeName") != name {
        return refuse("can only create pods with spec.nodeName set to itself");
    }
    let owners: Vec<&Value> = items(&pod["metadata"], "ownerReferences").collect();
    let owner = match owners.as_slice() {
        [owner] => *owner,
        [] => return refuse("can only create pods with an owner reference set to itself"),
        _ => return refuse("can only create pods with a single owner reference set to itself"),
    };
    if text(owner, "apiVersion") != "v1" || text(owner, "kind") != "Node" || text(owner, "name") != name {
        return refuse("can only create pods with an owner reference set to itself");
    }
    if owner["controller"] != true {
        return refuse("can only create pods with a controller owner reference set to itself");
    }
    if owner["blockOwnerDeletion"] == true {
        return refuse("must not set blockOwnerDeletion on an owner reference");
    }
    let Some(stored) = request.find("nodes", "", name).and_then(read) else {
        return Err(format!("node {node} not found"));
    };
    let (given, own) = (text(owner, "uid"), text(&stored["metadata"], "uid"));
    if given != own {
        return Err(format!("node {name} UID mismatch: expected {given} got {own}"));
    }
    if !text(&pod["spec"], "serviceAccountName").is_empty() {
        return refuse("can not create pods that reference a service account");
    }
    if secrets_of(pod).next().is_some() {
        return refuse("can not create pods that reference secrets");
    }
    let volumes = || items(&pod["spec"], "volumes");
    let sources = || volumes().flat_map(|volume| items(&volume["projected"], "sources"));
    let reads_config = containers(pod).any(|container| {
        items(container, "envFrom").any(|source| source.get("configMapRef").is_some())
            || items(container, "env").any(|one| one["valueFrom"].get("configMapKeyRef").is_some())
    });
    if reads_config
        || volumes().any(|volume| volume.get("configMap").is_some())
        || sources().any(|source| source.get("configMap").is_some())
    {
        return refuse("can not create pods that reference configmaps");
    }
    if sources().any(|source| source.get("clusterTrustBundle").is_some()) {
        return refuse("can not create pods that reference clustertrustbundles");
    }
    if volumes().any(|volume| volume.get("persistentVolumeClaim").is_some()) {
        return refuse("can not create pods that reference persistentvolumeclaims");
    }
    Ok(())
}

fn own_node(request: &Request<'_>, name: &str, object: Option<&Value>, old: Option<&Value>) -> Decided {
    let node = quoted(name);
    let requested = name_of(request, object);
    if requested != name {
        return Err(format!("node {node} is not allowed to modify node {}", quoted(requested)));
    }
    let (Some(object), true) = (object, request.operation != Operation::Delete) else { return Ok(()) };
    let none = Map::new();
    let labels = |object: &'_ Value| object["metadata"]["labels"].as_object().cloned();
    let (new, before) =
        (labels(object).unwrap_or_default(), old.and_then(labels).unwrap_or_else(|| none.clone()));
    let changed: BTreeSet<&String> =
        new.keys().chain(before.keys()).filter(|key| new.get(*key) != before.get(*key)).collect();
    let refused: Vec<&str> = changed.into_iter().map(String::as_str).filter(|key| !may_label(key)).collect();
    let Some(old) = old else {
        if !refused.is_empty() {
            let refused = refused.join(", ");
            return Err(format!("node {node} is not allowed to set the following labels: {refused}"));
        }
        return Ok(());
    };
    let taints = |object: &Value| object["spec"]["taints"].as_array().cloned().unwrap_or_default();
    if taints(object) != taints(old) {
        return Err(format!("node {node} is not allowed to modify taints"));
    }
    if !refused.is_empty() {
        return Err(format!("is not allowed to modify labels: {}", refused.join(", ")));
    }
    Ok(())
}

/// Whether a kubelet may set the label on its node: it must not draw pods to itself.
fn may_label(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within(RESTRICTED) {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    KUBELET_LABELS.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io")
}

fn claim(request: &Request<'_>, node: &str, object: Option<&Value>, old: Option<&Value>) -> Decided {
    if request.subresource != Some(Subresource::Status) {
        return Err("may only update PVC status".to_owned());
    }
    let (Some(mut new), Some(mut old)) = (object.cloned(), old.cloned()) else { return Ok(()) };
    for claim in [&mut new, &mut old] {
        for field in ["resourceVersion", "managedFields"] {
            claim["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove(field));
        }
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            claim["status"].as_object_mut().and_then(|status| status.shift_remove(field));
        }
    }
    if new != old {
        return Err(format!(
            "node {} is not allowed to update fields other than status.capacity and status.conditions",
            quoted(node)
        ));
    }
    Ok(())
}

/// A kubelet gets tokens for pods that run on its node, and for no other.
fn token(request: &Request<'_>, node: &str, object: Option<&Value>) -> Decided {
    let (Some(Subresource::Token), Some(object)) = (request.subresource, object) else { return Ok(()) };
    let bound = &object["spec"]["boundObjectRef"];
    let is_pod = text(bound, "apiVersion") == "v1" && text(bound, "kind") == "Pod";
    let (name, uid) = (text(bound, "name"), text(bound, "uid"));
    if !is_pod || name.is_empty() {
        return Err("node requested token not bound to a pod".to_owned());
    }
    if uid.is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    let Some(pod) = request.find("pods", request.namespace, name).and_then(read) else {
        return Err(format!("pod {} not found", quoted(name)));
    };
    if text(&pod["metadata"], "uid") != uid {
        return Err(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if text(&pod["spec"], "nodeName") != node {
        return Err("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    Ok(())
}
