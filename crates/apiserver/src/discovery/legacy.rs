//! The legacy discovery documents: groups, their versions, and the resources of each version.

use std::net::SocketAddr;

use api::gvk::GroupVersion;
use api::registry::{Registry, ResourceDef};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{aliases, sorted};

/// `/api`: the versions of the core group.
pub(super) fn versions(address: SocketAddr) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string()}],
    })
}

/// Every group but the core group with its document, in order.
pub(super) fn groups(versions: &[GroupVersion]) -> Vec<(String, Value)> {
    let mut groups: Vec<(String, Vec<&GroupVersion>)> = Vec::new();
    for own in versions.iter().filter(|own| !own.group.is_empty()) {
        match groups.iter_mut().find(|(name, _)| *name == own.group) {
            Some((_, versions)) => versions.push(own),
            None => groups.push((own.group.clone(), vec![own])),
        }
    }
    groups
        .into_iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|own| json!({"groupVersion": own.to_string(), "version": own.version}))
                .collect();
            let group = json!({
                "kind": "APIGroup",
                "apiVersion": "v1",
                "name": name,
                "versions": versions,
                "preferredVersion": versions[0],
            });
            (name, group)
        })
        .collect()
}

/// `/apis`.
pub(super) fn group_list(groups: &[(String, Value)]) -> Value {
    let groups: Vec<Value> = groups
        .iter()
        .map(|(name, group)| {
            json!({
                "name": name,
                "versions": group["versions"],
                "preferredVersion": group["preferredVersion"],
            })
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn resources(registry: &Registry, own: &GroupVersion) -> Value {
    let mut all = Vec::new();
    for def in sorted(registry, &own.group, &own.version) {
        all.push(resource(&def));
        all.extend(def.subresources.iter().map(|part| subresource(&def, part)));
    }
    let mut document = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": own.to_string(),
        "resources": all,
    });
    if let (true, Some(fields)) = (own.group.is_empty(), document.as_object_mut()) {
        fields.shift_remove("apiVersion");
    }
    document
}

fn resource(def: &ResourceDef) -> Value {
    let mut resource = json!({
        "name": def.plural,
        "singularName": def.singular,
        "namespaced": def.namespaced,
        "kind": def.kind,
        "verbs": def.verbs,
    });
    let (short_names, categories) = aliases(def);
    if !short_names.is_empty() {
        resource["shortNames"] = json!(short_names);
    }
    if !categories.is_empty() {
        resource["categories"] = json!(categories);
    }
    if def.has_verb("update") {
        resource["storageVersionHash"] = storage_hash(def).into();
    }
    resource
}

fn subresource(def: &ResourceDef, part: &api::registry::Subresource) -> Value {
    let mut resource = json!({
        "name": format!("{}/{}", def.plural, part.name),
        "singularName": "",
        "namespaced": def.namespaced,
        "kind": part.kind,
        "verbs": part.verbs,
    });
    if part.group != def.group || part.version != def.version {
        resource["group"] = json!(part.group);
        resource["version"] = json!(part.version);
    }
    resource
}

/// Tells clients whether a resource is stored as before: eight bytes of the hash of group, version and kind.
fn storage_hash(def: &ResourceDef) -> String {
    // Kubernetes 1.36 still stores these in the version before; to clients the hash is a fact to compare.
    let version = match &*def.kind {
        "CustomResourceDefinition" | "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding" => {
            "v1beta1"
        }
        _ => &def.storage.version,
    };
    let stored = format!("{}/{version}/{}", def.storage.group, def.kind);
    STANDARD.encode(&Sha256::digest(stored)[..8])
}
