//! What the server itself writes into the metadata of an object, and what a client may not change there.

use api::field::FieldError;
use api::registry::ResourceDef;
use api::status::Status;
use api::time::Time;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::object::meta;
use super::types::{Answer, Target};

/// Fields that a client's document never decides.
const SERVER_FIELDS: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"];

/// The metadata of a document, made where there is none.
pub(super) fn of(object: &mut Value) -> &mut Map<String, Value> {
    let fields = match object {
        Value::Object(fields) => fields,
        other => {
            *other = Value::Object(Map::new());
            other.as_object_mut().expect("it was made an object above")
        }
    };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("it was made an object above")
}

/// Checks that the document is for the namespace of the request, and puts it there.
pub(super) fn place(target: &Target, object: &mut Value) -> Answer<()> {
    let metadata = of(object);
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if !target.def.namespaced {
        if !given.is_empty() {
            metadata.shift_remove("namespace");
        }
        return Ok(());
    }
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    if given.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    } else if given != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Checks that the document has the name of the request, and names it where it has none.
pub(super) fn named(target: &Target, object: &mut Value) -> Answer<()> {
    let wanted = target.name.as_deref().unwrap_or_default();
    let metadata = of(object);
    match metadata.get("name").and_then(Value::as_str).unwrap_or_default() {
        "" => {
            metadata.insert("name".to_owned(), wanted.into());
            Ok(())
        }
        given if given == wanted => Ok(()),
        given => Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({wanted})",
            super::options::shortened(given)
        ))),
    }
}

/// Takes out what only the server writes, and writes what a new object has.
pub(super) fn begin_create(object: &mut Value, uid: String, now: Timestamp) -> Answer<()> {
    let metadata = of(object);
    if metadata.get("resourceVersion").and_then(Value::as_str).is_some_and(|version| !version.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    metadata.shift_remove("resourceVersion");
    metadata.shift_remove("generation");
    for field in SERVER_FIELDS {
        metadata.shift_remove(field);
    }
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("creationTimestamp".to_owned(), Time(now).to_string().into());
    Ok(())
}

/// What an update says of the state that it started from.
#[derive(Debug, Default, Clone)]
pub(super) struct Expected {
    /// Empty where it does not matter.
    pub resource_version: String,
    /// Empty where it does not matter.
    pub uid: String,
}

/// Takes what the update expects out of the document; the server's own fields are filled in from the old state,
/// and those that the document changes are reported.
pub(super) fn begin_update(new: &mut Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kept = old["metadata"].as_object();
    let metadata = of(new);
    metadata.shift_remove("resourceVersion");
    metadata.shift_remove("selfLink");
    for field in ["namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let before = kept.and_then(|kept| kept.get(field)).filter(|value| !value.is_null());
        let now = metadata.get(field).filter(|value| !value.is_null() && value.as_str() != Some(""));
        match (now, before) {
            (None, Some(before)) => {
                metadata.insert(field.to_owned(), before.clone());
            }
            (Some(now), before) if Some(now) != before => {
                errors.push(FieldError::immutable(format_args!("metadata.{field}"), now));
            }
            _ => {
                if now.is_none() {
                    metadata.shift_remove(field);
                }
            }
        }
    }
    match kept.and_then(|kept| kept.get("generation")) {
        Some(generation) => {
            metadata.insert("generation".to_owned(), generation.clone());
        }
        None => {
            metadata.shift_remove("generation");
        }
    }
    errors
}

/// What the document expects of the state that it replaces.
pub(super) fn expected(object: &Value) -> Expected {
    let version = meta(object, "resourceVersion");
    Expected {
        resource_version: if version == "0" { String::new() } else { version.to_owned() },
        uid: meta(object, "uid").to_owned(),
    }
}

/// The conflict of an update with the state that it does not know.
pub(super) fn conflict(def: &ResourceDef, name: &str) -> Status {
    Status::conflict(
        &def.group,
        &def.plural,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// The conflict of an update with another object of the same name.
pub(super) fn uid_conflict(
    def: &ResourceDef,
    namespace: &str,
    name: &str,
    expected: &str,
    found: &str,
) -> Status {
    let place = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    Status::conflict(
        &def.group,
        &def.plural,
        name,
        &format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {found}",
            def.plural,
            super::options::shortened(expected)
        ),
    )
}

/// Marks the object as being deleted, with `grace` seconds to go. Counts as a change of the desired state.
pub(super) fn mark_deleting(object: &mut Value, now: Timestamp, grace: i64) {
    let metadata = of(object);
    let first = metadata.get("deletionTimestamp").is_none_or(Value::is_null);
    let end = now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    metadata.insert("deletionTimestamp".to_owned(), Time(end).to_string().into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if first
        && let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|now| *now > 0)
    {
        metadata.insert("generation".to_owned(), generation.saturating_add(1).into());
    }
}
