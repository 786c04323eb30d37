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
    let any = Arc::new(unknown(""));
    Arc::new(move |key: &Key, bytes: &[u8]| {
        // What is in no bucket of these is a custom resource, or was one.
        let def = stored.get(key.bucket().as_str()).unwrap_or(&any);
        let header = object::scan(def, bytes)?;
        let terms = terms(def, &header);
        Ok(Extracted { header: Arc::new(header), terms })
    })
}

/// A resource of which nothing is known but where its objects are stored: no field of theirs is selectable.
pub(super) fn unknown(bucket: &str) -> ResourceDef {
    let registry = api::registry::registry();
    let plain = registry.resource("", "v1", "configmaps").expect("config maps are built in");
    ResourceDef { bucket: Arc::from(bucket), fields: Vec::new(), ..(*plain).clone() }
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
