//! What a typed client must know of a kind.

use api::meta::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A resource of the API: ("apps", "v1", "deployments").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// Empty for the core group.
    pub group: String,
    /// As `v1`.
    pub version: String,
    /// The plural, lower-case name.
    pub resource: String,
}

impl GroupVersionResource {
    /// A resource of a group (empty for the core group).
    pub fn new(group: impl Into<String>, version: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into(), resource: resource.into() }
    }

    /// The resource of a projection.
    pub fn of<K: Resource>() -> Self {
        Self::new(K::GROUP, K::VERSION, K::PLURAL)
    }

    /// As requests carry it.
    pub fn to_proto(&self) -> rpc::v1::GroupVersionResource {
        rpc::v1::GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
        }
    }
}

impl std::fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&api::status::qualified(&self.group, &self.resource))
    }
}

/// A projection of a kind: the fields of its objects that a daemon reads.
pub trait Resource: DeserializeOwned + Send + Sync + 'static {
    /// Empty for the core group.
    const GROUP: &'static str;
    /// As `v1`.
    const VERSION: &'static str;
    /// As `replicasets`.
    const PLURAL: &'static str;
    /// As `ReplicaSet`.
    const KIND: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;

    /// The metadata, which every projection has.
    fn metadata(&self) -> &ObjectMeta;
}

/// The metadata of an object of any kind and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartialObject {
    /// As `apps/v1`.
    pub api_version: String,
    /// As `ReplicaSet`.
    pub kind: String,
    /// What every object has.
    pub metadata: ObjectMeta,
}

/// Implements [`Resource`] for a projection that has a field `metadata`:
/// `resource!(ReplicaSet, "apps", "v1", "replicasets", "ReplicaSet", namespaced)`.
#[macro_export]
macro_rules! resource {
    ($type:ty, $group:literal, $version:literal, $plural:literal, $kind:literal, namespaced) => {
        $crate::resource!(@ $type, $group, $version, $plural, $kind, true);
    };
    ($type:ty, $group:literal, $version:literal, $plural:literal, $kind:literal, cluster) => {
        $crate::resource!(@ $type, $group, $version, $plural, $kind, false);
    };
    (@ $type:ty, $group:literal, $version:literal, $plural:literal, $kind:literal, $namespaced:literal) => {
        impl $crate::Resource for $type {
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const PLURAL: &'static str = $plural;
            const KIND: &'static str = $kind;
            const NAMESPACED: bool = $namespaced;

            fn metadata(&self) -> &::api::meta::ObjectMeta {
                &self.metadata
            }
        }
    };
}
