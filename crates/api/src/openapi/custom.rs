//! Custom resources in OpenAPI: the schema as its author wrote it, with what every object has.

use serde_json::{Map, Value, json};

use super::schemas::{Dialect, META, reference};
use crate::schema::{TypeDef, TypeRef};

fn typed(def: &TypeDef, kind: &str) -> Value {
    let (group, version) = def.kind.clone().unwrap_or_default();
    json!([{"group": group, "kind": kind, "version": version}])
}

/// The definition of a kind.
pub(super) fn object(dialect: Dialect, def: &TypeDef, document: &Value) -> Value {
    let mut out = document.clone();
    if dialect == Dialect::V2 {
        simplify(&mut out);
    }
    let Some(fields) = out.as_object_mut() else { return json!({"type": "object"}) };
    let properties = fields.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Some(properties) = properties.as_object_mut() {
        let text = |what: &str| json!({"type": "string", "description": what});
        properties.insert("apiVersion".to_owned(), text("The version of the schema of this object."));
        properties.insert("kind".to_owned(), text("The kind of this object."));
        let meta = reference(dialect, &format!("{META}.ObjectMeta"));
        let meta = if dialect == Dialect::V3 { json!({"allOf": [meta]}) } else { meta };
        properties.insert("metadata".to_owned(), meta);
        properties.sort_keys();
    }
    fields.insert("x-kubernetes-group-version-kind".to_owned(), typed(def, &def.name));
    out
}

/// The definition of the list of a kind.
pub(super) fn list(dialect: Dialect, of: &TypeRef) -> Value {
    let meta = reference(dialect, &format!("{META}.ListMeta"));
    let meta = if dialect == Dialect::V3 { json!({"allOf": [meta]}) } else { meta };
    json!({
        "description": format!("{}List is a list of {}", of.name, of.name),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "items": {"type": "array", "items": reference(dialect, &of.full_name())},
            "kind": {"type": "string"},
            "metadata": meta,
        },
        "x-kubernetes-group-version-kind": typed(of, &format!("{}List", of.name)),
    })
}

/// Leaves out what version 2 of OpenAPI cannot say, and what clients would then hold against good objects.
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for name in ["allOf", "anyOf", "oneOf", "not", "nullable", "x-kubernetes-validations"] {
        if let Some(nullable) = fields.shift_remove(name)
            && name == "nullable"
            && nullable == true
        {
            // Null has no type of its own there: such a value is of any type.
            for part in ["type", "items", "properties", "additionalProperties"] {
                fields.shift_remove(part);
            }
        }
    }
    if fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|keeps| *keeps == true) {
        // What may have any fields must not be checked for them.
        for part in ["items", "properties", "additionalProperties"] {
            fields.shift_remove(part);
        }
    }
    for (name, value) in fields.iter_mut() {
        match name.as_str() {
            "properties" => value.as_object_mut().into_iter().flatten().for_each(|(_, own)| simplify(own)),
            "items" | "additionalProperties" => simplify(value),
            _ => {}
        }
    }
}
