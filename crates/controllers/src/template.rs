//! Pod templates: whether two are the same, the hash that tells them apart, and the pod that is made from one.

use serde_json::{Map, Value, json};

use api::meta::OwnerReference;

/// The label that tells the pods of one ReplicaSet of a Deployment from those of another.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Letters and digits that do not form words, as in names that Kubernetes makes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether two templates ask for the same pods, apart from [`POD_TEMPLATE_HASH`] and from fields that are empty in
/// one and absent in the other.
pub fn same_template(one: &Value, other: &Value) -> bool {
    canonical(one.clone()) == canonical(other.clone())
}

/// A stable hash of a template. `collisions` makes a new one where the name it led to was taken by another
/// template.
pub fn template_hash(template: &Value, collisions: i32) -> String {
    let mut hash = Fnv32::default();
    hash.value(&canonical(template.clone()));
    if collisions > 0 {
        hash.bytes(&collisions.to_le_bytes());
    }
    encode(&hash.0.to_string())
}

/// A stable hash of some texts, in five letters: for names of objects that must not be made twice.
pub fn short_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Fnv32::default();
    for part in parts {
        hash.bytes(part.as_bytes());
        hash.bytes(&[0]);
    }
    let mut number = hash.0;
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(ALPHABET[(number % 27) as usize]));
        number /= 27;
    }
    text
}

/// A name of five letters made from random `bits`.
pub fn random_suffix(bits: u32) -> String {
    let mut rest = bits;
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(ALPHABET[(rest % 27) as usize]));
        rest /= 27;
    }
    text
}

/// The document of a pod of this template. `name` is chosen by the caller, so that it knows what to expect.
pub fn pod_from_template(
    template: &Value,
    namespace: &str,
    base: &str,
    name: &str,
    owner: OwnerReference,
) -> Value {
    let metadata = template.get("metadata");
    let mut meta = Map::new();
    meta.insert("name".to_owned(), json!(name));
    meta.insert("generateName".to_owned(), json!(format!("{base}-")));
    meta.insert("namespace".to_owned(), json!(namespace));
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = metadata.and_then(|metadata| metadata.get(field)) {
            meta.insert(field.to_owned(), value.clone());
        }
    }
    meta.insert("ownerReferences".to_owned(), json!([owner]));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

/// The labels of a template's pods.
pub fn template_labels(template: &Value) -> impl Iterator<Item = (&str, &str)> {
    template
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Without the hash label and without what is empty.
fn canonical(mut template: Value) -> Value {
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(POD_TEMPLATE_HASH);
    }
    prune(&mut template);
    template
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !is_empty(value));
        }
        // An empty element of a list still counts: `emptyDir: {}` and list positions mean something.
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        // An empty struct can mean something (`emptyDir: {}`), so it stays.
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// FNV-1a, 32 bits: stable over versions of Rust, which the standard hashers are not.
struct Fnv32(u32);

impl Default for Fnv32 {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Fnv32 {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// Objects in the order of their keys, so that the order of a manifest does not matter.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let mut keys: Vec<_> = fields.iter().collect();
                keys.sort_by_key(|(key, _)| *key);
                self.bytes(b"{");
                for (key, value) in keys {
                    self.bytes(key.as_bytes());
                    self.bytes(b":");
                    self.value(value);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.bytes(value.to_string().as_bytes());
                self.bytes(b",");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_what_matters_and_nothing_else() {
        let one = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "a", "name": "c"}]}});
        let same = json!({"spec": {"containers": [{"name": "c", "image": "a", "args": []}], "nodeName": ""},
            "metadata": {"creationTimestamp": null, "labels": {"pod-template-hash": "x", "app": "web"}}});
        let other = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "b", "name": "c"}]}});
        assert!(same_template(&one, &same));
        assert!(!same_template(&one, &other));
        assert_eq!(template_hash(&one, 0), template_hash(&same, 0));
        assert_ne!(template_hash(&one, 0), template_hash(&other, 0));
        assert_ne!(template_hash(&one, 0), template_hash(&one, 1));
    }

    #[test]
    fn an_empty_dir_is_something() {
        let with = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let without = json!({"spec": {"volumes": [{"name": "v"}]}});
        assert!(!same_template(&with, &without));
    }

    #[test]
    fn short_hashes_keep_their_parts_apart() {
        assert_ne!(short_hash(["ab", "c"]), short_hash(["a", "bc"]));
        assert_eq!(short_hash(["a"]).len(), 5);
    }
}
