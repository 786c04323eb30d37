//! What a kubelet may do: the rules of the role `system:node`, and of Secrets, ConfigMaps, claims, volumes and service
//! accounts only those that a pod on its node needs.
//!
//! What the pods of a node need is not kept anywhere: the store has an index of the pods of each node, and a question
//! looks through those that mention the name. So the answer is never behind.

use std::sync::Arc;

use api::status::Status;
use serde_json::Value;
use store::{Bucket, Entry, Key, Scope, Snapshot, Store};

use super::Rule;
use crate::pipeline::{Attributes, UserInfo, node_term, object_of};

const GROUP: &str = "system:nodes";
const PREFIX: &str = "system:node:";

/// The name of the node whose kubelet the user is; `None` where it is none.
pub(super) fn name(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(PREFIX)?;
    user.groups.iter().any(|group| group == GROUP).then_some(name)
}

/// Says why not, which may be for no special reason.
pub(super) fn authorize(
    node: &str,
    asked: &Attributes<'_>,
    store: &Store,
    rules: &[Rule],
) -> Result<(), String> {
    if node.is_empty() {
        return Err(format!("unknown node for user {:?}", asked.user.name));
    }
    if asked.path.is_empty() {
        let of = |kind| Wanted { kind, namespace: asked.namespace, name: asked.name };
        let read = matches!(asked.verb, "get" | "list" | "watch");
        match (asked.group, asked.resource, asked.subresource) {
            ("", "secrets" | "configmaps", part) => {
                if !read {
                    return Err("can only read resources of this type".to_owned());
                }
                if !part.is_empty() {
                    return Err("cannot read subresource".to_owned());
                }
                if asked.namespace.is_empty() {
                    return Err("can only read namespaced object of this type".to_owned());
                }
                let kind = if asked.resource == "secrets" { Kind::Secret } else { Kind::ConfigMap };
                return related(node, &of(kind), store);
            }
            ("", "persistentvolumeclaims", "status") => {
                if !matches!(asked.verb, "get" | "update" | "patch") {
                    return Err("can only get/update/patch this type".to_owned());
                }
                return related(node, &of(Kind::Claim), store);
            }
            ("", "persistentvolumeclaims", _) => {
                return individual(asked, || related(node, &of(Kind::Claim), store));
            }
            ("", "persistentvolumes", _) => {
                return individual(asked, || match on_node(node, asked.name, store) {
                    true => Ok(()),
                    false => related(node, &of(Kind::Volume), store),
                });
            }
            ("storage.k8s.io", "volumeattachments", _) => {
                return individual(asked, || attached(node, asked.name, store));
            }
            ("", "serviceaccounts", "token") => {
                if asked.verb != "create" {
                    return Err("can only create tokens for individual service accounts".to_owned());
                }
                return related(node, &of(Kind::Account), store);
            }
            ("", "serviceaccounts", _) => {
                return individual(asked, || related(node, &of(Kind::Account), store));
            }
            ("coordination.k8s.io", "leases", _) => return lease(node, asked),
            ("storage.k8s.io", "csinodes", _) => return csi_node(node, asked),
            _ => {}
        }
    }
    if rules.iter().any(|rule| rule.allows(asked)) { Ok(()) } else { Err(String::new()) }
}

/// Whether a volume is a folder of the node, or is gone: the kubelet asks that before it takes the folder away.
fn on_node(node: &str, volume: &str, store: &Store) -> bool {
    let key = Key::new(&Bucket::from("persistentvolumes"), "", volume);
    let snapshot = store.snapshot();
    let Some(entry) = snapshot.get(&key) else { return !volume.is_empty() };
    object_of(entry).is_ok_and(|volume| volume["metadata"]["labels"]["coxswain.io/node"] == node)
}

fn individual(asked: &Attributes<'_>, then: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    if asked.verb != "get" {
        return Err("can only get individual resources of this type".to_owned());
    }
    if !asked.subresource.is_empty() {
        return Err("cannot get subresource".to_owned());
    }
    then()
}

fn lease(node: &str, asked: &Attributes<'_>) -> Result<(), String> {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_owned());
    }
    if asked.namespace != "kube-node-lease" {
        return Err(format!("can only access leases in the {:?} system namespace", "kube-node-lease"));
    }
    // Of a new lease the name is not known yet; NodeRestriction looks at it.
    if asked.verb != "create" && asked.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn csi_node(node: &str, asked: &Attributes<'_>) -> Result<(), String> {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a CSINode".to_owned());
    }
    if !asked.subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".to_owned());
    }
    if asked.verb != "create" && asked.name != node {
        return Err("can only access CSINode with the same name as the requesting node".to_owned());
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Account,
}

struct Wanted<'a> {
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// Whether a pod on the node needs the object.
fn related(node: &str, wanted: &Wanted<'_>, store: &Store) -> Result<(), String> {
    if wanted.name.is_empty() {
        return Err("No Object name found".to_owned());
    }
    let snapshot = store.snapshot();
    let found = match wanted.kind {
        Kind::Volume => claimed_by(&snapshot, wanted.name)
            .is_some_and(|(namespace, claim)| needs(&snapshot, node, &namespace, Kind::Claim, &claim)),
        kind => {
            needs(&snapshot, node, wanted.namespace, kind, wanted.name)
                || kind == Kind::Secret && of_a_volume(&snapshot, node, wanted)
        }
    };
    if found { Ok(()) } else { Err(unrelated(node)) }
}

