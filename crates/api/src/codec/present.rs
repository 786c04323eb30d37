//! The form in which Go would write a document back: what `omitempty` leaves out, and what is always there.

use serde_json::{Map, Value};

use crate::schema::{Presence, Shape, TypeDef};

/// Brings a document of `schema` into the form in which Go writes it.
pub(super) fn object(schema: &TypeDef, fields: &mut Map<String, Value>) {
    let mut empty = Vec::new();
    for (name, value) in fields.iter_mut() {
        let Some(field) = schema.field(name) else { continue };
        within(&field.shape, value);
        let always = field.presence == Presence::Always;
        let is_gone = match &*value {
            Value::Null => !(always || matches!(field.shape, Shape::Any)),
            value => field.presence == Presence::OmitZero && is_zero(value),
        };
        if is_gone {
            empty.push(name.clone());
        } else if value.is_null() && always {
            *value = zero(&field.shape);
        }
    }
    for name in empty {
        fields.shift_remove(&name);
    }
    for field in schema.fields.iter().filter(|field| field.presence == Presence::Always) {
        if !fields.contains_key(&*field.name) {
            fields.insert(field.name.to_string(), zero(&field.shape));
        }
    }
}

fn within(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(def), Value::Object(fields)) => object(def, fields),
        (Shape::Map { value: element, .. }, Value::Object(entries)) if is_deep(element) => {
            entries.values_mut().for_each(|entry| within(element, entry));
        }
        (Shape::List { item, .. }, Value::Array(items)) if is_deep(item) => {
            items.iter_mut().for_each(|entry| within(item, entry));
        }
        _ => {}
    }
}

/// Whether values of the shape can hold objects of a type.
fn is_deep(shape: &Shape) -> bool {
    matches!(shape, Shape::Object(_) | Shape::Map { .. } | Shape::List { .. })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// What Go writes for a value that was never set.
pub(super) fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Object(def) => {
            let mut fields = Map::new();
            object(def, &mut fields);
            Value::Object(fields)
        }
        Shape::String => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Bool => Value::Bool(false),
        Shape::Map { .. }
        | Shape::List { .. }
        | Shape::Bytes
        | Shape::Time
        | Shape::MicroTime
        | Shape::RawExtension
        | Shape::FieldsV1
        | Shape::Any
        | Shape::SchemaOrArray
        | Shape::SchemaOrBool
        | Shape::SchemaOrStrings => Value::Null,
    }
}
