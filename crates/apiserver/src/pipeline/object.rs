//! Between stored bytes and documents: keys, conversion to the version of the request, and the usual Statuses.

use std::sync::{Arc, OnceLock};

use api::codec::{self, MediaType};
use api::encode;
use api::gvk::GroupVersion;
use api::object::Header;
use api::registry::ResourceDef;
use api::status::{Details, Reason, Status};
use bytes::Bytes;
use serde_json::Value;
use store::{Bucket, Entry, Key, Template, WriteError};

use super::types::{Answer, Body, Object, Target};

/// The stored bytes of `entry` in the version of `def`: the very same memory where that is the stored version.
pub fn render(def: &ResourceDef, entry: &Entry) -> Bytes {
    let is_fresh = def.custom.as_ref().is_none_or(|custom| entry.revision.0 > custom.revision);
    if def.is_stored() && is_fresh {
        return entry.value.clone();
    }
    match serde_json::from_slice::<Value>(&entry.value) {
        Ok(mut object) => {
            codec::from_storage(def, &mut object);
            encode::to_bytes(&object)
        }
        // What the store holds was encoded here; sent as it is, it tells more than an error would.
        Err(_) => entry.value.clone(),
    }
}

/// Where the object of a request is stored.
pub(super) fn key(target: &Target) -> Key {
    Key::new(
        &bucket(&target.def),
        if target.def.namespaced { target.namespace.as_deref().unwrap_or_default() } else { "" },
        target.name.as_deref().unwrap_or_default(),
    )
}

/// Where the objects of a resource are stored.
pub(super) fn bucket(def: &ResourceDef) -> Bucket {
    Bucket::new(def.bucket.clone())
}

/// The document, encoded once, as the store takes it.
pub(crate) fn template(object: &Value) -> Template {
    let encode::Template { head, tail } = encode::template(object);
    Template::new(head, tail)
}

/// What the store found in an object when it was written.
pub(crate) fn header(entry: &Entry) -> &Header {
    static NONE: OnceLock<Header> = OnceLock::new();
    entry.header::<Header>().unwrap_or_else(|| NONE.get_or_init(Header::default))
}

/// There is no such object.
pub(super) fn not_found(def: &ResourceDef, name: &str) -> Status {
    Status::not_found(&def.group, &def.plural, name)
}

/// The object of `entry`, to send in the version of `def`.
pub(super) fn of_entry(def: &ResourceDef, entry: Arc<Entry>) -> Answer<Object> {
    Ok(Object {
        api_version: def.api_version(),
        kind: def.kind.to_string(),
        bytes: render(def, &entry),
        entry: Some(entry),
        warnings: Vec::new(),
    })
}

/// A document in the storage version that was not stored, to send in the version of `def`.
pub(super) fn of_storage_value(def: &ResourceDef, mut object: Value) -> Object {
    codec::from_storage(def, &mut object);
    of_value(&object)
}

/// A document to send as it is.
pub(crate) fn of_value(object: &Value) -> Object {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    Object {
        api_version: text("apiVersion"),
        kind: text("kind"),
        bytes: encode::to_bytes(object),
        entry: None,
        warnings: Vec::new(),
    }
}

/// The document that is stored in `entry`.
pub(crate) fn stored(entry: &Entry) -> Answer<Value> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        Status::internal(format!("the stored object {} does not decode: {error}", entry.key.name()))
    })
}

/// The document that is stored in `entry`, as the schema of a custom resource is now.
pub(super) fn current(def: &ResourceDef, entry: &Entry) -> Answer<Value> {
    let mut object = stored(entry)?;
    if def.custom.is_some() {
        codec::from_storage(def, &mut object);
        codec::to_storage(def, &mut object);
    }
    Ok(object)
}

/// Reads a small JSON or YAML document that is no resource of its own, as DeleteOptions.
pub(super) fn decode_loose(body: &Body) -> Answer<Value> {
    let value: Value = match body.media {
        MediaType::Json => serde_json::from_slice(&body.bytes).map_err(|error| {
            Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        })?,
        MediaType::Yaml => serde_saphyr::from_slice(&body.bytes)
            .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))?,
    };
    if value.is_object() { Ok(value) } else { Err(Status::bad_request("the body must be an object")) }
}

