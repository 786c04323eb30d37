//! Which resources the API has: their names, scope, verbs, subresources, schema, and where they are stored.
//!
//! [`registry`] holds the built-in ones ([`table`] reads them from `crates/api/schema/resources.txt`). Custom resources
//! are added to a [`Registry`] of the server's own, so handlers pass `Arc<ResourceDef>` around and never assume that a
//! resource lives forever.

mod order;
mod table;

pub use order::creation_rank;

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use crate::gvk::GroupVersion;
use crate::schema::{Name, TypeRef};
use crate::structural::Custom;

/// A resource in one version.
#[derive(Debug, Clone)]
pub struct ResourceDef {
    /// Empty for the core group.
    pub group: Name,
    /// As `v1`.
    pub version: Name,
    /// As `pods`.
    pub plural: Name,
    /// As `pod`.
    pub singular: Name,
    /// As `Pod`.
    pub kind: Name,
    /// As `PodList`.
    pub list_kind: Name,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// As `po`.
    pub short_names: Vec<Name>,
    /// As `all`.
    pub categories: Vec<Name>,
    /// As `get`, ordered.
    pub verbs: Vec<Name>,
    /// Ordered by name.
    pub subresources: Vec<Subresource>,
    /// The schema of its objects in this version.
    pub schema: TypeRef,
    /// Where its objects are stored: `pods`, `deployments.apps`; the same for every version.
    pub bucket: Arc<str>,
    /// The group and version in which its objects are stored.
    pub storage: GroupVersion,
    /// Whether the version is one that Kubernetes has given up, with the `apiVersion` to use instead.
    pub deprecated: Option<String>,
    /// The fields that a field selector may name, beside `metadata.name` and `metadata.namespace`.
    pub fields: Vec<SelectableField>,
    /// What a custom resource has beside.
    pub custom: Option<Arc<Custom>>,
}

impl ResourceDef {
    /// As `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }

    /// The group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.to_string(), version: self.version.to_string() }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Whether the resource has that verb, as `watch`.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// Whether this is the version in which objects are stored.
    pub fn is_stored(&self) -> bool {
        self.group == self.storage.group && self.version == self.storage.version
    }

    /// Whether its status is written through a subresource only.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// As `deployments.apps`, for messages.
    pub fn qualified(&self) -> String {
        crate::status::qualified(&self.group, &self.plural)
    }
}

/// A part of an object, or an act upon it, that has a path of its own.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// As `status`.
    pub name: Name,
    /// The group of its kind.
    pub group: Name,
    /// The version of its kind.
    pub version: Name,
    /// As `Pod`, or `Scale`.
    pub kind: Name,
    /// As `get`, ordered.
    pub verbs: Vec<Name>,
    /// The schema of its kind; query options (`PodExecOptions`) have none.
    pub schema: Option<TypeRef>,
}

/// A field that a field selector may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// As the selector names it: `spec.nodeName`.
    pub label: Name,
    /// Where it stands in the stored object: the first of these paths that has a value.
    pub paths: Vec<Vec<Name>>,
    /// The value where the object has none.
    pub default: Name,
}

/// A set of resources: the built-in ones, and after them custom ones.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    resources: Vec<Arc<ResourceDef>>,
    by_plural: Index,
    by_kind: Index,
    generation: u64,
}

impl Registry {
    fn new(resources: Vec<Arc<ResourceDef>>, generation: u64) -> Self {
        let by_plural = Index::new(&resources, |def| &def.plural);
        let by_kind = Index::new(&resources, |def| &def.kind);
        Self { resources, by_plural, by_kind, generation }
    }

    /// The built-in resources and these. Of two that claim the same name, the first is served. The generation tells
    /// one such registry from another.
    pub fn with_custom(custom: impl IntoIterator<Item = Arc<ResourceDef>>, generation: u64) -> Self {
        let mut resources = registry().resources.clone();
        resources.extend(custom);
        Self::new(resources, generation)
    }

