//! What the store keeps of an object beside its bytes: the header that selectors judge, and the terms of its index.

use std::collections::HashMap;
use std::sync::Arc;

use api::object::{self, Header};
use api::registry::ResourceDef;
use store::{Extract, Extracted, Key, Term};

/// Selectable fields that are worth an index: a kubelet asks for its pods, `kubectl describe` for the events of
/// an object. The others are checked object by object.
const INDEXED: [&str; 3] = ["spec.nodeName", "involvedObject.uid", "involvedObject.name"];

/// The function that a store of these resources is opened with.
pub fn extract() -> Extract {
    let registry = api::registry::registry();
    let stored: HashMap<Arc<str>, Arc<ResourceDef>> =
        registry.all().iter().map(|def| (def.bucket.clone(), registry.storage(def))).collect();
    Arc::new(move |key: &Key, bytes: &[u8]| {
        let def = stored.get(key.bucket().as_str()).ok_or("a bucket of no known resource")?;
        let header = object::scan(def, bytes)?;
        let terms = terms(def, &header);
        Ok(Extracted { header: Arc::new(header), terms })
    })
}

fn terms(def: &ResourceDef, header: &Header) -> Arc<[Term]> {
    let labels = header.labels.iter().map(|(key, value)| label_term(key, value));
    let fields = INDEXED.iter().filter_map(|field| {
        let value = header.field(def, field).filter(|value| !value.is_empty())?;
        Some(field_term(field, value))
    });
    labels.chain(fields).collect()
}

/// The term of a label.
pub(super) fn label_term(key: &str, value: &str) -> Term {
    Term::new("label", key, value)
}

fn field_term(field: &str, value: &str) -> Term {
    Term::new("field", field, value)
}

/// The term of a selectable field, where it has one.
pub(super) fn indexed_field_term(field: &str, value: &str) -> Option<Term> {
    (INDEXED.contains(&field) && !value.is_empty()).then(|| field_term(field, value))
}

/// The term of the pods of a node.
pub(crate) fn node_term(node: &str) -> Term {
    field_term(INDEXED[0], node)
}