/// `metadata.NAME` of a document, empty where there is none.
pub(crate) fn meta<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"][name].as_str().unwrap_or_default()
}

/// The finalizers of a document.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A Status of success, as a deletion and a binding answer.
pub(super) fn success(details: Option<Value>, code: Option<u16>) -> Value {
    let mut status =
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        status["details"] = details;
    }
    if let Some(code) = code {
        status["code"] = code.into();
    }
    status
}

/// The subresource's kind as a resource of its own: its schema, group and version.
pub(super) fn part_def(def: &ResourceDef, subresource: &str) -> Answer<ResourceDef> {
    let part = def.subresource(subresource).ok_or_else(method_not_allowed)?;
    let Some(schema) = part.schema.clone() else { return Err(method_not_allowed()) };
    let own = GroupVersion { group: part.group.to_string(), version: part.version.to_string() };
    Ok(ResourceDef {
        group: part.group.clone(),
        version: part.version.clone(),
        kind: part.kind.clone(),
        list_kind: part.kind.clone(),
        subresources: Vec::new(),
        fields: Vec::new(),
        custom: None,
        deprecated: None,
        storage: own,
        schema,
        ..def.clone()
    })
}

/// Refuses a verb that the resource, or the part of it that is asked for, does not have.
pub(super) fn check_verb(target: &Target, verb: &str) -> Answer<()> {
    let has = match target.subresource {
        None => target.def.has_verb(verb),
        Some(subresource) => match target.def.subresource(subresource.as_str()) {
            Some(part) => part.verbs.iter().any(|own| own == verb),
            None => {
                return Err(Status::failure(
                    Reason::NotFound,
                    "the server could not find the requested resource",
                )
                .with_details(Details::default()));
            }
        },
    };
    if has {
        return Ok(());
    }
    let mut refused = method_not_allowed();
    if verb == "create" && target.def.custom.as_ref().is_some_and(|custom| custom.terminating) {
        refused.message = "create not permitted while CustomResourceDefinition is terminating".to_owned();
    }
    Err(refused)
}

/// What a user is told who uses a version that is on its way out.
pub fn deprecation(def: &ResourceDef) -> Option<String> {
    if let Some(custom) = &def.custom {
        return custom.warning.clone();
    }
    let (version, kind) = (def.api_version(), &def.kind);
    // Of the present version, but no longer recommended.
    match (version.as_str(), &**kind) {
        ("v1", "ComponentStatus") => return Some("v1 ComponentStatus is deprecated in v1.19+".to_owned()),
        ("v1", "Endpoints") => {
            let instead = "discovery.k8s.io/v1 EndpointSlice";
            return Some(format!("v1 Endpoints is deprecated in v1.33+; use {instead}"));
        }
        _ => {}
    }
    let instead = def.deprecated.as_ref()?;
    Some(format!("{version} {kind} is deprecated; use {instead} {kind}"))
}

/// The resource or its part does not have this verb.
pub(super) fn method_not_allowed() -> Status {
    Status::failure(
        Reason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
    .with_details(Details::default())
}

/// What a client is told of a write that the store refused.
pub(super) fn write_failed(error: &WriteError) -> Status {
    match error {
        WriteError::TooLarge { size } => Status::failure(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: an object of {size} bytes is more than the store takes"),
        ),
        WriteError::InvalidKey { .. } => Status::bad_request("the name of the object cannot be stored"),
        WriteError::Full
        | WriteError::Failed { .. }
        | WriteError::Unavailable { .. }
        | WriteError::Closed => Status::failure(Reason::ServiceUnavailable, error.to_string()),
        WriteError::Unknown { .. } => Status::failure(Reason::Timeout, error.to_string()),
        WriteError::PreconditionFailed { .. } | WriteError::Malformed { .. } => Status::internal(error),
    }
}