    /// Another one where the resources have changed; 0 for the built-in ones alone.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The resource of that plural name.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<ResourceDef>> {
        self.by_plural.find(&self.resources, [group, version, plural], |def| &def.plural)
    }

    /// The resource whose objects are of that kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<ResourceDef>> {
        self.by_kind.find(&self.resources, [group, version, kind], |def| &def.kind)
    }

    /// The version of `def` in which objects are stored. A custom resource is its own: all of its versions are served
    /// by their own schema.
    pub fn storage(&self, def: &Arc<ResourceDef>) -> Arc<ResourceDef> {
        if def.is_stored() || def.custom.is_some() {
            return Arc::clone(def);
        }
        self.resource(&def.storage.group, &def.storage.version, &def.plural)
            .unwrap_or_else(|| Arc::clone(def))
    }

    /// Every group and version, the preferred version of each group before its others.
    pub fn group_versions(&self) -> Vec<GroupVersion> {
        let mut all: Vec<GroupVersion> = Vec::new();
        for def in &self.resources {
            if !all.iter().any(|own| own.group == def.group && own.version == def.version) {
                all.push(def.group_version());
            }
        }
        all
    }

    /// Whether there is a resource of that group and version; `Some(true)` where one of them is built in.
    pub fn serves(&self, group: &str, version: &str) -> Option<bool> {
        let mut own =
            self.resources.iter().filter(|def| def.version == version && def.group == group).peekable();
        own.peek()?;
        Some(own.any(|def| def.custom.is_none()))
    }

    /// The resources of a group and version, in the order of discovery.
    pub fn resources(&self, group: &str, version: &str) -> Vec<Arc<ResourceDef>> {
        let is = |def: &&Arc<ResourceDef>| def.version == version && def.group == group;
        self.resources.iter().filter(is).cloned().collect()
    }

    /// Every resource in every version.
    pub fn all(&self) -> &[Arc<ResourceDef>] {
        &self.resources
    }
}

/// Where the resources of a group, version and name stand.
#[derive(Debug, Clone, Default)]
struct Index {
    places: HashMap<u64, Vec<u32>, RandomState>,
    state: RandomState,
}

impl Index {
    fn new(resources: &[Arc<ResourceDef>], name: fn(&ResourceDef) -> &str) -> Self {
        let mut index = Self::default();
        for (place, def) in (0u32..).zip(resources) {
            let hash = index.state.hash_one([&*def.group, &*def.version, name(def)]);
            index.places.entry(hash).or_default().push(place);
        }
        index
    }

    fn find(
        &self,
        resources: &[Arc<ResourceDef>],
        wanted: [&str; 3],
        name: fn(&ResourceDef) -> &str,
    ) -> Option<Arc<ResourceDef>> {
        let places = self.places.get(&self.state.hash_one(wanted))?;
        let is = |def: &&Arc<ResourceDef>| [&*def.group, &*def.version, name(def)] == wanted;
        places.iter().filter_map(|place| resources.get(*place as usize)).find(is).cloned()
    }
}

/// The built-in resources.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new(table::parse(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(group: &str, version: &str, plural: &str) -> Arc<ResourceDef> {
        registry()
            .resource(group, version, plural)
            .unwrap_or_else(|| panic!("no {plural} in {group}/{version}"))
    }

    #[test]
    fn a_resource_is_found_by_its_plural_and_by_its_kind() {
        let pods = find("", "v1", "pods");
        assert_eq!((&*pods.kind, &*pods.list_kind, &*pods.singular), ("Pod", "PodList", "pod"));
        assert_eq!(pods.short_names, ["po"]);
        assert!(pods.namespaced && pods.has_status() && pods.has_verb("watch"));
        assert_eq!(pods.subresource("eviction").map(|sub| &*sub.group), Some("policy"));
        assert_eq!(registry().kind("", "v1", "Pod").map(|def| def.plural.clone()), Some(pods.plural.clone()));
        assert!(!find("", "v1", "namespaces").has_verb("deletecollection"));
    }

    #[test]
    fn versions_of_a_resource_share_a_bucket() {
        let old = find("extensions", "v1beta1", "deployments");
        let new = find("apps", "v1", "deployments");
        assert_eq!(old.bucket, new.bucket);
        assert_eq!(&*new.bucket, "deployments.apps");
        assert_eq!(old.deprecated.as_deref(), Some("apps/v1"));
        assert_eq!(registry().storage(&old).api_version(), "apps/v1");
        assert_eq!(find("events.k8s.io", "v1", "events").bucket, find("", "v1", "events").bucket);
    }

    #[test]
    fn every_resource_has_its_schema_and_its_list() {
        for def in registry().all() {
            assert_eq!(def.schema.name, def.kind);
            assert!(def.schema.field("metadata").is_some(), "{}", def.kind);
            assert!(registry().storage(def).is_stored(), "{}", def.kind);
        }
        let versions = registry().group_versions();
        assert_eq!(versions[0].to_string(), "v1");
        let place = |name: &str| versions.iter().position(|version| version.to_string() == name);
        assert!(place("apps/v1") < place("apps/v1beta1"));
    }

    #[test]
    fn selectable_fields_tell_where_they_stand() {
        let pods = find("", "v1", "pods");
        let field = pods.fields.iter().find(|field| field.label == "spec.hostNetwork").expect("hostNetwork");
        assert_eq!(field.paths, [["spec", "hostNetwork"]]);
        assert_eq!(field.default, "false");
        let events = find("", "v1", "events");
        let source = events.fields.iter().find(|field| field.label == "source").expect("source");
        assert_eq!(source.paths.len(), 2);
    }
}
