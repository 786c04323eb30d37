//! The OpenAPI documents: made when somebody asks for the first time, kept compressed, sent as they are kept.
//!
//! Read on: `api::openapi`, which makes them.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use api::gvk::GroupVersion;
use api::openapi;
use api::registry::Registry;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use parking_lot::Mutex;
use serde_json::Value;

use crate::aggregate::{self, Documents, Remotes};
use crate::discovery::hash;

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// Version 2, everything, as JSON.
    V2Json,
    /// The same as protobuf, which is all that old clients take.
    V2Protobuf,
    /// Version 3, which documents there are.
    V3Index,
    /// Version 3, one group and version.
    V3(GroupVersion),
}

/// A document.
pub(crate) struct Compressed {
    gzip: Bytes,
    /// With its quotes.
    pub(crate) etag: String,
}

impl Compressed {
    fn new(bytes: &[u8]) -> Self {
        let mut gzip = Vec::new();
        // Reading from memory and writing to memory cannot fail.
        let _ = GzEncoder::new(bytes, Compression::default()).read_to_end(&mut gzip);
        Self { gzip: gzip.into(), etag: format!("\"{}\"", hash(bytes)) }
    }

    /// As it is kept.
    pub(crate) fn gzip(&self) -> Bytes {
        self.gzip.clone()
    }

    /// For a client that does not take it so.
    pub(crate) fn plain(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.gzip.len() * 12);
        let _ = GzDecoder::new(&*self.gzip).read_to_end(&mut bytes);
        bytes.into()
    }
}

/// The documents that have been asked for.
#[derive(Default)]
pub(crate) struct OpenApi {
    made: Mutex<Made>,
}

/// Those of one generation of the registry.
#[derive(Default)]
struct Made {
    generation: u64,
    /// Of the other servers.
    others: u64,
    documents: HashMap<Which, Arc<Compressed>>,
}

impl Made {
    /// Forgets what may have changed since.
    fn forget(&mut self, registry: &Registry, others: u64) {
        if self.others != others {
            self.others = others;
            self.documents.retain(|which, _| matches!(which, Which::V3(_)));
        }
        if self.generation != registry.generation() {
            self.generation = registry.generation();
            self.documents.retain(|which, _| match which {
                Which::V3(own) => {
                    let all = registry.resources(&own.group, &own.version);
                    !all.is_empty() && all.iter().all(|def| def.custom.is_none())
                }
                Which::V2Json | Which::V2Protobuf | Which::V3Index => false,
            });
        }
    }
}

impl OpenApi {
    /// The document; `None` where there is no such group and version.
    pub(crate) async fn document(
        &self,
        registry: &Arc<Registry>,
        remotes: &Remotes,
        which: Which,
    ) -> Option<Arc<Compressed>> {
        let others = remotes.generation();
        {
            let mut made = self.made.lock();
            made.forget(registry, others);
            if let Some(known) = made.documents.get(&which) {
                return Some(known.clone());
            }
        }
        // All of version 2 is a few megabytes: the threads that serve have better things to do.
        let (wanted, of) = (which.clone(), registry.clone());
        let more: Vec<Arc<Documents>> = remotes.all().iter().map(|remote| remote.documents()).collect();
        let document = tokio::task::spawn_blocking(move || make(&of, &more, &wanted)).await.ok()??;
        let document = Arc::new(document);
        let mut made = self.made.lock();
        if made.generation != registry.generation() || made.others != others {
            return Some(document);
        }
        Some(made.documents.entry(which).or_insert(document).clone())
    }
}

fn make(registry: &Registry, others: &[Arc<Documents>], which: &Which) -> Option<Compressed> {
    let v2 = || {
        let mut document = openapi::document_v2(registry);
        let more: Vec<Arc<Value>> = others.iter().filter_map(|other| other.openapi_v2.clone()).collect();
        aggregate::add_to_v2(&mut document, &more);
        document
    };
    let bytes = match which {
        Which::V2Json => v2().to_string().into_bytes(),
        Which::V2Protobuf => openapi::to_protobuf(&v2()),
        Which::V3Index => {
            let mut index = openapi::index_v3(registry);
            for (path, place) in others.iter().flat_map(|other| &other.openapi_v3) {
                index["paths"][path] = place.clone();
            }
            index.to_string().into_bytes()
        }
        Which::V3(version) => openapi::document_v3(registry, version)?.to_string().into_bytes(),
    };
    Some(Compressed::new(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_is_made_once_and_is_the_same_either_way() {
        let (openapi, registry) = (OpenApi::default(), Arc::new(Registry::with_custom([], 0)));
        let none = Remotes::default();
        let apps = Which::V3(GroupVersion::parse("apps/v1"));
        let first = openapi.document(&registry, &none, apps.clone()).await.expect("a document");
        let again = openapi.document(&registry, &none, apps).await.expect("a document");
        assert!(Arc::ptr_eq(&first, &again));
        let document: serde_json::Value = serde_json::from_slice(&first.plain()).expect("JSON");
        assert_eq!(document["openapi"], "3.0.0");
        assert!(first.gzip().len() * 4 < first.plain().len());
        let unknown = Which::V3(GroupVersion::parse("none/v1"));
        assert!(openapi.document(&registry, &none, unknown).await.is_none());
    }
}
