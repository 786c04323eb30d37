//! What there is to ask for: the discovery documents, made from the registry whenever it has changed.
//!
//! Two forms of the same: the legacy one (`/api`, `/apis`, one document for each group and version) and the
//! aggregated one, which `/api` and `/apis` answer with when the client accepts it. Each document has an ETag.

mod aggregated;
mod legacy;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use api::registry::{Registry, ResourceDef};
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

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
    made: ArcSwap<(u64, Discovery)>,
}

impl Documents {
    /// `address` is where clients outside the cluster find the server.
    pub(crate) fn new(registry: &Registry, address: SocketAddr) -> Self {
        let made = (registry.generation(), Discovery::new(registry, address));
        Self { address, made: ArcSwap::from_pointee(made) }
    }

    /// The documents of that registry, made anew where it is another than before.
    pub(crate) fn of(&self, registry: &Registry) -> Made {
        let made = self.made.load_full();
        if made.0 == registry.generation() {
            return Made(made);
        }
        let made = Arc::new((registry.generation(), Discovery::new(registry, self.address)));
        self.made.store(made.clone());
        Made(made)
    }
}

/// The documents of one registry.
pub(crate) struct Made(Arc<(u64, Discovery)>);

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
    pub(crate) fn new(registry: &Registry, address: SocketAddr) -> Self {
        let versions = registry.group_versions();
        let resources = versions
            .iter()
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
            .map(|(core, form)| Document::of(&aggregated::document(registry, core, form))),
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
