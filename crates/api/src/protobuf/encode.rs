//! Each shape as protobuf.
//!
//! Everything is written from the end, so fields come in falling order of numbers, and the last element of a list
//! first.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::message::{Message, Slot};
use super::wire::Writer;
use super::{EncodeError, MAX_DEPTH};
use crate::schema::{Field, Presence, Shape, TypeRef};

/// Writes the fields of a document, or those of the zero document where it is null.
pub(super) fn object(
    writer: &mut Writer,
    ty: &TypeRef,
    document: &Value,
    depth: usize,
) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::Depth);
    }
    let message = Message::of(ty).ok_or_else(|| EncodeError::NoMessage(ty.full_name()))?;
    let empty = Map::new();
    let fields = match document {
        Value::Object(fields) => fields,
        Value::Null => &empty,
        _ => return Err(EncodeError::Shape { field: ty.full_name(), expected: "object" }),
    };
    slots(writer, message, fields, depth)
}

fn slots(
    writer: &mut Writer,
    message: &Message,
    fields: &Map<String, Value>,
    depth: usize,
) -> Result<(), EncodeError> {
    for (number, slot) in message.slots.iter().rev() {
        let number = u32::from(*number);
        match slot {
            Slot::Field(definition) => {
                let value = fields.get(&*definition.name).unwrap_or(&Value::Null);
                field(writer, number, definition, value, depth)?;
            }
            Slot::Inline(inline) => writer.field(number, |writer| slots(writer, inline, fields, depth))?,
        }
    }
    Ok(())
}

fn field(
    writer: &mut Writer,
    number: u32,
    definition: &Field,
    value: &Value,
    depth: usize,
) -> Result<(), EncodeError> {
    let mismatch = |expected| EncodeError::Shape { field: definition.name.to_string(), expected };
    match (&definition.shape, value) {
        (Shape::List { item, .. }, Value::Array(items)) => {
            for value in items.iter().rev() {
                single(writer, number, item, value, definition, depth)?;
            }
            Ok(())
        }
        (Shape::Map { value: shape, .. }, Value::Object(entries)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
            for (key, value) in entries {
                writer.field(number, |writer| {
                    single(writer, 2, shape, value, definition, depth)?;
                    writer.bytes(1, key.as_bytes());
                    Ok(())
                })?;
            }
            Ok(())
        }
        // Nothing: a pointer, a list, a map or bytes that there are not.
        (Shape::List { .. } | Shape::Map { .. } | Shape::Bytes, Value::Null) => Ok(()),
        (_, Value::Null) if definition.presence == Presence::Optional => Ok(()),
        (Shape::List { .. }, _) => Err(mismatch("list")),
        (Shape::Map { .. }, _) => Err(mismatch("object")),
        (shape, value) => single(writer, number, shape, value, definition, depth),
    }
}

