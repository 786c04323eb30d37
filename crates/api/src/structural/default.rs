//! Fills in what a schema says of absent values.

use serde_json::Value;

use super::Structural;

/// Fills in the defaults of a whole document, and drops nulls where none may stand.
pub fn document(schema: &Structural, object: &mut Value) {
    fill(schema, object);
    drop_nulls(schema, object);
}

/// Fills in defaults. A null that may not stand there is as good as nothing.
pub fn fill(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, own) in &schema.properties {
                let Some(default) = &own.default else { continue };
                if fields.get(name).is_none_or(|value| value.is_null() && !own.nullable) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                match (schema.properties.get(name), schema.additional.as_deref()) {
                    (Some(own), _) => fill(own, value),
                    (None, Some(own)) => {
                        if let (true, false, Some(default)) = (value.is_null(), own.nullable, &own.default) {
                            *value = default.clone();
                        }
                        fill(own, value);
                    }
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(own) = schema.items.as_deref() else { return };
            for item in items {
                if let (true, false, Some(default)) = (item.is_null(), own.nullable, &own.default) {
                    *item = default.clone();
                }
                fill(own, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Drops nulls of fields that may not be null and have no default.
fn drop_nulls(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, own) in &schema.properties {
                if !own.nullable && own.default.is_none() && fields.get(name).is_some_and(Value::is_null) {
                    fields.shift_remove(name);
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(own) = schema.field(name) {
                    drop_nulls(own, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(own) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(own, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
