//! What there is to ask for: the discovery documents, made from the registry, and from what other servers serve, whenever
//! one of them has changed.
//!
//! Two forms of the same: the legacy one (`/api`, `/apis`, one document for each group and version) and the
//! aggregated one, which `/api` and `/apis` answer with when the client accepts it. Each document has an ETag.

mod aggregated;
mod legacy;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use api::gvk::GroupVersion;
use api::registry::{Registry, ResourceDef};
use api::structural::definition;
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::aggregate::{self, Remotes};

/// A document, encoded once.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// JSON.
    pub(crate) bytes: Bytes,
    /// With its quotes.
    pub(crate) etag: String,
}

impl Document {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let etag = format!("\"{}\"", hash(&bytes));
        Self { bytes, etag }
    }

    fn of(value: &Value) -> Self {
        Self::new(value.to_string())
    }
}

/// A hash of content, in upper-case hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Which form of the aggregated document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregated {
    /// `apidiscovery.k8s.io/v2`.
    V2,
    /// `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
}

impl Aggregated {
    /// The version in its name.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// The documents of the resources that are served now.
pub(crate) struct Documents {
    address: SocketAddr,
    made: ArcSwap<((u64, u64), Discovery)>,
}

impl Documents {
    /// `address` is where clients outside the cluster find the server.
    pub(crate) fn new(registry: &Registry, remotes: &Remotes, address: SocketAddr) -> Self {
        let generation = (registry.generation(), remotes.generation());
        let made = (generation, Discovery::new(registry, remotes, address));
        Self { address, made: ArcSwap::from_pointee(made) }
    }

    /// The documents of that registry and of those servers, made anew where they are others than before.
    pub(crate) fn of(&self, registry: &Registry, remotes: &Remotes) -> Made {
        let made = self.made.load_full();
        let generation = (registry.generation(), remotes.generation());
        if made.0 == generation {
            return Made(made);
        }
        let made = Arc::new((generation, Discovery::new(registry, remotes, self.address)));
        self.made.store(made.clone());
        Made(made)
    }
}

/// The documents of one registry.
pub(crate) struct Made(Arc<((u64, u64), Discovery)>);

impl std::ops::Deref for Made {
    type Target = Discovery;

    fn deref(&self) -> &Discovery {
        &self.0.1
    }
}

/// All documents.
pub(crate) struct Discovery {
    api: Document,
    apis: Document,
    groups: HashMap<String, Document>,
    /// By group and version.
    resources: HashMap<(String, String), Document>,
    /// Core v2, core v2beta1, the others v2, the others v2beta1.
    aggregated: [Document; 4],
}

impl Discovery {
    /// Makes all documents. `address` is where clients outside the cluster find the server.
    pub(crate) fn new(registry: &Registry, remotes: &Remotes, address: SocketAddr) -> Self {
        let versions = merged(registry, remotes);
        let resources = versions
            .iter()
            .filter(|own| !is_elsewhere(remotes, own))
            .map(|own| {
                let key = (own.group.clone(), own.version.clone());
                (key, Document::of(&legacy::resources(registry, own)))
            })
            .collect();
        let groups = legacy::groups(&versions);
        Self {
            api: Document::of(&legacy::versions(address)),
            apis: Document::of(&legacy::group_list(&groups)),
            groups: groups.iter().map(|(name, group)| (name.clone(), Document::of(group))).collect(),
            resources,
            aggregated: [
                (true, Aggregated::V2),
                (true, Aggregated::V2Beta1),
                (false, Aggregated::V2),
                (false, Aggregated::V2Beta1),
            ]
            .map(|(core, form)| {
                Document::of(&aggregated::document(registry, remotes, &versions, core, form))
            }),
        }
    }

    /// `/api` or `/apis` in the legacy form.
    pub(crate) fn legacy(&self, core: bool) -> &Document {
        if core { &self.api } else { &self.apis }
    }

    /// `/api` or `/apis` in the aggregated form.
    pub(crate) fn aggregated(&self, core: bool, form: Aggregated) -> &Document {
        let place = usize::from(form == Aggregated::V2Beta1);
        &self.aggregated[if core { place } else { 2 + place }]
    }

    /// `/apis/GROUP`.
    pub(crate) fn group(&self, name: &str) -> Option<&Document> {
        self.groups.get(name)
    }

    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub(crate) fn resources(&self, group: &str, version: &str) -> Option<&Document> {
        self.resources.get(&(group.to_owned(), version.to_owned()))
    }
}

/// The groups and versions that are served here or by others, in the order of their priorities. Those that are built in
/// are in their order already.
fn merged(registry: &Registry, remotes: &Remotes) -> Vec<GroupVersion> {
    let mut versions = registry.group_versions();
    if remotes.all().is_empty() {
        return versions;
    }
    let is_custom = |own: &GroupVersion| registry.serves(&own.group, &own.version) != Some(true);
    let first = versions.iter().position(is_custom).unwrap_or(versions.len());
    let mut others: Vec<(i64, i64, GroupVersion)> = versions
        .split_off(first)
        .into_iter()
        .map(|own| {
            let (of_group, of_version) = aggregate::priority(&own.group, &own.version, true);
            (of_group, of_version, own)
        })
        .collect();
    for remote in remotes.all() {
        let spec = &remote.spec;
        let own = GroupVersion { group: spec.group.clone(), version: spec.version.clone() };
        if !versions.contains(&own) {
            others.retain(|(_, _, other)| *other != own);
            others.push((spec.group_priority, spec.version_priority, own));
        }
    }
    // A group is where its highest priority puts it.
    let highest = |group: &str| {
        let of_group = others.iter().filter(|(_, _, own)| own.group == group);
        of_group.map(|(priority, ..)| *priority).max().unwrap_or_default()
    };
    let highest: HashMap<String, i64> =
        others.iter().map(|(_, _, own)| (own.group.clone(), highest(&own.group))).collect();
    others.sort_by(|(_, left, left_version), (_, right, right_version)| {
        let by_group = highest[&right_version.group].cmp(&highest[&left_version.group]);
        let by_name = || left_version.group.cmp(&right_version.group);
        let by_priority = || right.cmp(left);
        by_group
            .then_with(by_name)
            .then_with(by_priority)
            .then_with(|| definition::version_order(&left_version.version, &right_version.version))
    });
    versions.extend(others.into_iter().map(|(_, _, own)| own));
    versions
}

/// Whether another server serves a group and version.
fn is_elsewhere(remotes: &Remotes, own: &GroupVersion) -> bool {
    remotes.all().iter().any(|remote| remote.spec.group == own.group && remote.spec.version == own.version)
}

/// The short names and the categories under which a resource is offered. Versions that are given up leave them to the
/// present ones, or clients would warn that a name means two things.
fn aliases(def: &ResourceDef) -> (&[api::schema::Name], &[api::schema::Name]) {
    if def.deprecated.is_some() { (&[], &[]) } else { (&def.short_names, &def.categories) }
}

/// The resources of a group and version by name.
fn sorted(registry: &Registry, group: &str, version: &str) -> Vec<std::sync::Arc<ResourceDef>> {
    let mut all = registry.resources(group, version);
    all.sort_by(|left, right| left.plural.cmp(&right.plural));
    all
}

#[cfg(test)]
mod tests;