/// Writes one value; null is the zero of its shape.
fn single(
    writer: &mut Writer,
    number: u32,
    shape: &Shape,
    value: &Value,
    definition: &Field,
    depth: usize,
) -> Result<(), EncodeError> {
    let mismatch = |expected| EncodeError::Shape { field: definition.name.to_string(), expected };
    match (shape, value) {
        (Shape::Object(ty), value) => {
            return writer.field(number, |writer| object(writer, ty, value, depth + 1));
        }
        // A list as a value is a message with its elements at 1.
        (Shape::List { item, .. }, Value::Array(items)) => {
            return writer.field(number, |writer| {
                items.iter().rev().try_for_each(|value| single(writer, 1, item, value, definition, depth + 1))
            });
        }
        (Shape::List { .. }, Value::Null) => writer.bytes(number, b""),
        (Shape::List { .. }, _) => return Err(mismatch("list")),
        (Shape::Map { .. }, _) => return Err(mismatch("map of scalars or objects")),
        (Shape::String, Value::String(text)) => writer.bytes(number, text.as_bytes()),
        (Shape::String | Shape::Bytes, Value::Null) => writer.bytes(number, b""),
        (Shape::String, _) => return Err(mismatch("text")),
        (Shape::Bytes, value) => {
            let text = value.as_str().ok_or_else(|| mismatch("base64"))?;
            writer.bytes(number, &BASE64_STANDARD.decode(text).map_err(|_| mismatch("base64"))?);
        }
        (Shape::Int32 | Shape::Int64, value) => {
            writer.varint(number, integer(value).ok_or_else(|| mismatch("integer"))? as u64);
        }
        (Shape::Double, value) => {
            let value = if value.is_null() { Some(0.0) } else { value.as_f64() };
            writer.double(number, value.ok_or_else(|| mismatch("number"))?);
        }
        (Shape::Bool, value) => {
            let value = if value.is_null() { Some(false) } else { value.as_bool() };
            writer.varint(number, value.ok_or_else(|| mismatch("boolean"))?.into());
        }
        (Shape::Quantity, value) => {
            let text = match value {
                Value::Null => "0".to_owned(),
                Value::String(text) => text.clone(),
                Value::Number(value) => value.to_string(),
                _ => return Err(mismatch("quantity")),
            };
            message(writer, number, |writer| writer.bytes(1, text.as_bytes()));
        }
        (Shape::IntOrString, value) => {
            let (int, text) = match value {
                Value::String(text) => (0, Some(text.as_str())),
                value => (integer(value).ok_or_else(|| mismatch("number or text"))?, None),
            };
            message(writer, number, |writer| {
                writer.bytes(3, text.unwrap_or_default().as_bytes());
                writer.varint(2, int as u64);
                writer.varint(1, text.is_some().into());
            });
        }
        (Shape::Time | Shape::MicroTime, Value::Null) => writer.bytes(number, b""),
        (Shape::Time | Shape::MicroTime, value) => {
            let time: Timestamp =
                value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| mismatch("time"))?;
            let nanos = if *shape == Shape::Time { 0 } else { time.subsec_nanosecond() / 1000 * 1000 };
            let seconds = time.as_nanosecond().div_euclid(1_000_000_000) as u64;
            message(writer, number, |writer| {
                writer.varint(2, nanos.rem_euclid(1_000_000_000) as u64);
                writer.varint(1, seconds);
            });
        }
        (Shape::RawExtension | Shape::FieldsV1 | Shape::Any, value) => {
            let is_absent = value.is_null() && *shape != Shape::Any;
            message(writer, number, |writer| {
                if !is_absent {
                    writer.bytes(1, value.to_string().as_bytes());
                }
            });
        }
        (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, value) => {
            return writer.field(number, |writer| schema_or(writer, shape, value, definition, depth + 1));
        }
    }
    Ok(())
}

/// A schema, or what may stand in its place: the message has a number for each.
fn schema_or(
    writer: &mut Writer,
    shape: &Shape,
    value: &Value,
    definition: &Field,
    depth: usize,
) -> Result<(), EncodeError> {
    let ty =
        super::decode::schema_type().ok_or_else(|| EncodeError::NoMessage("JSONSchemaProps".to_owned()))?;
    let schema = |number: u32, value: &Value, writer: &mut Writer| {
        writer.field(number, |writer| object(writer, &ty, value, depth))
    };
    match (shape, value) {
        (Shape::SchemaOrBool, Value::Bool(allows)) => {
            writer.varint(1, (*allows).into());
            Ok(())
        }
        (Shape::SchemaOrBool, value) => {
            schema(2, value, writer)?;
            writer.varint(1, 1);
            Ok(())
        }
        (Shape::SchemaOrStrings, Value::Array(names)) => {
            names.iter().rev().try_for_each(|name| single(writer, 2, &Shape::String, name, definition, depth))
        }
        (_, Value::Array(schemas)) => schemas.iter().rev().try_for_each(|value| schema(2, value, writer)),
        (_, value) => schema(1, value, writer),
    }
}

fn message(writer: &mut Writer, number: u32, write: impl FnOnce(&mut Writer)) {
    let written: Result<(), std::convert::Infallible> = writer.field(number, |writer| {
        write(writer);
        Ok(())
    });
    let Ok(()) = written;
}

/// A number without fraction; null is zero.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|value| value.fract() == 0.0).map(|value| value as i64)),
        _ => None,
    }
}