/// Whether a pod on the node, in that namespace, names the object.
fn needs(snapshot: &Snapshot, node: &str, namespace: &str, kind: Kind, name: &str) -> bool {
    pods(snapshot, node, Some(namespace)).any(|pod| {
        // Most pods do not even mention it, and need not be read. A claim of an ephemeral volume is named after its pod.
        let mentions = kind == Kind::Claim || contains(&pod.value, name.as_bytes());
        mentions && object_of(pod).is_ok_and(|pod| references(&pod, kind, name))
    })
}

fn pods<'a>(
    snapshot: &'a Snapshot,
    node: &str,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    snapshot.list(&Bucket::from("pods"), Scope::Term(node_term(node), namespace), None)
}

fn contains(bytes: &[u8], name: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| std::str::from_utf8(name).is_ok_and(|name| text.contains(name)))
}

/// Whether the pod's spec names the object.
fn references(pod: &Value, kind: Kind, name: &str) -> bool {
    let spec = &pod["spec"];
    let volumes = || spec["volumes"].as_array().into_iter().flatten();
    let projected =
        || volumes().flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    match kind {
        Kind::Account => match spec["serviceAccountName"].as_str() {
            Some(own) if !own.is_empty() => own == name,
            _ => name == "default",
        },
        Kind::Claim => volumes().any(|volume| {
            volume["persistentVolumeClaim"]["claimName"] == name
                || volume["ephemeral"].is_object()
                    && volume["name"].as_str().zip(pod["metadata"]["name"].as_str()).is_some_and(
                        |(volume, pod)| {
                            name.strip_prefix(pod).and_then(|rest| rest.strip_prefix('-')) == Some(volume)
                        },
                    )
        }),
        Kind::ConfigMap => {
            volumes().any(|volume| volume["configMap"]["name"] == name)
                || projected().any(|source| source["configMap"]["name"] == name)
                || environment(spec, "configMapRef", "configMapKeyRef", name)
        }
        Kind::Secret => {
            let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten();
            pulls.into_iter().any(|pull| pull["name"] == name)
                || volumes().any(|volume| {
                    volume["secret"]["secretName"] == name || has_secret_reference(volume, name)
                })
                || projected().any(|source| source["secret"]["name"] == name)
                || environment(spec, "secretRef", "secretKeyRef", name)
        }
        Kind::Volume => false,
    }
}

/// Whether the environment of a container is filled from the object.
fn environment(spec: &Value, whole: &str, key: &str, name: &str) -> bool {
    ["initContainers", "containers", "ephemeralContainers"].iter().any(|list| {
        spec[*list].as_array().into_iter().flatten().any(|container| {
            let sources = container["envFrom"].as_array().into_iter().flatten();
            let variables = container["env"].as_array().into_iter().flatten();
            sources.into_iter().any(|source| source[whole]["name"] == name)
                || variables.into_iter().any(|variable| variable["valueFrom"][key]["name"] == name)
        })
    })
}

/// Whether a kind of volume (CSI, iSCSI, CephFS, …) names the Secret with its credentials.
fn has_secret_reference(volume: &Value, name: &str) -> bool {
    let kinds = volume.as_object().into_iter().flatten().map(|(_, source)| source);
    kinds.into_iter().any(|source| {
        source["secretRef"]["name"] == name
            || source["nodePublishSecretRef"]["name"] == name
            || source["secretName"] == name
    })
}

/// Namespace and name of the claim that a volume is bound to.
fn claimed_by(snapshot: &Snapshot, volume: &str) -> Option<(String, String)> {
    let entry = snapshot.get(&Key::new(&Bucket::from("persistentvolumes"), "", volume))?;
    let object = object_of(entry).ok()?;
    let claim = &object["spec"]["claimRef"];
    Some((claim["namespace"].as_str()?.to_owned(), claim["name"].as_str()?.to_owned()))
}

/// Whether the Secret belongs to a volume that a pod on the node has claimed.
fn of_a_volume(snapshot: &Snapshot, node: &str, wanted: &Wanted<'_>) -> bool {
    let volumes = snapshot.list(&Bucket::from("persistentvolumes"), None, None);
    volumes.into_iter().filter(|entry| contains(&entry.value, wanted.name.as_bytes())).any(|entry| {
        let Ok(object) = object_of(entry) else { return false };
        let spec = &object["spec"];
        let claim = |field: &str| spec["claimRef"][field].as_str().unwrap_or_default();
        let named = |reference: &Value| {
            let place = reference["namespace"].as_str().unwrap_or_else(|| claim("namespace"));
            reference["name"] == wanted.name && place == wanted.namespace
        };
        let sources = spec.as_object().into_iter().flatten().map(|(_, source)| source);
        let names_it = sources.into_iter().any(|source| {
            ["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"]
                .iter()
                .any(|field| named(&source[*field]))
        });
        names_it && needs(snapshot, node, claim("namespace"), Kind::Claim, claim("name"))
    })
}

/// Whether the attachment is of this node.
fn attached(node: &str, name: &str, store: &Store) -> Result<(), String> {
    let key = Key::new(&Bucket::from("volumeattachments.storage.k8s.io"), "", name);
    let found: Option<Result<Value, Status>> = store.snapshot().get(&key).map(|entry| object_of(entry));
    match found {
        Some(Ok(object)) if object["spec"]["nodeName"] == node => Ok(()),
        _ => Err(unrelated(node)),
    }
}
