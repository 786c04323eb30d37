//! Which resources there are, for controllers that look at objects of every kind.

use std::sync::Arc;

use api::registry::{ResourceDef, registry};
use client::GroupVersionResource;

/// Every resource that is stored and can be listed, watched and deleted, each in one version only. Events are left
/// out where `events` is false: they own nothing, nothing owns them, and there are very many.
pub fn stored(events: bool) -> Vec<Arc<ResourceDef>> {
    let has_all = |def: &ResourceDef| ["list", "watch", "delete"].iter().all(|verb| def.has_verb(verb));
    let wanted =
        |def: &&Arc<ResourceDef>| def.is_stored() && has_all(def) && (events || &*def.plural != "events");
    registry().all().iter().filter(wanted).cloned().collect()
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
