//! Drops the fields that a schema does not know.

use serde_json::{Map, Value};

use super::Structural;
use super::paths::Place;
use crate::codec;
use crate::schema::builtin;

/// The fields that every object has.
const TYPE_FIELDS: [&str; 2] = ["apiVersion", "kind"];

/// Prunes a whole document in place; tells the paths of what was dropped, ordered. Metadata of a wrong type is refused.
pub fn document(schema: &Structural, object: &mut Value) -> Result<Vec<String>, String> {
    let mut unknown = Vec::new();
    metadata(object, "", &mut unknown)?;
    if let Value::Object(fields) = object {
        let own = ["apiVersion", "kind", "metadata"];
        fields_of(schema, fields, &Place::root(), &own, &mut unknown);
    }
    unknown.sort();
    Ok(unknown)
}

/// Checks the metadata of a document against its type.
fn metadata(object: &mut Value, prefix: &str, unknown: &mut Vec<String>) -> Result<(), String> {
    let Some(found) = object.get_mut("metadata") else { return Ok(()) };
    if found.is_null() {
        *found = Value::Object(Map::new());
    }
    let Some(def) = builtin("meta.v1.ObjectMeta") else { return Ok(()) };
    let dropped = codec::check_part(&def, found)?;
    unknown.extend(dropped.into_iter().map(|path| format!("{prefix}metadata.{path}")));
    Ok(())
}

/// Brings the metadata of a document into the form in which Go writes it.
pub(crate) fn present_metadata(object: &mut Value) {
    let Some(def) = builtin("meta.v1.ObjectMeta") else { return };
    if let Some(metadata) = object.get_mut("metadata") {
        codec::present_part(&def, metadata);
    }
}

fn fields_of(
    schema: &Structural,
    fields: &mut Map<String, Value>,
    place: &Place<'_>,
    kept: &[&str],
    unknown: &mut Vec<String>,
) {
    let mut dropped = Vec::new();
    for (name, value) in fields.iter_mut() {
        if kept.contains(&name.as_str()) {
            continue;
        }
        let below = place.field(name);
        match schema.field(name) {
            Some(own) => within(own, value, &below, unknown),
            None if schema.keeps_unknown() => {}
            None => {
                unknown.push(below.to_string());
                dropped.push(name.clone());
            }
        }
    }
    for name in dropped {
        fields.shift_remove(&name);
    }
}

fn within(schema: &Structural, value: &mut Value, place: &Place<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let kept: &[&str] =
                if schema.embedded { &[TYPE_FIELDS[0], TYPE_FIELDS[1], "metadata"] } else { &[] };
            fields_of(schema, fields, place, kept, unknown);
        }
        Value::Array(items) => {
            let Some(own) = schema.items.as_deref() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                within(own, item, &place.index(index), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Prunes a value that is no whole document; tells the paths of what was dropped.
pub(super) fn value(schema: &Structural, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    within(schema, value, &Place::root(), &mut unknown);
    unknown
}
