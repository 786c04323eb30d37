//! The aggregated discovery document: all groups, versions and resources at once.

use api::gvk::GroupVersion;
use api::registry::{Registry, ResourceDef, Subresource};
use serde_json::{Value, json};

use super::{Aggregated, aliases, sorted};
use crate::aggregate::Remotes;

/// `/api` (`core`) or `/apis`.
pub(super) fn document(
    registry: &Registry,
    remotes: &Remotes,
    versions: &[GroupVersion],
    core: bool,
    form: Aggregated,
) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for own in versions.iter().filter(|own| own.group.is_empty() == core) {
        let version = match elsewhere(remotes, own) {
            Some(version) => version,
            None => {
                let resources: Vec<Value> =
                    sorted(registry, &own.group, &own.version).iter().map(|def| resource(def)).collect();
                json!({"version": own.version, "freshness": "Current", "resources": resources})
            }
        };
        let known =
            items.iter_mut().find(|item| item["metadata"]["name"].as_str().unwrap_or_default() == own.group);
        match known.and_then(|item| item["versions"].as_array_mut()) {
            Some(versions) => versions.push(version),
            None => {
                let metadata = if core { json!({}) } else { json!({"name": own.group}) };
                items.push(json!({"metadata": metadata, "versions": [version]}));
            }
        }
    }
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.version()),
        "metadata": {},
        "items": items,
    })
}

/// What another server serves; as long as it has not said it, nothing that could be relied on.
fn elsewhere(remotes: &Remotes, own: &GroupVersion) -> Option<Value> {
    let remote = remotes
        .all()
        .iter()
        .find(|remote| remote.spec.group == own.group && remote.spec.version == own.version)?;
    let known = remote.documents().discovery.clone();
    Some(known.unwrap_or_else(|| json!({"version": own.version, "freshness": "Stale"})))
}

fn resource(def: &ResourceDef) -> Value {
    let mut resource = json!({
        "resource": def.plural,
        "responseKind": {"group": "", "version": "", "kind": def.kind},
        "scope": if def.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": def.singular,
        "verbs": def.verbs,
    });
    let (short_names, categories) = aliases(def);
    if !short_names.is_empty() {
        resource["shortNames"] = json!(short_names);
    }
    if !categories.is_empty() {
        resource["categories"] = json!(categories);
    }
    if !def.subresources.is_empty() {
        let parts = def.subresources.iter().map(|part| subresource(def, part));
        resource["subresources"] = parts.collect();
    }
    resource
}

fn subresource(def: &ResourceDef, part: &Subresource) -> Value {
    // Empty stands for the group and version of the list.
    let same = part.group == def.group && part.version == def.version;
    let (group, version) = if same { ("", "") } else { (&*part.group, &*part.version) };
    json!({
        "subresource": part.name,
        "responseKind": {"group": group, "version": version, "kind": part.kind},
        "verbs": part.verbs,
    })
}
