//! Which resources there are, for controllers that look at objects of every kind.

use std::borrow::Cow;
use std::sync::Arc;

use api::registry::{ResourceDef, registry};
use client::GroupVersionResource;

use crate::objects::{CustomResourceDefinition, CustomResourceDefinitionSpec};

/// Every resource that is stored and can be listed, watched and deleted, each in one version only. Events are left
/// out where `events` is false: they own nothing, nothing owns them, and there are very many.
pub fn stored(events: bool) -> Vec<Arc<ResourceDef>> {
    let has_all = |def: &ResourceDef| ["list", "watch", "delete"].iter().all(|verb| def.has_verb(verb));
    let wanted =
        |def: &&Arc<ResourceDef>| def.is_stored() && has_all(def) && (events || &*def.plural != "events");
    registry().all().iter().filter(wanted).cloned().collect()
}

/// The resource of a definition that is served, in the version in which it is stored, or else another one.
pub fn custom(definition: &CustomResourceDefinition) -> Option<Arc<ResourceDef>> {
    let served = || definition.spec.versions.iter().filter(|version| version.served);
    let version = served().find(|version| version.storage).or_else(|| served().next())?;
    in_version(definition, &version.name)
}

/// The resource of a definition in a version that is served.
pub fn in_version(definition: &CustomResourceDefinition, version: &str) -> Option<Arc<ResourceDef>> {
    let CustomResourceDefinitionSpec { group, scope, names, versions } = &definition.spec;
    let mut conditions = definition.status.conditions.iter().flatten();
    let is_established = conditions.any(|own| own.r#type == "Established" && own.status == "True");
    let is_served = versions.iter().any(|own| own.served && own.name == version);
    if !is_established || !is_served {
        return None;
    }
    // What controllers do to objects of every kind needs their names only.
    let plain = registry().resource("", "v1", "configmaps")?;
    Some(Arc::new(ResourceDef {
        group: Cow::Owned(group.clone()),
        version: Cow::Owned(version.to_owned()),
        plural: Cow::Owned(names.plural.clone()),
        kind: Cow::Owned(names.kind.clone()),
        namespaced: scope == "Namespaced",
        bucket: Arc::from(definition.metadata.name.as_str()),
        ..(*plain).clone()
    }))
}

/// Its name for the client.
pub fn name(def: &ResourceDef) -> GroupVersionResource {
    GroupVersionResource::new(&*def.group, &*def.version, &*def.plural)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_definition_that_is_established_is_a_resource() {
        let mut definition: CustomResourceDefinition = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v2", "served": true}, {"name": "v1", "served": true, "storage": true},
                    {"name": "v0", "served": false}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        }))
        .expect("a definition");
        let found = custom(&definition).expect("a resource");
        assert_eq!((&*found.version, &*found.kind, found.namespaced), ("v1", "Widget", true));
        assert_eq!(found.qualified(), "widgets.example.com");
        assert_eq!(in_version(&definition, "v2").map(|own| own.version.to_string()).as_deref(), Some("v2"));
        assert!(in_version(&definition, "v0").is_none());
        definition.status.conditions = None;
        assert!(custom(&definition).is_none());
    }

    #[test]
    fn each_resource_is_there_once() {
        let all = stored(true);
        let buckets: HashSet<_> = all.iter().map(|def| def.bucket.clone()).collect();
        assert_eq!(buckets.len(), all.len());
        for bucket in ["pods", "deployments.apps", "namespaces", "endpointslices.discovery.k8s.io"] {
            assert!(buckets.contains(bucket), "{bucket}");
        }
        assert!(stored(false).iter().all(|def| &*def.plural != "events"));
    }
}
