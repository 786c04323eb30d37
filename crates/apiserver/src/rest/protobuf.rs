//! Kubernetes' protobuf, for clients that ask for it: bodies are read into documents, answers are written from them.
//!
//! Only built-in kinds have protobuf types; whatever has none is not served in this encoding.

use api::gvk::GroupVersion;
use api::protobuf;
use api::registry::{ResourceDef, registry};
use api::schema::{self, TypeRef};
use api::status::Status;
use bytes::Bytes;
use serde_json::{Value, json};
use store::Entry;

use crate::pipeline::{Body, Target, render};
use crate::view::ListMeta;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The media type of a watch.
pub(super) const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Kinds that every group has.
const COMMON: [&str; 8] = [
    "Status",
    "DeleteOptions",
    "APIVersions",
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
];

/// The type that an envelope names.
fn type_of(api_version: &str, kind: &str) -> Option<TypeRef> {
    let own = GroupVersion::parse(api_version);
    if COMMON.contains(&kind) {
        return schema::builtin(&format!("meta.v1.{kind}"));
    }
    let part = || {
        let parts = registry().all().iter().flat_map(|def| &def.subresources);
        let mut parts =
            parts.filter(|part| part.kind == kind && part.group == own.group && part.version == own.version);
        parts.find_map(|part| part.schema.clone())
    };
    registry().kind(&own.group, &own.version, kind).map(|def| def.schema.clone()).or_else(part)
}

/// A body as the same document in JSON.
pub(super) fn read(target: &Target, bytes: &[u8]) -> Result<Body, Status> {
    if bytes.is_empty() {
        return Ok(Body::json(Bytes::new()));
    }
    let (own, _) = protobuf::open(bytes)?;
    // What names no type is read as what is expected, and then refused by its name.
    let ty = type_of(&own.api_version, &own.kind).unwrap_or_else(|| target.def.schema.clone());
    let document = protobuf::decode(&ty, bytes)?;
    Ok(Body::json(document.to_string()))
}

/// A JSON document as protobuf; `None` where its kind has no such type.
pub(super) fn write(json: &[u8]) -> Option<Bytes> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let text = |name: &str| document[name].as_str().unwrap_or_default();
    let ty = type_of(text("apiVersion"), text("kind"))?;
    protobuf::encode(&ty, &document).ok().map(Bytes::from)
}

/// A list: its metadata and its items, each written as soon as it is read.
pub(super) fn list<'a>(
    def: &ResourceDef,
    meta: &ListMeta,
    entries: impl Iterator<Item = &'a Entry>,
) -> Option<Bytes> {
    let mut about = json!({"resourceVersion": meta.revision});
    if let Some(token) = &meta.continue_token {
        about["continue"] = token.as_str().into();
    }
    if let Some(remaining) = meta.remaining {
        about["remainingItemCount"] = remaining.into();
    }
    let about = protobuf::encode_message(&schema::builtin("meta.v1.ListMeta")?, &about).ok()?;
    let mut message = Vec::new();
    // Every list has its metadata as field 1 and its items as field 2.
    field(&mut message, 1, &about);
    for entry in entries {
        let item: Value = serde_json::from_slice(&render(def, entry)).ok()?;
        field(&mut message, 2, &protobuf::encode_message(&def.schema, &item).ok()?);
    }
    Some(protobuf::envelope(&def.api_version(), &def.list_kind, &message).into())
}

/// A field of bytes.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let pods = registry().resource("", "v1", "pods").expect("pods");
        Target::object(pods, Some("default"), "a")
    }

    #[test]
    fn bodies_are_read_by_the_kind_that_they_name() {
        for (ty, document) in [
            (
                "core.v1.Pod",
                json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"nodeName": "n"}}),
            ),
            (
                "policy.v1.Eviction",
                json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "a"}}),
            ),
            (
                "meta.v1.DeleteOptions",
                json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}),
            ),
            ("core.v1.Node", json!({"kind": "Node", "apiVersion": "v1", "spec": {"podCIDR": "c"}})),
        ] {
            let bytes = protobuf::encode(&schema::builtin(ty).expect("a type"), &document).expect("bytes");
            let body = read(&target(), &bytes).expect("a body");
            let read: Value = serde_json::from_slice(&body.bytes).expect("JSON");
            for (field, value) in document.as_object().expect("fields") {
                if field != "metadata" {
                    assert_eq!(&read[field], value, "{ty} {field}");
                }
            }
            let again = write(&body.bytes).expect("it has a type");
            assert_eq!(protobuf::open(&again).expect("an envelope").0.kind, document["kind"]);
        }
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        assert_eq!(read(&target(), b"nonsense").expect_err("it is refused").code, 400);
        assert_eq!(write(br#"{"kind":"Widget","apiVersion":"example.com/v1"}"#), None);
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let maps = registry().resource("", "v1", "configmaps").expect("config maps");
        let meta = ListMeta { revision: "7".to_owned(), remaining: Some(300), ..ListMeta::default() };
        let bytes = list(&maps, &meta, std::iter::empty()).expect("a list");
        let (own, message) = protobuf::open(&bytes).expect("an envelope");
        assert_eq!((own.kind.as_str(), own.api_version.as_str()), ("ConfigMapList", "v1"));
        assert_eq!(message[0], 0x0a);
        assert_eq!(usize::from(message[1]), message.len() - 2);
    }
}
